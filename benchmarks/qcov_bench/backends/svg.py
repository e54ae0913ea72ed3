"""SVG as text: elements, with everything escaped that comes from elsewhere."""

from __future__ import annotations

from html import escape

from qcov.inert import inert

Attribute = str | float | None


def element(name: str, *children: str, **attributes: Attribute) -> str:
    """One element. `class_` is its class; underscores in names become hyphens.

    Without children it closes itself, which HTML takes in drawings only.

    >>> element("line", x1=0.5, class_="axis", stroke_width=2.0)
    '<line x1="0.5" class="axis" stroke-width="2"/>'
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{given}>{''.join(children)}</{name}>" if children else f"<{name}{given}/>"


def label(words: str, x: float, y: float, class_: str, **attributes: Attribute) -> str:
    """A text at a place."""
    return element("text", safe(words), x=x, y=y, class_=class_, **attributes)


def safe(words: object) -> str:
    """Text that is only text, whatever stands in it.

    >>> safe("<b> & 'c'")
    '&lt;b&gt; &amp; &#x27;c&#x27;'
    """
    return escape(inert(str(words)))


def _text(value: str | float) -> str:
    return safe(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def picture(width: float, height: float, title: str, *children: str) -> str:
    """A whole drawing; the title is what those hear who do not see it."""
    return element(
        "svg",
        element("title", safe(title)),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
        class_="plot",
    )

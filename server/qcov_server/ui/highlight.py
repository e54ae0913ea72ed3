"""Python source in colours, as HTML with classes: the policy forbids styles in a page."""

from __future__ import annotations

from typing import Any, cast

from markupsafe import Markup

from qcov.inert import inert

_LONGEST = 200_000  # characters: more is shown without colours


def highlighted(source: str) -> Markup:
    r"""Source as the lines of a `<pre>`; all of it is escaped.

    >>> highlighted("x < 1")[:40]
    Markup('<span class="n">x</span> <span class="o"')
    """
    # it is needed on few pages, and takes a tenth of a second to load
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers.python import PythonLexer
    from pygments.lexers.special import TextLexer

    lexer = PythonLexer(stripnl=False) if len(source) <= _LONGEST else TextLexer()
    formatter = cast("Any", HtmlFormatter)(nowrap=True)
    return Markup(highlight(inert(source), lexer, formatter))  # noqa: S704  # it escapes

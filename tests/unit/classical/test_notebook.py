"""What notebooks show: pictures and tables in which nothing runs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import qcov as ct
from qcov.classical.drawing import Drawing
from qcov.classical.notebook import result_html

_SVG = "{http://www.w3.org/2000/svg}"
_EVIL = "<script>alert(1)</script>\x1b[31m\u202e\" onload='x'"


@ct.electron
def add(x: Any, y: Any) -> Any:
    return x + y


@ct.electron
def several(values: list[Any]) -> Any:
    return values


@ct.lattice
def flow(x: Any, y: int = 1) -> Any:
    """Adds & <b>adds</b>."""
    return several([add(add(x, y), 2), 3])


def elements(html: str) -> list[ET.Element]:
    """All of them; the text must be well-formed."""
    return list(ET.fromstring(html.replace(" colspan=5", "")).iter())


def assert_inert(html: str) -> None:
    for element in elements(html):
        assert element.tag.rpartition("}")[2] not in {"script", "style", "iframe", "img", "link"}
        assert not [name for name in element.attrib if name.startswith("on") or name == "src"]
        assert "href" not in element.attrib
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_a_drawing_is_text_and_picture() -> None:
    drawing = flow.draw(1)

    assert isinstance(drawing, str)
    assert drawing.splitlines()[0] == "[0] add <- [1] :parameter:1, [2] :parameter:1"
    assert repr(drawing) == str(drawing)
    assert drawing._repr_html_() == drawing.svg
    names = [each.text for each in elements(drawing.svg) if each.tag == f"{_SVG}text"]
    assert names.count("add") == 2
    edges = [each for each in elements(drawing.svg) if "marker-end" in each.attrib]
    assert len(edges) == len({(a, b) for a, b, _ in flow.transport_graph.edges})


def test_nodes_do_not_lie_on_each_other() -> None:
    boxes = [each for each in elements(flow.draw(1).svg) if each.tag == f"{_SVG}rect"]
    places = {(float(each.attrib["x"]), float(each.attrib["y"])) for each in boxes}

    assert len(places) == len(boxes)
    for x1, y1 in places:
        for x2, y2 in places - {(x1, y1)}:
            assert abs(x1 - x2) >= 180 or abs(y1 - y2) >= 36


@pytest.mark.parametrize("value", [_EVIL, "\ud800", "x" * 10_000, "a\nb"])
def test_a_picture_is_inert(value: str) -> None:
    svg = flow.draw(value).svg

    assert_inert(svg)
    assert len(svg) < 20_000


def test_a_large_graph_is_drawn_in_part() -> None:
    @ct.lattice
    def wide() -> Any:
        return [add(number, 1) for number in range(700)]

    drawing = wide.draw()

    assert "200 more nodes are not drawn" in drawing.svg
    assert len([each for each in elements(drawing.svg) if each.tag == f"{_SVG}rect"]) == 500
    assert len(drawing.splitlines()) == 700


def test_a_graph_without_nodes() -> None:
    assert_inert(ct.lattice(lambda: 1).draw().svg)


def test_a_drawing_travels_as_text() -> None:
    drawing = flow.draw(1)

    copied = pickle.loads(pickle.dumps(drawing))

    assert (type(copied), copied) == (str, str(drawing))


def test_a_lattice_shows_its_source_then_its_graph() -> None:
    @ct.lattice
    def fresh(x: int) -> int:
        """<script>"""
        return add(x, 1)

    before = fresh._repr_html_()
    fresh.build_graph(1)
    after = fresh._repr_html_()

    assert_inert(before)
    assert_inert(after)
    assert "return add(x, 1)" in before
    assert "<svg" in after
    assert isinstance(fresh.draw(1), Drawing)


def row(**changes: Any) -> dict[str, Any]:
    return {
        "id": "0" * 36, "name": "flow", "status": "COMPLETED", "nodes_done": 2, "nodes_total": 3,
        "started": 1.0, "ended": 3.5, "result_repr": "42", "error": None,
    } | changes  # fmt: skip


def node(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "node_id": number, "name": "add", "kind": "electron", "status": "COMPLETED",
        "started": 1.0, "ended": 2.0, "error": None, "value_repr": "3",
    } | changes  # fmt: skip


def test_a_result_says_status_times_and_value() -> None:
    summary = {"executor": "Simulator", "device": "lightning.qubit", "circuits": 7, "seconds": 0.5}

    html = result_html(row(), [node(0), node(1, kind="parameter", name="a constant")], [summary])

    assert_inert(html)
    for said in ("COMPLETED", "2 of 3", "2.50 s", "42", "7 on Simulator(lightning.qubit), 0.50 s"):
        assert said in html
    assert "a constant" not in html


def test_all_of_the_users_text_in_a_result_is_inert() -> None:
    bad = node(0, name=_EVIL, value_repr=_EVIL, error=_EVIL, status="FAILED")
    summary = {"executor": _EVIL, "device": _EVIL, "circuits": 7, "seconds": None}

    assert_inert(result_html(row(name=_EVIL, result_repr=_EVIL, error=_EVIL), [bad], [summary]))


def test_a_result_shows_some_of_many_nodes() -> None:
    html = result_html(row(ended=None), [node(number) for number in range(200)], [])

    assert html.count("<tr>") == 4 + 1 + 50 + 1 + 1
    assert "and more" in html


@pytest.mark.process
def test_a_real_result(common_engine: Path) -> None:
    result = ct.dispatch_sync(flow)(1)

    html = result._repr_html_()

    assert_inert(html)
    assert "[4, 3]" in html
    assert "several" in html

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qcov.layout import COLUMN, ROW, layered


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    count = draw(st.integers(0, 40))
    pairs = st.tuples(st.integers(0, max(count - 1, 0)), st.integers(0, max(count - 1, 0)))
    edges = draw(st.lists(pairs, max_size=80)) if count else []
    return count, [(min(edge), max(edge)) for edge in edges if edge[0] != edge[1]]


@given(graphs())
def test_edges_point_down_and_nothing_overlaps(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, edges = graph
    places = layered(count, edges)

    assert len(places) == count
    assert len(set(places)) == count
    assert all(places[source][1] < places[target][1] for source, target in edges)


def test_a_cycle_is_drawn_all_the_same() -> None:
    assert len(set(layered(3, [(0, 1), (1, 2), (2, 1)]))) == 3


def test_crossings_are_avoided() -> None:
    places = layered(4, [(0, 3), (1, 2)])

    assert (places[0][0] < places[1][0]) == (places[3][0] < places[2][0])


def test_a_wide_layer_is_folded() -> None:
    places = layered(1000, [])

    assert max(x for x, _ in places) - min(x for x, _ in places) < 40 * COLUMN
    assert max(y for _, y in places) > 20 * ROW

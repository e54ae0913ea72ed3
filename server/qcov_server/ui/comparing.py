"""How two runs differ: their nodes side by side, their sources as a diff, their environments."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qcov.headline import headline
from qcov_server.engine import Row
from qcov_server.ui.present import lasted

_SLOWER = 1.5  # times as long is worth a mark ...
_NOTICED = 0.1  # ... if it is so many seconds more
_MOST_LINES = 5000  # of a source: a diff takes long


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A node of each of two dispatches; None where the other has none like it.

    Args:
        one: The node of the first.
        other: That of the second.
        differs: In what: `status`, `value`, `duration`, `missing`.
    """

    one: Mapping[str, Any] | None
    other: Mapping[str, Any] | None
    differs: tuple[str, ...]


def pairs(ones: Sequence[Row], others: Sequence[Row]) -> list[Pair]:
    """The nodes of two dispatches, matched by their names and their places among equal names.

    Constants are matched by their places alone: their names are their values.
    """
    theirs = dict(_placed(others))
    found = [_pair(node, theirs.pop(place, None)) for place, node in _placed(ones)]
    return [*found, *(_pair(None, node) for node in theirs.values())]


def source_diff(one: str, other: str) -> list[tuple[str, str]]:
    r"""The lines in which two sources differ, with some around them, each with its sign.

    >>> source_diff("a\nb", "a\nc")
    [(' ', 'a'), ('-', 'b'), ('+', 'c')]
    """
    before, after = (text.splitlines()[:_MOST_LINES] for text in (one, other))
    lines = list(difflib.unified_diff(before, after, lineterm="", n=3))[2:]
    return [(line[:1], line[1:]) for line in lines if not line.startswith("@@")]


Environment = Sequence[tuple[str, list[str]]]


def environment_diff(
    one: Environment, other: Environment
) -> list[tuple[str, list[str], list[str]]]:
    """What of two environments differs: its name, and the lines that only one side has."""
    here, there = dict(one), dict(other)
    names = [*here, *(name for name in there if name not in here)]
    return [
        (name, *_without_common(here.get(name, []), there.get(name, [])))
        for name in names
        if here.get(name) != there.get(name)
    ]


def _without_common(one: list[str], other: list[str]) -> tuple[list[str], list[str]]:
    common = set(one) & set(other)
    return [x for x in one if x not in common], [x for x in other if x not in common]


def _placed(nodes: Sequence[Row]) -> Iterator[tuple[tuple[str, int], Row]]:
    seen: dict[str, int] = {}
    for node in nodes:
        name = ":parameter:" if node["kind"] == "parameter" else str(node["name"])
        place = seen.get(name, 0)
        seen[name] = place + 1
        yield (name, place), node


def _pair(one: Row | None, other: Row | None) -> Pair:
    if one is None or other is None:
        return Pair(one=one, other=other, differs=("missing",))
    differs: list[str] = []
    if one["status"] != other["status"]:
        differs.append("status")
    if _value(one) != _value(other):
        differs.append("value")
    if _is_slower(_seconds(one), _seconds(other)):
        differs.append("duration")
    return Pair(one=one, other=other, differs=tuple(differs))


def _value(node: Row) -> Any:
    return headline(node["error"]) or node["value_repr"]


def _seconds(node: Row) -> float | None:
    return lasted(node["started"], node["ended"])


def _is_slower(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return False
    short, long = sorted((one, other))
    return long - short >= _NOTICED and long >= _SLOWER * short

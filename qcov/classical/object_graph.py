"""Digests of objects by what they are made of, circles included.

An object is described by a label and its parts, which are objects again. Equal digests mean that
all labels are equal, however far one goes from part to part. Whether two parts are one object or
two that are equal makes a difference where it can be changed: a list in two places is not two
lists. Objects within a circle (a class, its methods, their
`__class__`) are told apart as states of an automaton are: step by step, until one more step tells
no more of them apart.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

_CHANGEABLE = (list, dict, set, bytearray)


class Description(NamedTuple):
    """What there is to say of an object."""

    label: str  #: all but its parts
    parts: Sequence[object] = ()
    ordered: bool = True  #: whether the order of its parts counts


def digest(value: object, describe: Callable[[object], Description]) -> str:
    """The digest of an object; raises whatever `describe` raises."""
    graph = _Graph(value, describe)
    digests: dict[int, str] = {}
    for circle in graph.components():
        if len(circle) == 1 and circle[0] not in graph.parts[circle[0]]:
            digests[circle[0]] = graph.told(circle[0], digests)
        else:
            digests |= _around(graph, circle, digests)
    shared = sorted(f"{digests[number]} {count}" for number, count in graph.shared())
    return hashed("shared", digests[0], *shared) if shared else digests[0]


class _Graph:
    """Objects by number, the first one first, and the numbers of their parts."""

    def __init__(self, value: object, describe: Callable[[object], Description]) -> None:
        self.described: list[Description] = []
        self.parts: list[list[int]] = []
        self.objects = objects = [value]  # keeps them alive: their id() is a key
        numbers = {id(value): 0}
        for one in objects:  # it grows meanwhile
            described = describe(one)
            self.described.append(described)
            self.parts.append([])
            for part in described.parts:
                if id(part) not in numbers:
                    numbers[id(part)] = len(objects)
                    objects.append(part)
                self.parts[-1].append(numbers[id(part)])

    def shared(self) -> Iterator[tuple[int, int]]:
        """Objects that code can change and that stand in several places; in how many."""
        count = Counter(chain.from_iterable(self.parts))
        for number, times in count.items():
            kind = type(self.objects[number])
            if times > 1 and (kind in _CHANGEABLE or kind.__name__ == "ndarray"):
                yield number, times

    def told(self, number: int, digests: dict[int, str]) -> str:
        """The digest of an object whose parts have theirs; of parts without one, that they are."""
        parts = [digests.get(part, "?") for part in self.parts[number]]
        described = self.described[number]
        if not described.ordered:
            parts.sort()
        return hashed(described.label, *parts)

    def components(self) -> Iterator[list[int]]:
        """Objects that reach each other, together; each after all that it reaches (Tarjan 1972)."""
        found: dict[int, int] = {0: 0}  # in which order
        lowest: dict[int, int] = {0: 0}
        stack, on_stack = [0], {0}
        way = [(0, iter(self.parts[0]))]
        while way:
            number, rest = way[-1]
            for part in rest:
                if part not in found:
                    found[part] = lowest[part] = len(found)
                    stack.append(part)
                    on_stack.add(part)
                    way.append((part, iter(self.parts[part])))
                    break
                if part in on_stack:
                    lowest[number] = min(lowest[number], found[part])
            else:
                way.pop()
                if way:
                    above = way[-1][0]
                    lowest[above] = min(lowest[above], lowest[number])
                if lowest[number] == found[number]:
                    component: list[int] = []
                    while number in on_stack:
                        component.append(stack.pop())
                        on_stack.remove(component[-1])
                    yield component


def _around(graph: _Graph, circle: list[int], outside: dict[int, str]) -> dict[int, str]:
    """The digests of objects that reach each other; those of what they reach besides are known."""
    known = {part: outside[part] for one in circle for part in graph.parts[one] if part in outside}
    now = {one: graph.told(one, known) for one in circle}
    while True:
        seen = known | now
        after = {one: hashed(now[one], graph.told(one, seen)) for one in circle}
        if len(set(after.values())) == len(set(now.values())):
            break
        now = after
    # what each of them is followed by: two circles that agree in this agree for ever
    steps = sorted({(now[one], after[one]) for one in circle})
    return {one: hashed("circle", after[one], *chain.from_iterable(steps)) for one in circle}


def hashed(*parts: str) -> str:
    """A digest of texts."""
    return hashlib.sha256(repr(parts).encode(errors="backslashreplace")).hexdigest()

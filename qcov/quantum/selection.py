"""How selectors combine.

A *selector* is a callable `(circuit, executors) -> executor`. A *filter* says of each executor
whether it may run a circuit. They combine:

    filter >> selector      the selector chooses among what the filter leaves
    filter & filter         what both leave
    selector | selector     the second is asked where nothing fits the first

A filter by itself chooses the first that it leaves. A name such as "fastest" may stand on either
side, as long as a selector or a filter of qcov's stands on the other; so may a function of your own
where a selector may. `>>` binds more tightly than `&`, and `|` least, so that
`filter & filter >> selector` needs no brackets. What cannot choose, or is no filter where one must
be, is refused at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, overload

from qcov.errors import NoExecutorFits, SelectorError
from qcov.qexecutors.base import BaseQExecutor, Circuit

Selector: TypeAlias = Callable[[Circuit, Sequence[BaseQExecutor]], BaseQExecutor]


class Candidates(list[BaseQExecutor]):
    """Those of a cluster's executors that may still be chosen."""

    def __init__(
        self, executors: Iterable[BaseQExecutor], everyone: Sequence[BaseQExecutor]
    ) -> None:
        super().__init__(executors)
        self.everyone = getattr(everyone, "everyone", everyone)  #: all of the cluster, in order


def everyone_of(executors: Sequence[BaseQExecutor]) -> Sequence[BaseQExecutor]:
    """All of the cluster that these executors are left of."""
    return executors.everyone if isinstance(executors, Candidates) else executors


class Choice(ABC):
    """A selector that combines with others."""

    __slots__ = ()

    @abstractmethod
    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:
        """Choose one of the executors."""

    def check(self, executors: Sequence[BaseQExecutor]) -> None:  # noqa: B027  # most always can
        """Raise `SelectorError` if it cannot choose among all executors of a cluster."""

    def __or__(self, other: Selector | str) -> Choice:
        return Fallback(self, named(other))

    def __ror__(self, other: Selector | str) -> Choice:
        return Fallback(named(other), self)

    def __rshift__(self, other: Selector | str) -> Choice:  # filters have their own
        raise _no_filter(self, "left of >>")

    def __rrshift__(self, other: object) -> Choice:
        return _filter(other, "left of >>") >> self

    def __and__(self, other: Selector | str) -> Choice:
        raise _no_filter(self, "left of &")

    def __rand__(self, other: object) -> Choice:
        return _filter(other, "left of &") & self


class Filter(Choice):
    """Leaves out executors; chooses the first of the others where nothing else does."""

    __slots__ = ()

    @abstractmethod
    def refusal(self, circuit: Circuit, executor: BaseQExecutor) -> str | None:
        """Why the executor is left out; None if it is not."""

    def remaining(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> Candidates:
        """The executors that are not left out.

        Raises:
            NoExecutorFits: All are; the message says why each of them.
        """
        refusals = [(executor, self.refusal(circuit, executor)) for executor in executors]
        left = [executor for executor, refusal in refusals if refusal is None]
        if not left:
            names = _told_apart(executors)
            reasons = [
                f"{name} {refusal}" for name, (_, refusal) in zip(names, refusals, strict=True)
            ]
            raise NoExecutorFits(selector=repr(self), reasons=reasons)
        return Candidates(left, executors)

    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:
        """Choose the first that is not left out."""
        return self.remaining(circuit, executors)[0]

    @overload
    def __rshift__(self, other: Filter) -> Filter: ...
    @overload
    def __rshift__(self, other: Selector | str) -> Choice: ...
    def __rshift__(self, other: Selector | str) -> Choice:
        other = named(other)
        return Both(self, other) if isinstance(other, Filter) else Filtered(self, other)

    @overload
    def __and__(self, other: Filter) -> Filter: ...
    @overload
    def __and__(self, other: Selector | str) -> Choice: ...
    def __and__(self, other: Selector | str) -> Choice:
        other = named(other)
        if isinstance(other, Filtered):  # `self & filter >> selector`
            return Filtered(self, other)
        return Both(self, _filter(other, "right of &", " Let >> stand before who chooses."))


@dataclass(frozen=True, slots=True)
class Filtered(Choice):
    """`first >> then`."""

    first: Filter
    then: Selector

    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:
        """Let the selector choose among what the filter leaves."""
        return self.then(circuit, self.first.remaining(circuit, executors))

    def check(self, executors: Sequence[BaseQExecutor]) -> None:
        """Check who chooses."""
        check_for(self.then, executors)

    def __repr__(self) -> str:
        return f"{self.first!r} >> {self.then!r}"


@dataclass(frozen=True, slots=True)
class Both(Filter):
    """`first & second`."""

    first: Filter
    second: Filter

    def refusal(self, circuit: Circuit, executor: BaseQExecutor) -> str | None:
        """What the first one says, or else the second."""
        return self.first.refusal(circuit, executor) or self.second.refusal(circuit, executor)

    def __repr__(self) -> str:
        return f"{self.first!r} & {self.second!r}"


@dataclass(frozen=True, slots=True)
class Fallback(Choice):
    """`first | second`."""

    first: Selector
    second: Selector

    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:
        """Let the second choose where nothing fits the first."""
        try:
            return self.first(circuit, executors)
        except NoExecutorFits:
            return self.second(circuit, executors)

    def check(self, executors: Sequence[BaseQExecutor]) -> None:
        """Check both."""
        check_for(self.first, executors)
        check_for(self.second, executors)

    def __repr__(self) -> str:
        return f"{self.first!r} | {self.second!r}"


def named(selector: Selector | str) -> Selector:
    """The selector itself, or a new one of that name.

    Raises:
        SelectorError: It cannot choose, or nobody knows the name.
    """
    from qcov.quantum.selectors import check_selector, named_selector

    if isinstance(selector, str):
        return named_selector(selector)
    check_selector(selector)
    return selector


def check_for(selector: Selector, executors: Sequence[BaseQExecutor]) -> None:
    """Raise `SelectorError` if a selector of qcov's cannot choose among a cluster's executors."""
    if isinstance(selector, Choice):
        selector.check(executors)


def _filter(selector: object, where: str, advice: str = "") -> Filter:
    found = named(selector) if isinstance(selector, str) else selector
    if isinstance(found, Filter):
        return found
    raise _no_filter(found, where, advice)


def _no_filter(selector: object, where: str, advice: str = "") -> SelectorError:
    reason = (
        f"is no filter: {where} must be a filter, such as Capable() or Only(condition).{advice}"
    )
    return SelectorError(selector=repr(selector), reason=reason)


def _told_apart(executors: Sequence[BaseQExecutor]) -> list[str]:
    """A name for each of the executors; with its place in the cluster where names are equal."""
    names = [executor.name for executor in executors]
    if len(set(names)) == len(names):
        return names
    places = {id(executor): place for place, executor in enumerate(everyone_of(executors), 1)}
    return [f"executor {places[id(one)]} ({one.name}{_device_of(one)})" for one in executors]


def _device_of(executor: BaseQExecutor) -> str:
    device = getattr(executor, "device", None)
    return f" on {device}" if isinstance(device, str) else ""

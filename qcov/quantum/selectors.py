"""Who runs a circuit: callables `(circuit, executors) -> executor`, and their names."""

from __future__ import annotations

import inspect
import math
import numbers
import random
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qcov.errors import SelectorError, suggest
from qcov.qexecutors.base import BaseQExecutor, Circuit
from qcov.quantum.selection import Choice, Filter, Selector, everyone_of

# -- in an order -------------------------------------------------------------------------------


class Cyclic(Choice):
    """Take the executors in turn. Safe under threads; every cluster has one of its own."""

    def __init__(self) -> None:
        self._turn = 0
        self._lock = threading.Lock()

    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:  # noqa: ARG002
        """Pick the next executor."""
        with self._lock:
            turn, self._turn = self._turn, self._turn + 1
        return executors[turn % len(executors)]

    def __reduce__(self) -> tuple[type[Cyclic], tuple[()]]:
        return Cyclic, ()

    def __repr__(self) -> str:
        return "Cyclic()"


@dataclass(frozen=True, slots=True)
class Random(Choice):
    """Take any of the executors, each as likely as the others."""

    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:  # noqa: ARG002
        """Pick an executor."""
        return random.choice(executors)


@dataclass(frozen=True, slots=True)
class InOrder(Choice):
    """Take the first executor; the next one only while the first does not answer.

    The router leaves out executors that failed a circuit, and those that failed in a row: see
    `break_after`.
    """

    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:  # noqa: ARG002
        """Pick the first executor."""
        return executors[0]


class Weighted(Choice):
    """Give each executor its share of the circuits, spread evenly.

    Args:
        weights: A number for each executor of the cluster, in the same order. One with weight 0
            gets circuits only when no other one is left.

    Example:
        >>> choose = Weighted([3, 1])
        >>> "".join(choose(None, "ab") for _ in range(8))
        'aabaaaba'
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights = _checked(weights)
        self._due = [0.0] * len(self._weights)
        self._lock = threading.Lock()

    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:  # noqa: ARG002
        """Pick the executor that its share is due to most."""
        everyone = everyone_of(executors)
        self.check(everyone)
        here = [
            index for index, one in enumerate(everyone) if any(one is left for left in executors)
        ]
        with self._lock:
            for index in here:
                self._due[index] += self._weights[index]
            chosen = max(here, key=lambda index: (self._due[index], self._weights[index]))
            self._due[chosen] -= sum(self._weights[index] for index in here)
        return everyone[chosen]

    def check(self, executors: Sequence[BaseQExecutor]) -> None:
        """There is a weight for each executor."""
        if len(executors) != len(self._weights):
            reason = f"has {len(self._weights)} weights for {len(executors)} executors"
            raise SelectorError(selector=repr(self), reason=reason)

    def __reduce__(self) -> tuple[type[Weighted], tuple[list[float]]]:
        return Weighted, (self._weights,)

    def __repr__(self) -> str:
        return f"Weighted({self._weights})"


def _checked(weights: Sequence[float]) -> list[float]:
    try:
        values = [float(weight) for weight in weights]
    except (TypeError, ValueError):
        values = []
    right = all(math.isfinite(value) and value >= 0 for value in values)
    if isinstance(weights, str) or not right or not sum(values):
        reason = f"needs a number for each executor, none below 0 and not all 0, not {weights!r}"
        raise SelectorError(selector="Weighted", reason=reason)
    return values


# -- by what is known of them ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeastBusy(Choice):
    """Take the executor with the fewest circuits in flight; ties go to the first."""

    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:  # noqa: ARG002
        """Pick the least busy executor."""
        return min(executors, key=lambda executor: executor.in_flight)


@dataclass(frozen=True, slots=True)
class Fastest(Choice):
    """Take the executor on which circuits were fastest so far.

    One circuit goes to each executor that has not run any, so that all are measured. Meanwhile, and
    between equals, the one with the fewest circuits in flight is taken.
    """

    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:  # noqa: ARG002
        """Pick the fastest executor."""
        return min(executors, key=_speed)


def _speed(executor: BaseQExecutor) -> tuple[float, int]:
    seconds, busy = executor.seconds_per_circuit, executor.in_flight
    if seconds is not None:
        return seconds, busy
    return (-1.0 if busy == 0 else math.inf), busy


@dataclass(frozen=True, slots=True)
class Cheapest(Choice):
    """Take the executor that says it costs least; those that do not say come last.

    Between equals, the one with the fewest circuits in flight is taken.
    """

    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:
        """Pick the cheapest executor."""

        def price(executor: BaseQExecutor) -> tuple[float, int]:
            cost = executor.estimate_cost(circuit)
            return (math.inf if cost is None else cost), executor.in_flight

        return min(executors, key=price)


class QueueAware(Choice):
    """Take the executor with the shortest queue: the provider's, and what is in flight from here.

    An executor without a queue counts with what is in flight; one whose queue cannot be asked comes
    last.

    Args:
        keep: For how many seconds an answer of a provider is kept.
        clock: Gives seconds; for tests.
    """

    def __init__(self, keep: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        if not isinstance(keep, numbers.Real) or not keep >= 0:
            reason = f"keeps answers for a number of seconds, 0 or more, not {keep!r}"
            raise SelectorError(selector="QueueAware", reason=reason)
        self._keep, self._clock = keep, clock
        self._known: dict[int, _Depth] = {}

    def __call__(self, circuit: Circuit, executors: Sequence[BaseQExecutor]) -> BaseQExecutor:  # noqa: ARG002
        """Pick the executor with the shortest queue."""
        return min(executors, key=lambda executor: self._depth(executor) + executor.in_flight)

    def _depth(self, executor: BaseQExecutor) -> float:
        now, known = self._clock(), self._known.get(id(executor))
        if known is None or known.executor() is not executor or now >= known.until:
            ref = weakref.ref(executor)
            depth = _ask_depth(executor)
            known = _Depth(executor=ref, depth=depth, until=now + self._keep)
            self._known[id(executor)] = known
        return known.depth

    def __reduce__(self) -> tuple[type[QueueAware], tuple[float, Callable[[], float]]]:
        return QueueAware, (self._keep, self._clock)

    def __repr__(self) -> str:
        return f"QueueAware(keep={self._keep:g})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Depth:
    executor: weakref.ref[BaseQExecutor]
    depth: float
    until: float


def _ask_depth(executor: BaseQExecutor) -> float:
    try:
        depth = executor.queue_depth()
    except Exception:  # noqa: BLE001  # a provider that does not answer is no reason to fail
        return math.inf
    return 0.0 if depth is None else float(depth)


# -- filters -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capable(Filter):
    """Leave out executors that say they cannot run the circuit: its wires, gates or shots.

    Where an executor says nothing, it is not left out.
    """

    def refusal(self, circuit: Circuit, executor: BaseQExecutor) -> str | None:
        """Ask the executor."""
        return executor.refusal(circuit)


@dataclass(frozen=True, slots=True)
class Only(Filter):
    """Leave out executors for which `condition(circuit, executor)` is false.

    Example:
        >>> from qcov.qexecutors.simulator import Simulator
        >>> lightning = Only(lambda circuit, executor: executor.device == "lightning.qubit")
        >>> choose = lightning >> "least-busy" | "random"
        >>> choose(None, [Simulator(), Simulator("lightning.qubit")]).device
        'lightning.qubit'
    """

    condition: Callable[[Circuit, BaseQExecutor], bool]

    def __post_init__(self) -> None:
        if not callable(self.condition) or not _takes_two(self.condition):
            reason = (
                f"needs a condition (circuit, executor) -> True or False, not {self.condition!r}"
            )
            raise SelectorError(selector="Only", reason=reason)

    def refusal(self, circuit: Circuit, executor: BaseQExecutor) -> str | None:
        """Ask the condition."""
        return None if self.condition(circuit, executor) else "does not meet the condition"


# -- names -------------------------------------------------------------------------------------

_NAMED: dict[str, Callable[[], Selector]] = {
    "cyclic": Cyclic,
    "random": Random,
    "in-order": InOrder,
    "least-busy": LeastBusy,
    "fastest": Fastest,
    "cheapest": Cheapest,
    "queue-aware": QueueAware,
    "capable": Capable,
}


def check_selector(selector: object) -> None:
    """Raise `SelectorError` for what cannot choose: a wrong name, or not such a callable.

    >>> check_selector("cyclic")
    >>> check_selector(lambda circuit, executors: executors[0])
    """
    if isinstance(selector, str):
        named_selector(selector)
    elif isinstance(selector, type) or not callable(selector):
        call = " Call it to make one." if isinstance(selector, type) else ""
        raise SelectorError(selector=repr(selector), reason=f"cannot choose.{call} {_ADVICE}")
    elif not _takes_two(selector):
        reason = f"does not take two arguments, a circuit and a list of executors. {_ADVICE}"
        raise SelectorError(selector=repr(selector), reason=reason)


_ADVICE = (
    "Give a name such as 'cyclic', one of qcov.selectors, or a function "
    "(circuit, executors) -> executor."
)


def _takes_two(selector: Callable[..., object]) -> bool:
    try:
        signature = inspect.signature(selector)
    except (TypeError, ValueError):  # C functions may not have one
        return True
    try:
        signature.bind(None, ())
    except TypeError:
        return False
    return True


def named_selector(name: str) -> Selector:
    """A new selector of that name.

    >>> named_selector("cyclic")(None, ["a", "b"])
    'a'
    """
    if name not in _NAMED:
        reason = f"is unknown. {suggest(name.lower().replace('_', '-'), _NAMED)}"
        raise SelectorError(selector=repr(name), reason=reason)
    return _NAMED[name]()

"""`QCluster`: many executors that look like one."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Annotated, Any, Self, TypeVar, cast

from pydantic import (
    BeforeValidator,
    PrivateAttr,
    SerializeAsAny,
    ValidationInfo,
    field_serializer,
    field_validator,
)

from qcov import transport
from qcov.budget import Budget
from qcov.errors import InvalidQExecutor, InvalidSetting, SelectorError
from qcov.qexecutors.base import Allowed, BaseQExecutor, Circuit, CircuitBatch
from qcov.quantum.selection import Candidates, Selector, check_for
from qcov.quantum.selectors import check_selector, named_selector

_PICKLED = "pickled:"


def _executor(value: object) -> BaseQExecutor:
    if isinstance(value, BaseQExecutor | Mapping):
        return BaseQExecutor.from_data(cast("object", value))
    raise InvalidQExecutor(got=repr(value), advice="A QCluster takes Simulators and the like.")


def _executors(value: object) -> object:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidQExecutor(got=repr(value), advice="A QCluster takes a list of executors.")
    if not value:
        raise InvalidQExecutor(got="an empty list", advice="A QCluster takes at least one.")
    return list(cast("Sequence[object]", value))


_CHOICE = frozenset({"selector", "executors"})


class QCluster(BaseQExecutor):
    """Runs each circuit on one of its executors; circuits that come together run at once.

    Args:
        executors: The executors; clusters may be among them.
        selector: Who chooses, once per circuit: a name ("cyclic" takes the executors in turn; see
            `qcov.selectors`), one of `qcov.selectors`, or a callable of your own
            `(circuit, executors) -> executor`. It is called in the thread that asks for the
            circuit and keeps its own state. Where an executor failed or is left alone, `executors`
            are the others.

        budget: What circuits may cost on all of its executors together; see `qcov.Budget`.

    `shots`, `persist_data`, `retries`, `time_limit` and the like are up to the executors in it; a
    cluster has none of its own.

    Raises:
        InvalidQExecutor: Something in the list is not an executor.
        InvalidSetting: A setting is given that is up to the executors.
        SelectorError: No selector has this name, it cannot be called with a circuit and executors,
            it has weights for more or fewer of them, or it chose something else than an executor.

    Example:
        >>> from qcov.qexecutors.simulator import Simulator
        >>> cluster = QCluster(executors=[Simulator(), Simulator("lightning.qubit")])
        >>> [cluster.select(None).device for _ in range(3)]
        ['default.qubit', 'lightning.qubit', 'default.qubit']
    """

    executors: Annotated[
        list[SerializeAsAny[Annotated[BaseQExecutor, BeforeValidator(_executor)]]],
        BeforeValidator(_executors),
    ]
    selector: str | Callable[..., Any] = "cyclic"
    budget: Budget | None = None

    _select: Selector | None = PrivateAttr(default=None)

    def __init__(self, executors: Sequence[BaseQExecutor] = (), **settings: Any) -> None:
        super().__init__(executors=executors, **settings)

    @classmethod
    def _settings(cls) -> Set[str]:
        return cls.model_fields.keys() - BaseQExecutor.model_fields.keys()

    @field_validator("selector", mode="before")
    @classmethod
    def _is_a_selector(cls, selector: object) -> object:
        if not (isinstance(selector, str) and selector.startswith(_PICKLED)):
            check_selector(selector)
        return selector

    @field_validator(*BaseQExecutor.model_fields)
    @classmethod
    def _is_up_to_its_executors(cls, value: object, info: ValidationInfo) -> object:
        name = str(info.field_name)
        if value != cls.model_fields[name].default:
            reason = f"is up to its executors: give {name}={value!r} to each of them"
            raise InvalidSetting(executor=cls.__name__, setting=name, reason=reason)
        return value

    @field_serializer("selector", when_used="json")
    def _selector_as_text(self, selector: str | Selector) -> str:
        if isinstance(selector, str):
            return selector
        blob = transport.dumps(selector, what="the selector of a QCluster")
        return _PICKLED + base64.b64encode(blob).decode()

    def model_post_init(self, context: Any, /) -> None:
        """Give this cluster a selector of its own, so that equal clusters do not share turns."""
        super().model_post_init(context)
        if not (isinstance(self.selector, str) and self.selector.startswith(_PICKLED)):
            self._select = self.deserialize_selector()
            check_for(self._select, self.executors)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _CHOICE:
            super().__setattr__(name, value)
            return
        before, chosen = getattr(self, name), self._select
        super().__setattr__(name, value)
        try:
            self._choose_anew()
        except SelectorError:
            super().__setattr__(name, before)
            self._select = chosen
            raise

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy whose selector takes turns of its own."""
        copied = super().model_copy(update=update, deep=deep)
        if update and update.keys() & _CHOICE:
            copied._choose_anew()
        return copied

    def _choose_anew(self) -> None:
        self._select = None
        check_for(self.get_selector(), self.executors)

    def __copy__(self) -> Self:
        copied = super().__copy__()
        with suppress(TypeError):  # a selector of the user's that cannot be copied is shared
            copied._select = deepcopy(self._select)  # turns of its own
        return copied

    def select(self, circuit: Circuit, allowed: Allowed | None = None) -> BaseQExecutor:
        """The executor that runs `circuit`; where it is a cluster, that one chooses in turn."""
        executors: Sequence[BaseQExecutor] = self.executors
        if allowed is not None:
            left = [one for one in executors if any(map(allowed, one.leaves()))]
            executors = Candidates(left, executors)
        chosen = self.get_selector()(circuit, executors)
        if not any(chosen is executor for executor in executors):
            raise SelectorError(
                selector=repr(self.selector),
                reason=f"chose {chosen!r}, which is none of its cluster's executors.",
            )
        return chosen.select(circuit, allowed)

    def leaves(self) -> tuple[BaseQExecutor, ...]:
        """All executors that are not clusters themselves."""
        return tuple(leaf for executor in self.executors for leaf in executor.leaves())

    def budgets_for(self, leaf: BaseQExecutor) -> tuple[Budget, ...]:
        """Its own, and those of the clusters in it that `leaf` is in."""
        own = () if self.budget is None else (self.budget,)
        for executor in self.executors:
            if any(one is leaf for one in executor.leaves()):
                return own + executor.budgets_for(leaf)
        return own

    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        """Choose an executor for every circuit; run what each of them got, all at once."""
        shares: dict[int, tuple[BaseQExecutor, list[int]]] = {}
        for index, circuit in enumerate(batch.circuits):
            executor = self.select(circuit)
            shares.setdefault(id(executor), (executor, []))[1].append(index)
        results: list[Any] = [None] * len(batch.circuits)
        with ThreadPoolExecutor(len(shares) or 1) as pool:
            running = [
                (indices, pool.submit(executor.run_batch, self._share(batch, indices, executor)))
                for executor, indices in shares.values()
            ]
            for indices, future in running:
                for index, result in zip(indices, future.result(), strict=True):
                    results[index] = result
        return results

    def _share(
        self, batch: CircuitBatch, indices: Sequence[int], executor: BaseQExecutor
    ) -> CircuitBatch:
        budgets = batch.budgets + self.budgets_for(executor)
        return replace(batch.only(indices), budgets=budgets, others=len(self.leaves()) > 1)

    # -- what the selector of a cluster around this one asks ----------------------------------

    @property
    def in_flight(self) -> int:
        """How many circuits all of its executors have together."""
        return sum(executor.in_flight for executor in self.executors)

    @property
    def seconds_per_circuit(self) -> float | None:
        """How long a circuit takes on the fastest of its executors that has run one."""
        return min(
            _known(executor.seconds_per_circuit for executor in self.executors), default=None
        )

    def refusal(self, circuit: Circuit) -> str | None:
        """Why none of its executors can run `circuit`; None if one of them may."""
        refusals = [executor.refusal(circuit) for executor in self.executors]
        return None if None in refusals else refusals[0]

    def estimate_cost(self, circuit: Circuit) -> float | None:
        """What `circuit` costs on the cheapest of its executors that says."""
        costs = (executor.estimate_cost(circuit) for executor in self.executors)
        return min(_known(costs), default=None)

    def queue_depth(self) -> int | None:
        """The shortest queue of its executors."""
        return min(_known(executor.queue_depth() for executor in self.executors), default=None)

    # -- the names that Covalent had ---------------------------------------------------------

    def get_selector(self) -> Selector:
        """The callable that chooses."""
        if self._select is None:
            self._select = self.deserialize_selector()
        return self._select

    def serialize_selector(self) -> None:
        """Turn a selector that is a callable into text, in place.

        qcov does so by itself when a cluster travels; scripts written for Covalent may ask for it.
        """
        chosen = self.get_selector()
        self.selector = self._selector_as_text(self.selector)
        self._select = chosen  # the user's own, which may remember something

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()  # the text or callable in `selector` makes another one
        private: dict[str, Any] = {**(state["__pydantic_private__"] or {}), "_select": None}
        return {**state, "__pydantic_private__": private}

    def deserialize_selector(self) -> Selector:
        """The callable that `selector` stands for."""
        if not isinstance(self.selector, str):
            return self.selector
        if self.selector.startswith(_PICKLED):
            blob = base64.b64decode(self.selector.removeprefix(_PICKLED))
            return cast("Selector", transport.loads(blob))
        return named_selector(self.selector)


_Number = TypeVar("_Number", int, float)


def _known(values: Iterable[_Number | None]) -> list[_Number]:
    return [value for value in values if value is not None]

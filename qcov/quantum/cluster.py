"""`QCluster`: many executors that look like one."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, cast

from pydantic import (
    BeforeValidator,
    PrivateAttr,
    SerializeAsAny,
    ValidationInfo,
    field_serializer,
    field_validator,
)

from qcov import transport
from qcov.errors import InvalidQExecutor, InvalidSetting, SelectorError
from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitBatch
from qcov.quantum.selectors import Selector, check_selector, named_selector

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


class QCluster(BaseQExecutor):
    """Runs each circuit on one of its executors; circuits that come together run at once.

    Args:
        executors: The executors; clusters may be among them.
        selector: "cyclic" takes them in turn, "random" at random. A callable
            `(circuit, executors) -> executor` chooses as it likes; it is called once per circuit,
            in the thread that asks for it, and keeps its own state.

    `shots` and `persist_data` are those of the executors in it; a cluster has none of its own.

    Raises:
        InvalidQExecutor: Something in the list is not an executor.
        InvalidSetting: `shots` or `persist_data` are given.
        SelectorError: No selector has this name, it cannot be called with a circuit and executors,
            or it chose something else than an executor.

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

    _select: Selector | None = PrivateAttr(default=None)

    @field_validator("selector", mode="before")
    @classmethod
    def _is_a_selector(cls, selector: object) -> object:
        if not (isinstance(selector, str) and selector.startswith(_PICKLED)):
            check_selector(selector)
        return selector

    @field_validator("shots", "persist_data")
    @classmethod
    def _is_up_to_its_executors(cls, value: object, info: ValidationInfo) -> object:
        name = str(info.field_name)
        if value != cls.model_fields[name].default:
            reason = f"are those of its executors: give {name}={value!r} to each of them"
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

    def select(self, circuit: Circuit) -> BaseQExecutor:
        """The executor that runs `circuit`; where it is a cluster, that one chooses in turn."""
        chosen = self.get_selector()(circuit, self.executors)
        if not any(chosen is executor for executor in self.executors):
            raise SelectorError(
                selector=repr(self.selector),
                reason=f"chose {chosen!r}, which is none of its cluster's executors.",
            )
        return chosen.select(circuit)

    def leaves(self) -> tuple[BaseQExecutor, ...]:
        """All executors that are not clusters themselves."""
        return tuple(leaf for executor in self.executors for leaf in executor.leaves())

    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        """Choose an executor for every circuit; run what each of them got, all at once."""
        shares: dict[int, tuple[BaseQExecutor, list[int]]] = {}
        for index, circuit in enumerate(batch.circuits):
            executor = self.select(circuit)
            shares.setdefault(id(executor), (executor, []))[1].append(index)
        results: list[Any] = [None] * len(batch.circuits)
        with ThreadPoolExecutor(len(shares) or 1) as pool:
            running = [
                (indices, pool.submit(executor.run_batch, batch.only(indices)))
                for executor, indices in shares.values()
            ]
            for indices, future in running:
                for index, result in zip(indices, future.result(), strict=True):
                    results[index] = result
        return results

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
        self.selector = self._selector_as_text(self.selector)

    def deserialize_selector(self) -> Selector:
        """The callable that `selector` stands for."""
        if not isinstance(self.selector, str):
            return self.selector
        if self.selector.startswith(_PICKLED):
            blob = base64.b64decode(self.selector.removeprefix(_PICKLED))
            return cast("Selector", transport.loads(blob))
        return named_selector(self.selector)

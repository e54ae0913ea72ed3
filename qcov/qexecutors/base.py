"""What a quantum executor is: a pydantic model with one method, `run_batch`.

Everything else that users of Covalent know (`batch_submit`, `batch_get_results`, `dict`, ...) is
derived from it. Nothing here needs PennyLane, so an engine can read executors without it.
"""

from __future__ import annotations

import builtins
import math
import numbers
import operator
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from inspect import isabstract
from typing import (
    Any,
    Protocol,
    Self,
    SupportsIndex,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
)

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from qcov import policy
from qcov.budget import Budget, Unit
from qcov.config import get_config
from qcov.credentials import Credential
from qcov.errors import CircuitError, InvalidSetting, QuantumError, suggest
from qcov.qexecutors.capabilities import Capabilities
from qcov.qexecutors.traffic import Traffic
from qcov.records import error_text

_Error = TypeVar("_Error", bound=Exception)


class Circuit(Protocol):
    """What qcov needs of a PennyLane `QuantumScript`, the form in which circuits travel."""

    @property
    def operations(self) -> Sequence[Any]:
        """The operations, in order."""
        ...

    @property
    def measurements(self) -> Sequence[Any]:
        """The measurements, in order."""
        ...

    @property
    def shots(self) -> Any:
        """The shots, false if the circuit is analytic."""
        ...

    @property
    def wires(self) -> Sequence[Any]:
        """The wires in use."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBatch:
    """Circuits that run together, and how.

    All circuits of a batch have the same shots, and all or none of them measure in mid-circuit.

    Args:
        circuits: PennyLane `QuantumScript`s with NumPy parameters.
        wires: The wires of the device, as `qml.device` takes them: how many if they are numbered
            from 0, their labels otherwise, None if the circuits say.
        mcm_method: PennyLane's name of the way to measure in mid-circuit; None lets the device
            choose.
        postselect_mode: PennyLane's name of what becomes of shots that postselection drops.
        budgets: Of the clusters that chose this executor; see `qcov.Budget`.
        others: Whether another executor may take what this one does not run.
    """

    circuits: tuple[Circuit, ...]
    wires: int | tuple[Any, ...] | None = None
    mcm_method: str | None = None
    postselect_mode: str | None = None
    budgets: tuple[Budget, ...] = ()
    others: bool = False

    def only(self, indices: Sequence[int]) -> CircuitBatch:
        """The circuits at `indices`, run in the same way."""
        return replace(self, circuits=tuple(self.circuits[index] for index in indices))


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitResult:
    """A circuit's value together with what else its executor knows."""

    value: Any
    execution_time: float | None = None  #: seconds on the backend
    device: str | None = None
    backend: str | None = None
    job_id: str | None = None
    cost: Mapping[str, Any] | None = None  #: its share of what the job has cost, by unit
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


class BaseQExecutor(BaseModel, ABC):
    """Runs circuits on one backend. A subclass says how in `run_batch`; nothing else is needed.

    Args:
        shots: 0 takes the QNode's own shots, None makes circuits analytic, a number overrides.
        persist_data: Whether records keep circuits and results.
        retries: How often a circuit is tried again here after a transient error; see `classify`.
        retry_delay: Seconds before the second try; each further one waits twice as long, up to a
            minute, and a random part less.
        time_limit: Seconds that `run_batch` may take; then its circuits go elsewhere or fail with
            `CircuitTimedOut`, and whatever it still returns is dropped.
        max_jobs: How many batches may run at the same time.
        max_batch: How many circuits a batch has at most; None for all that wait.
        break_after: After how many transient or offline failures in a row the executor is left
            alone; 0 for never.
        break_pause: For how many seconds.

    What is not given is taken from the section of its class in `qcov.conf`, such as
    `[qelectron.Simulator]`, and else has the default.

    Example:
        >>> import pennylane as qml
        >>> class Mine(BaseQExecutor):
        ...     def run_batch(self, batch):
        ...         device = qml.device("default.qubit", wires=batch.wires)
        ...         return qml.execute(batch.circuits, device, diff_method=None)
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True, hide_input_in_errors=True)

    shots: int | None = 0
    persist_data: bool = True
    retries: int = 0
    retry_delay: float = 1.0
    time_limit: float | None = None
    max_jobs: int = 1
    max_batch: int | None = None
    break_after: int = 5
    break_pause: float = 30.0

    @field_validator("shots", mode="before")
    @classmethod
    def _counts_shots(cls, shots: object) -> int | None:
        what = "0 (the circuit's own), None (analytic) or a whole number above 0"
        return None if shots is None else whole(shots, 0, cls.__name__, "shots", what)

    @field_validator("retries", "max_jobs", "max_batch", "break_after", mode="before")
    @classmethod
    def _counts(cls, value: object, info: ValidationInfo) -> int | None:
        name = str(info.field_name)
        if value is None and name == "max_batch":
            return None
        least = 1 if name.startswith("max") else 0
        what = f"a whole number, {least} or more"
        return whole(value, least, cls.__name__, name, what)

    @field_validator("retry_delay", "break_pause", "time_limit", mode="before")
    @classmethod
    def _is_a_time(cls, value: object, info: ValidationInfo) -> float | None:
        name = str(info.field_name)
        return None if value is None and name == "time_limit" else seconds(value, cls, name)

    def __init__(self, **settings: Any) -> None:
        configured = self._configured()
        try:
            fields = self.as_fields({**configured, **settings})
            self._refuse_unknown(fields)
            super().__init__(**fields)
        except ValidationError as error:
            raise self._told_of(configured, _original(error, type(self))) from None
        except QuantumError as error:
            raise self._told_of(configured, error) from None

    @classmethod
    def as_fields(cls, settings: Mapping[str, Any]) -> builtins.dict[str, Any]:
        """Settings as the fields of the model; for subclasses that take others as well."""
        return {name: value for name, value in settings.items() if name != "type"}

    @classmethod
    def _configured(cls) -> Mapping[str, Any]:
        """What the section of the class in `qcov.conf` says, such as `[qelectron.Simulator]`."""
        sections = cast("Mapping[str, Mapping[str, Any]]", get_config("qelectron"))
        return sections.get(cls.__name__, {})

    @classmethod
    def _told_of(cls, configured: Mapping[str, Any], error: _Error) -> _Error:
        """The error, with a word about settings that did not stand in the call."""
        if configured:
            names, section = ", ".join(sorted(configured)), f"[qelectron.{cls.__name__}]"
            error.add_note(f"Of its settings, {names} may come from {section} in qcov.conf.")
        return error

    @classmethod
    def _refuse_unknown(cls, settings: Iterable[str]) -> None:
        for setting in sorted(set(settings) - cls.model_fields.keys()):
            raise InvalidSetting(
                executor=cls.__name__,
                setting=repr(setting),
                reason=f"is not a setting. {suggest(setting, cls._settings())}",
            )

    def __setattr__(self, name: str, value: Any) -> None:
        if (
            not name.startswith("_")
            and not hasattr(type(self), name)
            and name not in self._settings()
        ):
            reason = f"is not a setting. {suggest(name, self._settings())}"
            raise InvalidSetting(executor=type(self).__name__, setting=repr(name), reason=reason)
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise _original(error, type(self)) from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BaseQExecutor) or type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in type(self).model_fields)

    __hash__ = None  # its settings may change  # pyright: ignore[reportAssignmentType]

    def __copy__(self) -> Self:
        copied = super().__copy__()
        vars(copied).pop("traffic", None)  # what goes to the copy is its own
        return copied

    @classmethod
    def _settings(cls) -> Set[str]:
        """The names of the settings that it takes."""
        return cls.model_fields.keys()

    @abstractmethod
    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        """Run all circuits of `batch` and return their results, in order.

        A result is what `qml.execute` would give for the circuit, or a `CircuitResult` around it,
        or an exception if only this circuit failed. Raise only if none of the circuits ran: they
        may then be run again.
        """

    def budgets_for(self, leaf: BaseQExecutor) -> tuple[Budget, ...]:  # noqa: ARG002
        """The budgets of clusters between this executor and one of its `leaves`."""
        return ()

    @property
    def watched_limit(self) -> float | None:
        """Seconds after which a batch is left behind; None where `run_batch` ends in time."""
        return self.time_limit

    @property
    def fills_circuits(self) -> bool:
        """Whether it takes circuits as structure and numbers, and gains from that."""
        return False

    @property
    def name(self) -> str:
        """The class's name, by which records know the executor."""
        return type(self).__name__

    def select(self, circuit: Circuit, allowed: Allowed | None = None) -> BaseQExecutor:  # noqa: ARG002  # clusters choose
        """The executor that runs `circuit`: this one. A cluster chooses one that is `allowed`."""
        return self

    def leaves(self) -> tuple[BaseQExecutor, ...]:
        """All executors that `select` may give."""
        return (self,)

    def derivative_device(self, wires: int | tuple[Any, ...] | None) -> Any | None:  # noqa: ARG002
        """This thread's PennyLane device if it may differentiate by itself, else None."""
        return None

    def threads_for(self, circuits: Sequence[Circuit]) -> int:  # noqa: ARG002
        """How many threads should share circuits that `derivative_device` differentiates."""
        return 1

    def cache_key(self) -> object | None:
        """All that decides about results besides the circuit; None keeps them out of caches.

        An executor that tells it lets qelectrons reuse its results (see `qcov.CircuitCache`):
        names, numbers, lists and dictionaries, versions among them. What only changes how fast it
        is does not belong there.
        """
        return None

    # -- what selectors and the router ask ---------------------------------------------------

    @property
    def in_flight(self) -> int:
        """How many circuits this process has given it that have not come back."""
        return self.traffic.in_flight

    @property
    def seconds_per_circuit(self) -> float | None:
        """How long a circuit takes, measured in this process lately; None before the first."""
        return self.traffic.seconds

    @cached_property
    def traffic(self) -> Traffic:
        """What this process counts of its work."""
        return Traffic()

    def __qcov_key__(self) -> object:
        """What keys of electrons that use it are made from: not what it counts of its work."""
        state = self.__getstate__()
        settings = {name: state["__dict__"][name] for name in type(self).model_fields}
        return settings, state["__pydantic_private__"]

    @property
    def capabilities(self) -> Capabilities:
        """What it says it can run; by default it says nothing. For subclasses to override."""
        return Capabilities()

    def refusal(self, circuit: Circuit) -> str | None:
        """Why it cannot run `circuit`; None if it may. For subclasses that must look closer."""
        return self.capabilities.refusal(circuit)

    def estimate_cost(self, circuit: Circuit) -> float | None:  # noqa: ARG002
        """What `circuit` will cost, in US dollars; None, the default, if that is not known."""
        return None

    def estimate_batch(self, batch: CircuitBatch) -> list[builtins.dict[str, float]]:
        """What a batch would cost at most: for each of its jobs, amounts by unit."""
        costs = [self.estimate_cost(circuit) for circuit in batch.circuits]
        known = [cost for cost in costs if cost is not None]
        return [{Unit.USD: sum(known)} if len(known) == len(costs) else {}]

    @property
    def device_name(self) -> str | None:
        """The device that circuits run on, if it has a name."""
        name = getattr(self, "device", None)
        return None if name is None else str(name)

    @property
    def prices(self) -> str | None:
        """Where the prices of its estimates come from, and of which day they are."""
        return None

    def queue_depth(self) -> int | None:
        """How many jobs wait at the provider, all users' together; None if there is no telling.

        It may take as long as a request over the network: `QueueAware` keeps the answer a while.
        """
        return None

    def classify(self, error: BaseException) -> policy.ErrorKind:
        """What an error of `run_batch` or of a circuit says about another try.

        The default knows qcov's own errors, and those of the network and of HTTP.
        """
        return policy.classify(error)

    # -- the names that Covalent had ---------------------------------------------------------

    def batch_submit(self, qscripts_list: Sequence[Circuit]) -> list[Future[CircuitResult]]:
        """Run circuits in another thread; a future for each of them."""
        futures: list[Future[CircuitResult]] = [Future() for _ in qscripts_list]
        pool = ThreadPoolExecutor(1)
        pool.submit(self._fill, tuple(qscripts_list), futures)
        pool.shutdown(wait=False)
        return futures

    def batch_get_results(
        self, futures_list: Sequence[Future[CircuitResult]]
    ) -> list[CircuitResult]:
        """Wait for what `batch_submit` gave."""
        return [future.result() for future in futures_list]

    def dict(self, **options: Any) -> builtins.dict[str, Any]:
        """The settings as a dictionary."""
        return self.model_dump(**options)

    def _fill(
        self, circuits: tuple[Circuit, ...], futures: Sequence[Future[CircuitResult]]
    ) -> None:
        started = time.perf_counter()
        results: list[Any] = []
        try:
            results += self.run_batch(CircuitBatch(circuits=circuits))
            if len(results) != len(futures):
                reason = f"its run_batch gave {len(results)} results for {len(futures)} circuits"
                raise CircuitError(executor=self.name, reason=reason)
        except BaseException as error:  # noqa: BLE001  # it belongs to whoever asks for a result
            results[:] = [ordinary(self, error)] * len(futures)
        share = (time.perf_counter() - started) / max(len(futures), 1)
        for future, result in zip(futures, results, strict=True):
            if isinstance(result, BaseException):
                future.set_exception(result)
            elif isinstance(result, CircuitResult):
                future.set_result(result)
            else:
                future.set_result(CircuitResult(value=result, execution_time=share))

    # -- JSON --------------------------------------------------------------------------------

    @model_serializer(mode="wrap")
    def _with_type(self, serialize: SerializerFunctionWrapHandler) -> Mapping[str, Any]:
        return {"type": type(self).__name__, **serialize(self)}

    @classmethod
    def from_data(cls, data: object) -> Self:
        """Rebuild an executor of any class from what `model_dump` gave; executors stay as they are.

        Only classes that are loaded already are found: data never makes qcov import anything.
        """
        if isinstance(data, cls):
            return data
        if not isinstance(data, Mapping):
            raise InvalidSetting(executor=cls.__name__, setting=repr(data), reason="is no executor")
        settings = cast("Mapping[str, Any]", data)
        known = _by_name(_kinds(cls))
        kind = known.get(str(settings.get("type")))
        if kind is None:
            raise InvalidSetting(
                executor=cls.__name__,
                setting=f"type {settings.get('type')!r}",
                reason=f"is no executor that is loaded. Known: {', '.join(sorted(known))}.",
            )
        return kind.model_validate(dict(settings))


Allowed: TypeAlias = Callable[[BaseQExecutor], bool]

_Kind = TypeVar("_Kind", bound=BaseQExecutor)


def _kinds(cls: type[_Kind]) -> list[type[_Kind]]:
    return [cls, *(kind for child in cls.__subclasses__() for kind in _kinds(child))]


def _by_name(kinds: Iterable[type[_Kind]]) -> dict[str, type[_Kind]]:
    """Classes by name; of several the one that its module has, else the last.

    One that travelled by value leaves an empty shell, and a notebook's cell defines it anew.
    """
    known: dict[str, type[_Kind]] = {}
    for kind in kinds:
        before = known.get(kind.__name__)
        if before is None or not (_is_at_home(before) or isabstract(kind)):
            known[kind.__name__] = kind
    return known


def _is_at_home(kind: type) -> bool:
    return getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind


def ordinary(executor: BaseQExecutor, error: BaseException) -> Exception:
    """The error as circuits may have it: what ends a program must not end whoever asks."""
    if isinstance(error, Exception):
        return error
    reason = f"its run_batch raised {error_text(error)}"
    ordinary = CircuitError(executor=executor.name, reason=reason)
    ordinary.__cause__ = error
    return ordinary


def whole(value: object, least: int, executor: str, setting: str, expected: str) -> int:
    """`value` as a whole number that is not below `least`; `InvalidSetting` for anything else.

    >>> whole(3.0, 1, "Simulator", "workers", "a whole number above 0")
    3
    """
    number = _integer(value)
    if number is None or not least <= number <= sys.maxsize:
        reason = f"must be {expected}, not {value!r}"
        raise InvalidSetting(executor=executor, setting=setting, reason=reason)
    return number


def seconds(value: object, kind: type[BaseQExecutor], setting: str) -> float:
    """`value` as a number of seconds; `InvalidSetting` for anything else."""
    strictly = setting == "time_limit"
    if not isinstance(value, bool) and isinstance(value, numbers.Real):
        number = float(value)
        if math.isfinite(number) and (number > 0 or (number == 0 and not strictly)):
            return number
    least = "more than 0" if strictly else "0 or more"
    reason = f"must be a number of seconds, {least}, not {value!r}"
    raise InvalidSetting(executor=kind.__name__, setting=setting, reason=reason)


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float):  # such as 1e3
        return int(value) if value.is_integer() else None
    try:
        return operator.index(cast("SupportsIndex", value))  # NumPy's integers too
    except TypeError:
        return None


def _original(error: ValidationError, kind: type[BaseQExecutor]) -> Exception:
    """The first problem that pydantic found: our own error if a validator raised one."""
    problem = error.errors()[0]
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, QuantumError):
        return cause
    setting = ".".join(map(str, problem["loc"])) or "settings"
    if problem["type"] == "missing":
        return InvalidSetting(executor=kind.__name__, setting=repr(setting), reason="must be given")
    told = problem["msg"].removeprefix("Input ").removeprefix("Value error, ")
    got = "" if _is_secret(kind, setting) else f", not {problem['input']!r}"
    return InvalidSetting(executor=kind.__name__, setting=setting, reason=f"{told}{got}")


def _is_secret(kind: type[BaseQExecutor], setting: str) -> bool:
    """Whether a setting is a credential, of which nothing may be told."""
    field = kind.model_fields.get(setting)
    return field is not None and Credential in (field.annotation, *get_args(field.annotation))

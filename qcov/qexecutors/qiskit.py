"""`QiskitExecutor` runs circuits on Qiskit's primitives: on this machine, or at IBM Quantum."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field, PrivateAttr, field_validator

from qcov.errors import CircuitError, InvalidSetting, suggest
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitBatch, CircuitResult, whole
from qcov.qexecutors.callers import frames_of_ours
from qcov.qexecutors.capabilities import Capabilities
from qcov.qexecutors.qiskit_names import RETIRED_SIMULATORS, is_retired, local_name
from qcov.qexecutors.qiskit_options import PrimitiveOptions, read_options
from qcov.qexecutors.qiskit_state import LocalState

if TYPE_CHECKING:
    from qcov.qexecutors.qiskit_local import LocalBackend
    from qcov.qexecutors.qiskit_programs import Translator

Device = Literal["local_sampler", "sampler"]

_DEVICES = ("local_sampler", "sampler")
#: Settings that what stands was made from.
_OF_WHAT_RUNS = frozenset({"device", "backend", "options", "optimization_level", "seed"})
_DURATION = re.compile(r"(?:(\d+)h)?\s*(?:(\d+)m)?\s*(?:(\d+)s?)?")
_BEST = 3  #: Covalent's level of optimisation


class QiskitExecutor(BaseQExecutor):
    """Runs circuits on Qiskit's sampler, a whole batch in one job.

    Args:
        device: "local_sampler" runs on this machine, without noise or with a fake backend's.
        backend: For "local_sampler": "aer_simulator" (the default), "statevector", or a fake
            backend such as "fake_manila".
        shots: A number overrides the QNode's own; 0 takes those.
        single_job: Whether a batch is one job; otherwise each circuit is one.
        optimization_level: Of transpilation to the backend, from 0 to 3; circuits for simulators
            without noise are left as they are.
        local_transpile: Circuits are always transpiled here, for backends take no others.
        max_time: Seconds that a job may run, or text such as "1h 30m".
        seed: Of the samplers on this machine; each job draws further numbers.
        options: Of the primitives and the pass manager; those of Covalent's time are understood.

    Raises:
        InvalidSetting: A setting or an option does not exist, or has a wrong value.

    Example:
        >>> QiskitExecutor(backend="fake_manila", shots=1000).shots
        1000
    """

    device: Device = "local_sampler"
    backend: str | None = None
    shots: int | None = 1024
    single_job: bool = True
    optimization_level: int | None = None
    local_transpile: bool = False
    max_time: float | None = None
    seed: int | None = None
    options: dict[str, Any] = Field(default_factory=dict[str, Any])

    _state: LocalState = PrivateAttr(default_factory=LocalState)

    @field_validator("device", mode="before")
    @classmethod
    def _is_a_primitive(cls, device: object) -> object:
        if device not in _DEVICES:
            reason = f"is not a primitive. {suggest(str(device), _DEVICES)}"
            raise InvalidSetting(executor=cls.__name__, setting=f"device={device!r}", reason=reason)
        return device

    @field_validator("shots", mode="before")
    @classmethod
    def _counts_shots(cls, shots: object) -> int | None:
        if shots is None:
            reason = "cannot be None: a sampler has shots. Use a Simulator for exact values"
            raise InvalidSetting(executor=cls.__name__, setting="shots", reason=reason)
        what = "0 (the circuit's own) or a whole number above 0"
        return whole(shots, 0, cls.__name__, "shots", what)

    @field_validator("optimization_level", mode="before")
    @classmethod
    def _is_a_level(cls, level: object) -> int | None:
        if level is None:
            return None
        found = whole(level, 0, cls.__name__, "optimization_level", _LEVELS)
        if found > _BEST:
            reason = f"must be {_LEVELS}, not {level!r}"
            raise InvalidSetting(executor=cls.__name__, setting="optimization_level", reason=reason)
        return found

    @field_validator("seed", mode="before")
    @classmethod
    def _is_a_seed(cls, seed: object) -> int | None:
        return None if seed is None else whole(seed, 0, cls.__name__, "seed", "a whole number")

    @field_validator("max_time", mode="before")
    @classmethod
    def _is_a_duration(cls, value: object) -> float | None:
        if value is None:
            return None
        seconds = _seconds_of(value)
        if not seconds or seconds < 0:
            reason = f"must be a number of seconds or text such as '1h 30m', not {value!r}"
            raise InvalidSetting(executor=cls.__name__, setting="max_time", reason=reason)
        return seconds

    @field_validator("options", mode="before")
    @classmethod
    def _are_options(cls, options: object) -> object:
        if options is None:
            return {}
        if not isinstance(options, Mapping):
            reason = f"must be a dictionary, not {options!r}"
            raise InvalidSetting(executor=cls.__name__, setting="options", reason=reason)
        read = read_options(cast("Mapping[str, Any]", options), cls.__name__)
        for advice in read.advice:
            warnings.warn(advice, stacklevel=frames_of_ours())
        return dict(cast("Mapping[str, Any]", options))

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._check_backend()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _OF_WHAT_RUNS:
            self._state = LocalState()
        if name in ("device", "backend"):
            self._check_backend()

    def run_batch(self, batch: CircuitBatch) -> Sequence[Any]:
        """Run all circuits of `batch`; an exception stands where one failed."""
        batch = self._with_shots(batch)
        parts = [batch] if self.single_job else [batch.only([at]) for at in _range(batch)]
        return [value for part in parts for value in self._run_here(part)]

    @property
    def capabilities(self) -> Capabilities:
        """Shots are needed; a fake backend has as many wires as the real one."""
        return Capabilities(analytic=False, wires=self._local.qubits)

    def refusal(self, circuit: Circuit) -> str | None:
        """Why the backend cannot run `circuit`; None if it can."""
        batch = self._with_shots(CircuitBatch(circuits=(circuit,)))
        programs = self._translator.programs(batch)
        if programs.pubs:
            return None
        (error,) = programs.read([])
        return getattr(error, "reason", None) if isinstance(error, Exception) else None

    def estimate_cost(self, circuit: Circuit) -> float | None:  # noqa: ARG002
        """Nothing."""
        return 0.0

    def cache_key(self) -> object | None:
        """The backend, how circuits are fitted to it, and the versions of what runs them."""
        settings = (self.device, local_name(self.backend), self._level, self.options, self.seed)
        return (*settings, tuple(map(_version, _PACKAGES)))

    # -- on this machine ---------------------------------------------------------------------

    @property
    def _local(self) -> LocalBackend:
        return self._state.backend(self._make_local)

    @property
    def _translator(self) -> Translator:
        from qcov.qexecutors.qiskit_programs import Translator

        local = self._local
        return Translator(executor=self.name, qubits=local.qubits, dynamic=local.dynamic)

    def _run_here(self, batch: CircuitBatch) -> list[Any]:
        started = time.perf_counter()
        programs = self._translator.programs(batch)
        if not programs.pubs:
            return programs.read([])
        try:
            job, raw = self._local.run(
                programs.pubs, self._state.next_seed(self._seed), self.max_time
            )
        except Exception as error:
            if len(batch.circuits) == 1:
                raise
            return [value for at in _range(batch) for value in self._alone(batch.only([at]), error)]
        share = (time.perf_counter() - started) / len(batch.circuits)
        return [self._result(value, job, share) for value in programs.read(raw)]

    def _alone(self, batch: CircuitBatch, error: Exception) -> list[Any]:
        """One circuit of a job that failed: the others are not to blame for it."""
        if isinstance(error, TimeoutError):
            return [error]
        try:
            return self._run_here(batch)
        except Exception as own:  # noqa: BLE001  # it becomes the circuit's result
            return [own]

    def _result(self, value: Any, job: str, seconds: float) -> Any:
        if isinstance(value, Exception):
            return value
        return CircuitResult(
            value=value,
            execution_time=seconds,
            device=self.device,
            backend=self._local.name,
            job_id=job,
        )

    def _make_local(self) -> LocalBackend:
        try:
            from qcov.qexecutors.qiskit_local import LocalBackend
        except ImportError as error:
            reason = f"{error.name} is not installed: pip install 'qcov[qiskit]'"
            raise CircuitError(reason, executor=self.name) from error
        options = self._primitive_options
        return LocalBackend(
            local_name(self.backend),
            level=self._level,
            passes=options.passes,
            simulator={name: one for name, one in self._simulator.items() if name != _SEED},
            executor=self.name,
        )

    @property
    def _primitive_options(self) -> PrimitiveOptions:
        return read_options(self.options, self.name)

    @property
    def _simulator(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self._primitive_options.sampler.get("simulator", {}))

    @property
    def _seed(self) -> int | None:
        return self._simulator.get(_SEED) if self.seed is None else self.seed

    @property
    def _level(self) -> int:
        told = (self.optimization_level, self._primitive_options.optimization_level)
        return next((level for level in told if level is not None), _BEST)

    def _with_shots(self, batch: CircuitBatch) -> CircuitBatch:
        """The batch, with this executor's shots where a circuit has none."""
        if not self.shots or all(circuit.shots for circuit in batch.circuits):
            return batch
        circuits = [
            one if one.shots else adapter.with_shots(one, self.shots) for one in batch.circuits
        ]
        return CircuitBatch(
            circuits=tuple(circuits),
            wires=batch.wires,
            mcm_method=batch.mcm_method,
            postselect_mode=batch.postselect_mode,
        )

    def _check_backend(self) -> None:
        name = (self.backend or "").lower()
        if name in RETIRED_SIMULATORS:
            warnings.warn(
                f"{self.name}: IBM has switched {self.backend!r} off. Circuits run on the Aer "
                "simulator of this machine; say backend='aer_simulator'.",
                stacklevel=frames_of_ours(),
            )
        elif self.device == "local_sampler" and name.startswith("ibm"):
            fake = f"fake_{name.partition('_')[2]}"
            why = "is retired" if is_retired(name) else "is a machine of IBM's"
            reason = f"{why}, and 'local_sampler' runs on this one. {fake!r} may have its noise"
            raise InvalidSetting(
                executor=self.name, setting=f"backend={self.backend!r}", reason=reason
            )
        elif self.device == "local_sampler" and local_name(self.backend) == self.backend:
            _ = self._local  # which knows the names of fake backends


_SEED = "seed_simulator"
_LEVELS = "a whole number from 0 to 3"
_PACKAGES = ("pennylane", "qiskit", "qiskit-aer", "qiskit-ibm-runtime")


def _range(batch: CircuitBatch) -> range:
    return range(len(batch.circuits))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _seconds_of(value: object) -> float | None:
    """A duration in seconds, from a number or from text such as "1h 30m 5s"."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds

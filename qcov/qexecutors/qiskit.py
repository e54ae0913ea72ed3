"""`QiskitExecutor` runs circuits on Qiskit's primitives: on this machine, or at IBM Quantum."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field, PrivateAttr, field_validator

from qcov.errors import CircuitError, InvalidSetting, suggest
from qcov.job_entries import JobEntry
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import BaseQExecutor, Circuit, CircuitBatch, whole
from qcov.qexecutors.callers import frames_of_ours
from qcov.qexecutors.capabilities import Capabilities
from qcov.qexecutors.ibm_errors import as_ours
from qcov.qexecutors.ibm_executor import (
    LEAST_BUSY,
    IBMExecutor,
    earlier_backend,
    in_order,
    in_parts,
)
from qcov.qexecutors.job_run import JobRun
from qcov.qexecutors.provider import Provider, Translation
from qcov.qexecutors.qiskit_names import RETIRED_SIMULATORS, is_retired, local_name
from qcov.qexecutors.qiskit_options import PrimitiveOptions, read_options
from qcov.qexecutors.qiskit_runs import LocalRun
from qcov.qexecutors.qiskit_state import LocalState

if TYPE_CHECKING:
    from qcov.qexecutors.ibm_provider import IBMProvider
    from qcov.qexecutors.qiskit_local import LocalBackend

Device = Literal["local_sampler", "sampler"]

_DEVICES = ("local_sampler", "sampler")
#: Settings that what stands was made from.
_OF_WHAT_RUNS = frozenset({"device", "backend", "channel", "options", "optimization_level", "seed"})
_DURATION = re.compile(r"(?:(\d+)h)?\s*(?:(\d+)m)?\s*(?:(\d+)s?)?")
_BEST = 3  #: Covalent's level of optimisation


class QiskitExecutor(IBMExecutor):
    """Runs circuits on Qiskit's sampler, a whole batch in one job.

    Args:
        device: "local_sampler" runs on this machine, without noise or with a fake backend's;
            "sampler" at IBM Quantum.
        backend: For "local_sampler": "aer_simulator" (the default), "statevector", or a fake
            backend such as "fake_manila". For "sampler": the name of one of IBM's, or "least_busy",
            the default.
        shots: A number overrides the QNode's own; 0 takes those.
        single_job: Whether a batch is one job; otherwise each circuit is one.
        optimization_level: Of transpilation to the backend, from 0 to 3; circuits for simulators
            without noise are left as they are.
        local_transpile: Circuits are always transpiled here, for backends take no others.
        max_time: Seconds that a job may run, on the QPU if there is one; or text such as "1h 30m".
        seed: Of the samplers on this machine; each job draws further numbers.
        options: Of the primitives and the pass manager; those of Covalent's time are understood.
            With a `resilience_level` above 0, expectation values are left to `EstimatorV2`.

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
    def _is_a_limit(cls, value: object) -> float | None:
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
        if self.runs_here:
            alone = [batch.only([at]) for at in range(len(batch.circuits))]
            parts = [batch] if self.single_job else alone
            return [value for part in parts for value in self._local_run.results(part)]
        estimated = self._estimated(batch)
        ran = [(numbers, self._run_there(part)) for numbers, part in in_parts(batch, estimated)]
        return in_order(ran, len(batch.circuits))

    @property
    def runs_here(self) -> bool:
        """Whether circuits run on this machine."""
        gone = (self.backend or "").lower() in RETIRED_SIMULATORS
        return self.device == "local_sampler" or self.channel == "local" or gone

    @property
    def capabilities(self) -> Capabilities:
        """Shots are needed; a fake backend has as many wires as the real one."""
        return Capabilities(analytic=False, wires=self._local.qubits if self.runs_here else None)

    def refusal(self, circuit: Circuit) -> str | None:
        """Why the backend cannot run `circuit`; None if it can."""
        batch = self._with_shots(CircuitBatch(circuits=(circuit,)))
        if self.runs_here:
            return self._local_run.refusal(batch)
        return self._ibm.refusal(batch)

    def cache_key(self) -> object | None:
        """The backend, how circuits are fitted to it, and the versions of what runs them."""
        backend = local_name(self.backend) if self.runs_here else self.backend
        settings = (self.device, backend, self._level, self.options, self.seed)
        return (*settings, tuple(map(_version, _PACKAGES)))

    # -- at IBM Quantum ----------------------------------------------------------------------

    @property
    def watched_limit(self) -> float | None:
        """The time limit here; jobs at IBM Quantum are cancelled at theirs."""
        return self.time_limit if self.runs_here else super().watched_limit

    @property
    def device_name(self) -> str | None:
        """The backend."""
        return self._local.name if self.runs_here else super().device_name

    @property
    def prices(self) -> str | None:
        """Where the price of a second at IBM Quantum is from; nothing here."""
        return None if self.runs_here else super().prices

    def queue_depth(self) -> int | None:
        """How many jobs wait for the backend; nobody waits for this machine."""
        return 0 if self.runs_here else super().queue_depth()

    def estimate_batch(self, batch: CircuitBatch) -> list[dict[str, float]]:
        """What the jobs of a batch would cost at most."""
        if self.runs_here:
            return BaseQExecutor.estimate_batch(self, batch)
        return super().estimate_batch(self._with_shots(batch))

    def estimate_cost(self, circuit: Circuit) -> float | None:
        """Nothing here, and the price of IBM's plan there; None if no table has it."""
        return 0.0 if self.runs_here else super().estimate_cost(circuit)

    def _connect(self) -> IBMProvider:
        try:
            from qcov.qexecutors.ibm_backends import JobSettings
            from qcov.qexecutors.ibm_provider import IBMProvider
        except ImportError as error:
            raise self._not_installed(error) from error
        settings = JobSettings(
            executor=self.name,
            options=self._primitive_options,
            level=self._level,
            together=self.single_job,
            most_jobs=self._most_jobs,
            max_time=self.max_time,
        )
        backend = None if self.backend in LEAST_BUSY else self.backend
        return IBMProvider(self._account(), backend, settings, earlier_backend)

    @property
    def _ibm(self) -> IBMProvider:
        return cast("IBMProvider", self.provider)

    @property
    def _most_jobs(self) -> int | None:
        """How many jobs may wait at IBM Quantum at once; None for what it takes."""
        return None

    def _run_there(self, batch: CircuitBatch) -> Sequence[Any]:
        with self._ibm.capped(capped=bool(self.terms(batch).budgets)):
            try:
                results = super().run_batch(batch)
            except Exception as error:
                raise as_ours(error, self.name) from error
            share = self._ibm.transpiling / len(batch.circuits)
        return [self._with_transpiling(self._with_own_error(one), share) for one in results]

    def _with_own_error(self, result: Any) -> Any:
        value = result.value
        if not isinstance(value, Exception):
            return result
        return replace(result, value=as_ours(value, self.name))

    def _with_transpiling(self, result: Any, seconds: float) -> Any:
        """A result that tells its share of the time in which the batch was transpiled."""
        timing = {**result.metadata.get("timing", {}), "transpile": seconds}
        return replace(result, metadata={**result.metadata, "timing": timing})

    def _estimated(self, batch: CircuitBatch) -> list[bool]:
        """For each circuit, whether an estimator runs it: a job has circuits for one primitive."""
        from qcov.qexecutors.qiskit_programs import estimable

        if not self._primitive_options.resilience_level:
            return [False] * len(batch.circuits)
        found = [estimable(circuit) for circuit in batch.circuits]
        if not all(found):
            warnings.warn(
                f"{self.name}: resilience_level is EstimatorV2's, which gives expectation values "
                "of sums of Pauli words. Circuits that measure anything else run without it.",
                stacklevel=frames_of_ours(),
            )
        return found

    def _job_run(
        self,
        provider: Provider,
        translation: Translation,
        batch: CircuitBatch,
        again: JobEntry | None,
    ) -> JobRun:
        # What is kept of the run must find its jobs again, whichever backend is least busy then.
        pinned = self.model_copy(update={"backend": provider.device})
        return super(QiskitExecutor, pinned)._job_run(provider, translation, batch, again)

    # -- on this machine ---------------------------------------------------------------------

    @property
    def _local(self) -> LocalBackend:
        return self._state.backend(self._make_local)

    @property
    def _local_run(self) -> LocalRun:
        return LocalRun(
            executor=self.name,
            device=self.device,
            backend=self._local,
            next_seed=lambda: self._state.next_seed(self._seed),
            seconds=self.max_time,
        )

    def _make_local(self) -> LocalBackend:
        try:
            from qcov.qexecutors.qiskit_local import LocalBackend
        except ImportError as error:
            raise self._not_installed(error) from error
        return LocalBackend(
            local_name(self.backend),
            level=self._level,
            passes=self._primitive_options.passes,
            simulator={name: one for name, one in self._simulator.items() if name != _SEED},
            executor=self.name,
        )

    def _not_installed(self, error: ImportError) -> CircuitError:
        reason = f"{error.name} is not installed: pip install 'qcov[qiskit]'"
        return CircuitError(reason, executor=self.name)

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
        return replace(batch, circuits=tuple(circuits))

    def _check_backend(self) -> None:
        name = (self.backend or "").lower()
        if name in RETIRED_SIMULATORS:
            warnings.warn(
                f"{self.name}: IBM has switched {self.backend!r} off. Circuits run on the Aer "
                "simulator of this machine; say backend='aer_simulator'.",
                stacklevel=frames_of_ours(),
            )
        elif self.runs_here and name.startswith("ibm"):
            fake = f"fake_{name.partition('_')[2]}"
            why = "is retired" if is_retired(name) else "is a machine of IBM's"
            reason = f"{why}, and 'local_sampler' runs on this one. {fake!r} may have its noise"
            raise InvalidSetting(
                executor=self.name, setting=f"backend={self.backend!r}", reason=reason
            )
        elif self.runs_here and local_name(self.backend) == self.backend:
            _ = self._local  # which knows the names of fake backends


_SEED = "seed_simulator"
_LEVELS = "a whole number from 0 to 3"
_PACKAGES = ("pennylane", "qiskit", "qiskit-aer", "qiskit-ibm-runtime")


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

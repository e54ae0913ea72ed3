"""Every error that qcov raises.

QcovError
├── ConfigError                 a setting is unknown or has a wrong value
├── TransportError
│   ├── SerializationError      an object cannot be pickled
│   ├── IntegrityError          a blob is not what was stored
│   └── VersionMismatch         a blob was made by an incompatible Python or qcov
├── StoreError
│   ├── StoreUnavailable        the data folder cannot be used
│   ├── CacheUnavailable        the file of a circuit cache cannot be used
│   ├── SchemaMismatch          the database was made by a newer qcov
│   ├── DispatchNotFound        no dispatch has this id
│   ├── NodeNotFound            the dispatch has no node with this number
│   ├── CircuitNotFound         the dispatch has no circuit with this id
│   └── TriggerNotFound         no trigger has this id
├── WorkflowError
│   ├── NotALattice             something else was dispatched
│   ├── ElectronMisuse          an electron was used as if it had a value already
│   ├── WrongArguments          an electron was called with arguments that it does not take
│   ├── KeyTaken                another dispatch has this idempotency key
│   ├── InvalidExecutor         not an executor, or one that nobody knows
│   ├── WrongSetting            an electron cannot have this setting's value
│   ├── DependencyFailed        what an electron needs could not be provided
│   ├── LeptonFailed            code in another language could not be loaded, or has failed
│   ├── TransferFailed          a file could not be brought to where it was to go
│   ├── DispatchFailed          the dispatch has no result to give
│   └── StillRunning            the dispatch has not ended in the time that was given
├── EngineError
│   ├── EngineUnavailable       the engine cannot be reached or started
│   │   ├── EngineStopped       it was stopped while it was asked for something
│   │   └── ConnectionLost      it went away in the middle of a request
│   ├── EnvironmentMismatch     the engine cannot run this program's code
│   ├── PortInUse               the server's port belongs to somebody else
│   ├── InvalidRequest          the server was asked for something that it does not understand
│   ├── AccessRefused           the server does not know who asks, or does not answer to them
│   ├── ServerBusy              the server serves as many as it can
│   ├── LeaseLost               another engine runs the dispatch now
│   ├── StateError              a transition that the state machine does not allow
│   ├── DeletionRefused         the dispatch runs, or is needed
│   ├── TriggerFailed           a trigger cannot watch, or does no more
│   ├── ClusterUnavailable      a Dask cluster cannot be reached, or does not fit
│   ├── WorkerLost              a worker process died while an electron ran
│   ├── MemoryLimitExceeded     an electron took its Dask worker over its limit of memory
│   └── TimeLimitExceeded       an electron ran longer than it may
└── QuantumError
    ├── NotAQNode               `qelectron` was given something else
    ├── NotAQElectron           `map` was given something else
    ├── InvalidQExecutor        not a quantum executor
    ├── InvalidSetting          an executor has no such setting, or not with this value
    ├── UnknownDevice           no simulator device has this name
    ├── SelectorError           a selector chose none of its executors
    │   └── NoExecutorFits      a filter leaves no executor for a circuit
    ├── UnsupportedInterface    an interface that PennyLane itself no longer supports
    ├── NotAFuture              `gather` or `as_completed` was given something else
    ├── StaleFuture             a future was asked after the derivative that it belongs to
    ├── CannotMeasure           a benchmark cannot be run as it was asked for
    ├── CredentialMissing       something secret is not where it was said to be
    ├── JobNotFound             no job has this id
    └── CircuitError            an executor could not run a circuit
        ├── CircuitRejected     the backend refused it; trying again will not help
        │   └── JobLost         its job may run, or have run, but cannot be reached
        │       └── UnknownSubmission   whether there is a job cannot be known
        ├── TransientFailure    it may work when it is tried again
        ├── QuotaExceeded       the provider takes no more from this account
        │   └── BudgetExceeded  it would cost more than is left of a budget
        └── ExecutorOffline     the executor cannot be reached
            └── CircuitTimedOut it gave no answer within its time limit

Errors carry what they are about as attributes, survive pickling, and chain their cause.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class QcovError(Exception):
    """The root of the tree: catch it to catch all that qcov raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors take keywords, so the default `type(*args)` cannot rebuild an error.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[QcovError], args: tuple[Any, ...], state: dict[str, Any]) -> QcovError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def error_class(name: str) -> type[QcovError]:
    """The class of this tree with that name; `EngineError` for one that is not known here."""
    found = globals().get(name)
    if isinstance(found, type) and issubclass(found, QcovError):
        return found
    return EngineError


def suggest(name: str, known: Iterable[str]) -> str:
    """Say which of the `known` names was probably meant, and list them all.

    >>> suggest("lihgtning.qubit", ["default.qubit", "lightning.qubit"])
    "Did you mean 'lightning.qubit'? Known: default.qubit, lightning.qubit."
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(names)}."


# -- configuration -----------------------------------------------------------------------------


class ConfigError(QcovError):
    """A setting is unknown or has a wrong value."""

    def __init__(self, *, key: str, reason: str, source: str, line: int | None = None) -> None:
        where = f"{source}, line {line}" if line else source
        super().__init__(f"{where}: {key!r} {reason}")
        self.key, self.reason, self.source, self.line = key, reason, source, line


# -- transport ---------------------------------------------------------------------------------


class TransportError(QcovError):
    """An object could not travel between processes."""


class SerializationError(TransportError):
    """An object cannot be pickled."""

    def __init__(self, *, what: str, reason: str) -> None:
        super().__init__(
            f"{what} cannot be sent to another process: {reason}. "
            "Build it inside the electron instead, or pass what it is built from."
        )
        self.what, self.reason = what, reason


class IntegrityError(TransportError):
    """A blob is not what was stored: it was damaged, altered, or comes from elsewhere."""

    def __init__(self, *, blob: str, reason: str) -> None:
        super().__init__(
            f"blob {blob} was refused: {reason}. Nothing of it was loaded; "
            "restore the data folder from a copy, or dispatch again."
        )
        self.blob, self.reason = blob, reason


class VersionMismatch(TransportError):
    """A blob was made by an incompatible Python or qcov."""

    def __init__(self, *, what: str, made_by: str, here: str) -> None:
        super().__init__(
            f"{what} was made by {made_by}, but this is {here}. "
            "Read it with the version that made it."
        )
        self.what, self.made_by, self.here = what, made_by, here


# -- store -------------------------------------------------------------------------------------


class StoreError(QcovError):
    """Something is wrong with what is stored."""


class StoreUnavailable(StoreError):
    """The data folder, or the database or object store that stands for it, cannot be used."""

    def __init__(self, *, path: str, reason: str, advice: str) -> None:
        scheme, separator, _ = path.partition("://")
        what = "object store" if separator else "data folder"
        if scheme.startswith("postgres"):
            what = "database"
        super().__init__(f"the {what} {path} cannot be used: {reason}. {advice}")
        self.path, self.reason, self.advice = path, reason, advice


class CacheUnavailable(StoreError):
    """The file of a circuit cache cannot be used."""

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(
            f"the circuit cache {path} cannot be used: {reason}. "
            "Delete the file if it is a damaged cache, or give CircuitCache another path."
        )
        self.path, self.reason = path, reason


class SchemaMismatch(StoreError):
    """The database was made by a newer qcov."""

    def __init__(self, *, path: str, found: str, known: str) -> None:
        super().__init__(
            f"{path} has schema {found}, this qcov knows {known}. "
            "Upgrade qcov, or point QCOV_DATA_DIR at another folder."
        )
        self.path, self.found, self.known = path, found, known


class DispatchNotFound(StoreError):
    """No dispatch has this id."""

    def __init__(self, *, dispatch_id: str, where: str) -> None:
        super().__init__(
            f"no dispatch {dispatch_id!r} in {where}. `qcov ls` lists the ones that exist."
        )
        self.dispatch_id, self.where = dispatch_id, where


class NodeNotFound(StoreError, LookupError):
    """A dispatch has no node with this number."""

    def __init__(self, *, dispatch_id: str, node_id: int) -> None:
        super().__init__(
            f"dispatch {dispatch_id} has no node {node_id}. `qcov show {dispatch_id}` lists them."
        )
        self.dispatch_id, self.node_id = dispatch_id, node_id


class CircuitNotFound(StoreError, LookupError):
    """A dispatch has no circuit with this id."""

    def __init__(self, *, dispatch_id: str, circuit_id: str) -> None:
        super().__init__(
            f"dispatch {dispatch_id} has no circuit {circuit_id!r}. Its page of circuits lists "
            "them; those of a sublattice are on the sublattice's."
        )
        self.dispatch_id, self.circuit_id = dispatch_id, circuit_id


class TriggerNotFound(StoreError, LookupError):
    """No trigger has this id."""

    def __init__(self, *, trigger_id: str, where: str) -> None:
        super().__init__(
            f"no trigger {trigger_id!r} in {where}. `qcov triggers` lists the ones that exist."
        )
        self.trigger_id, self.where = trigger_id, where


# -- workflows ---------------------------------------------------------------------------------


class WorkflowError(QcovError):
    """A workflow was written or used in a way that cannot work."""


class NotALattice(WorkflowError, TypeError):
    """Something else than a lattice was dispatched."""

    def __init__(self, *, got: str, advice: str) -> None:
        super().__init__(f"only a lattice can be dispatched, got {got}. {advice}")
        self.got, self.advice = got, advice


class ElectronMisuse(WorkflowError, TypeError):
    """An electron was used as if it had a value already."""

    def __init__(self, *, electron: str, use: str, advice: str) -> None:
        super().__init__(
            f"{electron!r} has no value while the lattice is built, so it cannot be {use}. {advice}"
        )
        self.electron, self.use, self.advice = electron, use, advice


class WrongArguments(WorkflowError, TypeError):
    """An electron was called with arguments that it does not take."""

    def __init__(self, *, electron: str, signature: str, reason: str) -> None:
        super().__init__(f"electron {electron!r}: {reason}. It takes {signature}.")
        self.electron, self.signature, self.reason = electron, signature, reason


class KeyTaken(WorkflowError, ValueError):
    """Another dispatch has this idempotency key."""

    def __init__(self, *, key: str, dispatch_id: str, inputs: str) -> None:
        super().__init__(
            f"dispatch {dispatch_id} has the key {key!r}, and is of another lattice or was given "
            f"other arguments: {inputs}. "
            "Make the key of what the dispatch is about, its arguments included."
        )
        self.key, self.dispatch_id, self.inputs = key, dispatch_id, inputs


class InvalidExecutor(WorkflowError, ValueError):
    """Not an executor, or one that nobody knows."""

    def __init__(self, *, got: str, advice: str) -> None:
        super().__init__(f"{got} is not an executor. {advice}")
        self.got, self.advice = got, advice


class WrongSetting(WorkflowError, ValueError):
    """An electron cannot have this setting's value."""

    def __init__(self, *, setting: str, got: str, expected: str) -> None:
        super().__init__(f"{setting} must be {expected}, not {got}.")
        self.setting, self.got, self.expected = setting, got, expected


class DependencyFailed(WorkflowError):
    """What an electron needs could not be provided where it was to run."""

    def __init__(self, *, what: str, reason: str, advice: str) -> None:
        super().__init__(f"{what}: {reason}. {advice}")
        self.what, self.reason, self.advice = what, reason, advice


class LeptonFailed(WorkflowError):
    """The code of a lepton could not be loaded, or has failed."""

    def __init__(self, *, lepton: str, reason: str, advice: str) -> None:
        super().__init__(f"lepton {lepton!r} failed: {reason}. {advice}")
        self.lepton, self.reason, self.advice = lepton, reason, advice


class TransferFailed(WorkflowError):
    """A file or a folder could not be brought to where it was to go."""

    def __init__(self, *, source: str, destination: str, reason: str) -> None:
        super().__init__(
            f"{source} could not be transferred to {destination}: {reason}. "
            "Correct the paths or the strategy; for what may work later, give the electron retries."
        )
        self.source, self.destination, self.reason = source, destination, reason


class DispatchFailed(WorkflowError):
    """The dispatch has no result to give."""

    def __init__(self, *, dispatch_id: str, status: str, error: str | None) -> None:
        super().__init__(f"dispatch {dispatch_id} is {status}: {error or 'no error was recorded'}")
        self.dispatch_id, self.status, self.error = dispatch_id, status, error


class StillRunning(WorkflowError, TimeoutError):
    """The dispatch has not ended in the time that was given."""

    def __init__(self, *, dispatch_id: str, status: str, seconds: float) -> None:
        super().__init__(
            f"dispatch {dispatch_id} is still {status} after {seconds:g} s. "
            + (
                "It was only stored: qcov.redispatch(..., is_pending=True) starts it."
                if status == "NEW_OBJECT"
                else "It goes on: ask again, wait longer, or cancel it with qcov.cancel."
            )
        )
        self.dispatch_id, self.status, self.seconds = dispatch_id, status, seconds


# -- engine ------------------------------------------------------------------------------------


class EngineError(QcovError):
    """The engine could not do what was asked."""


class EngineUnavailable(EngineError):
    """The engine cannot be reached or started."""

    def __init__(self, *, address: str, reason: str, advice: str = "") -> None:
        super().__init__(f"no engine at {address}: {reason}. {advice}".rstrip())
        self.address, self.reason, self.advice = address, reason, advice


class EngineStopped(EngineUnavailable):
    """The engine was told to stop while it was asked for something."""

    def __init__(self, *, address: str) -> None:
        super().__init__(
            address=address,
            reason="it was stopped",
            advice="What runs goes on when it is started again: ask again then.",
        )


class ConnectionLost(EngineUnavailable):
    """The engine went away in the middle of a request, again and again."""


class EnvironmentMismatch(EngineError):
    """The engine cannot run this program's code."""

    def __init__(self, *, reason: str, advice: str) -> None:
        super().__init__(f"the engine cannot run this dispatch: {reason}. {advice}")
        self.reason, self.advice = reason, advice


class PortInUse(EngineError):
    """The server's port belongs to somebody else."""

    def __init__(self, *, host: str, port: int) -> None:
        super().__init__(
            f"port {port} on {host} is in use by another program. "
            f"Choose another one: `qcov start --port {port + 1}`."
        )
        self.host, self.port = host, port


class InvalidRequest(EngineError, ValueError):
    """The server was asked for something that it does not understand."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"the server cannot understand the request: {reason}")
        self.reason = reason


class AccessRefused(EngineError):
    """The server does not know who asks, or does not answer to them."""

    def __init__(self, *, reason: str, advice: str) -> None:
        super().__init__(f"the server refused the request: {reason}. {advice}")
        self.reason, self.advice = reason, advice


class ServerBusy(EngineError):
    """The server serves as many as it can."""

    def __init__(self, *, what: str, limit: int) -> None:
        super().__init__(f"{limit} {what}, and the server takes no more. Try again soon.")
        self.what, self.limit = what, limit


class LeaseLost(EngineError):
    """Another engine has taken the dispatch over, since this one did not answer for too long."""

    def __init__(self, *, dispatches: Iterable[str]) -> None:
        self.dispatches = tuple(sorted(dispatches))
        super().__init__(
            f"another engine runs dispatch {', '.join(self.dispatches)} now: this one was silent "
            "for longer than its lease. Ask again; nothing that was acknowledged is lost."
        )


class StateError(EngineError):
    """A transition that the state machine does not allow."""

    def __init__(self, *, what: str, status: str, event: str) -> None:
        super().__init__(f"{what} is {status}; {event} was ignored.")
        self.what, self.status, self.event = what, status, event


class DeletionRefused(EngineError):
    """A dispatch cannot be deleted now."""

    def __init__(self, *, dispatch_id: str, reason: str, advice: str) -> None:
        super().__init__(f"dispatch {dispatch_id} {reason}, so it was not deleted. {advice}")
        self.dispatch_id, self.reason, self.advice = dispatch_id, reason, advice


class TriggerFailed(EngineError):
    """A trigger has ended as soon as it was to watch, or fires although it was stopped."""

    def __init__(self, *, trigger: str, reason: str) -> None:
        super().__init__(f"the trigger {trigger} has ended: {reason}")
        self.trigger, self.reason = trigger, reason


class ClusterUnavailable(EngineError):
    """A Dask cluster cannot be reached, or its workers cannot run the electrons of this program."""

    def __init__(self, *, address: str, reason: str, advice: str) -> None:
        which = f"the Dask cluster at {address}" if address else "a Dask cluster"
        super().__init__(f"{which} cannot be used: {reason}. {advice}")
        self.address, self.reason, self.advice = address, reason, advice


class WorkerLost(EngineError):
    """A worker process died while an electron ran."""

    def __init__(self, *, electron: str, reason: str) -> None:
        super().__init__(
            f"the process that ran {electron!r} died: {reason}. Only this electron failed; "
            "give it retries=1 if it is safe to run twice."
        )
        self.electron, self.reason = electron, reason


class TimeLimitExceeded(EngineError):
    """An electron ran longer than it may."""

    def __init__(self, *, electron: str, seconds: float) -> None:
        super().__init__(
            f"{electron!r} was stopped after its time limit of {seconds:g} s. "
            "Raise time_limit, or give it less to do."
        )
        self.electron, self.seconds = electron, seconds


class MemoryLimitExceeded(EngineError):
    """An electron took its Dask worker over its limit of memory."""

    def __init__(self, *, electron: str, memory: int, limit: int) -> None:
        super().__init__(
            f"{electron!r} was stopped: its Dask worker took {-(-memory // 10**6)} MB with the "
            f"electrons in it, and may take {limit // 10**6} MB, 95 % of its limit. "
            "Start with a larger --mem-per-worker, or give it less to do at a time."
        )
        self.electron, self.memory, self.limit = electron, memory, limit


# -- quantum -----------------------------------------------------------------------------------


class QuantumError(QcovError):
    """A circuit or its executor could not do what was asked."""


class NotAQNode(QuantumError, TypeError):
    """`qelectron` was given something else than a QNode."""

    def __init__(self, *, got: str) -> None:
        super().__init__(
            f"a qelectron is made of a PennyLane QNode, got {got}. "
            "Put @ct.qelectron above @qml.qnode(device)."
        )
        self.got = got


class NotAQElectron(QuantumError, TypeError):
    """`map` was given something else than an electron or a qelectron."""

    def __init__(self, *, got: str) -> None:
        super().__init__(
            f"map calls an electron or a qelectron, got {got}. Put @ct.electron above a function, "
            "or @ct.qelectron above its @qml.qnode(device)."
        )
        self.got = got


class InvalidQExecutor(QuantumError, ValueError):
    """Not a quantum executor, or one with settings that do not exist."""

    def __init__(self, *, got: str, advice: str) -> None:
        super().__init__(f"{got} is not a quantum executor. {advice}")
        self.got, self.advice = got, advice


class InvalidSetting(QuantumError, ValueError):
    """A quantum executor has no such setting, or not with this value."""

    def __init__(self, *, executor: str, setting: str, reason: str) -> None:
        super().__init__(f"{executor}: {setting} {reason}")
        self.executor, self.setting, self.reason = executor, setting, reason


class UnknownDevice(QuantumError, ValueError):
    """No simulator device has this name."""

    def __init__(self, *, device: str, known: Iterable[str]) -> None:
        self.device, self.known = device, tuple(sorted(known))
        super().__init__(f"no PennyLane device is called {device!r}. {suggest(device, self.known)}")


class SelectorError(QuantumError, ValueError):
    """A selector is unknown, or chose none of its cluster's executors."""

    def __init__(self, *, selector: str, reason: str) -> None:
        super().__init__(f"selector {selector} {reason}")
        self.selector, self.reason = selector, reason


class NoExecutorFits(SelectorError):
    """A filter leaves no executor for a circuit."""

    def __init__(self, *, selector: str, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(
            selector=selector,
            reason=f"leaves no executor for the circuit: {'; '.join(self.reasons)}.",
        )


class UnsupportedInterface(QuantumError, ValueError):
    """An interface that PennyLane itself no longer supports, or that circuits cannot use here."""

    def __init__(self, *, interface: str, reason: str) -> None:
        super().__init__(f"interface {interface!r} cannot be used: {reason}")
        self.interface, self.reason = interface, reason


class CircuitError(QuantumError):
    """An executor could not run a circuit.

    Executors of one's own raise it, or one of those below it, with a plain message.

    >>> str(TransientFailure("the provider restarts"))
    'the executor could not run the circuit: the provider restarts'
    """

    def __init__(
        self, reason: object = "it did not say why", *, executor: str = "the executor"
    ) -> None:
        super().__init__(f"{executor} could not run the circuit: {reason}")
        self.executor, self.reason = executor, str(reason)


class CircuitRejected(CircuitError):
    """The backend refused the circuit; trying again will not help."""


class TransientFailure(CircuitError):
    """The circuit may work when it is tried again."""


class QuotaExceeded(CircuitError):
    """The provider takes no more circuits from this account."""


class ExecutorOffline(CircuitError):
    """The executor cannot be reached, or was left alone after failures in a row."""


class CircuitTimedOut(ExecutorOffline, TimeoutError):
    """The executor gave no answer within its time limit."""

    def __init__(self, *, executor: str, seconds: float) -> None:
        super().__init__(
            executor=executor,
            reason=f"it gave no answer within its time limit of {seconds:g} s. Raise time_limit, "
            "or add an executor that is faster",
        )
        self.seconds = seconds


class NotAFuture(QuantumError, TypeError):
    """`gather` or `as_completed` was given something else than futures."""

    def __init__(self, *, verb: str, got: str) -> None:
        super().__init__(f"{verb} waits for futures, as run_later gives them; got {got}.")
        self.verb, self.got = verb, got


class StaleFuture(QuantumError):
    """A future was asked after the derivative that it belongs to."""

    def __init__(self, *, qelectron: str) -> None:
        super().__init__(
            f"the future of {qelectron!r} was made inside a function that was being differentiated "
            "or compiled, and has a value only there. Ask for its result before that function "
            "returns."
        )
        self.qelectron = qelectron


class CannotMeasure(QuantumError, ValueError):
    """A benchmark cannot be run as it was asked for."""

    def __init__(self, *, what: str, reason: str, advice: str) -> None:
        super().__init__(f"{what}: {reason.rstrip('.')}. {advice}".rstrip())
        self.what, self.reason, self.advice = what, reason, advice


class CredentialMissing(QuantumError):
    """Something secret is not where it was said to be."""

    def __init__(self, *, source: str, reason: str) -> None:
        super().__init__(f"there is no credential at {source}: {reason}.")
        self.source, self.reason = source, reason


class JobNotFound(QuantumError, LookupError):
    """No job that qcov knows has this id."""

    def __init__(self, *, job: str) -> None:
        super().__init__(
            f"no job is known as {job!r}, or more than one begins so. `qcov jobs` lists them, "
            "`qcov jobs --dispatch ID` those of a dispatch."
        )
        self.job = job


class BudgetExceeded(QuotaExceeded):
    """A job would cost more than is left of a budget; it was not submitted."""

    def __init__(self, *, executor: str, budget: str, needs: str, left: str) -> None:
        super().__init__(
            executor=executor,
            reason=f"it needs {needs}, but of {budget} only {left} is left. Raise the budget, or "
            "ask for fewer shots or circuits",
        )
        self.budget, self.needs, self.left = budget, needs, left


class JobLost(CircuitRejected):
    """A job may run, or have run, but cannot be reached now; it was not submitted again."""

    def __init__(self, *, executor: str, job: str, reason: str) -> None:
        super().__init__(
            executor=executor,
            reason=f"its job {job} cannot be reached ({reason}). It may still run and be charged. "
            f"`qcov jobs attach {job}` asks for its results, `qcov jobs cancel {job}` ends it",
        )
        self.job = job


class UnknownSubmission(JobLost):
    """Whether a job was submitted cannot be known; it was not submitted again."""

    def __init__(self, *, executor: str, job: str, reason: str) -> None:
        CircuitRejected.__init__(
            self,
            executor=executor,
            reason=f"UNKNOWN_SUBMISSION: whether its job {job} was submitted cannot be known "
            f"({reason}). Look at the provider's list of jobs for the tag {job}; then say "
            f"`qcov jobs resolve {job} --job-id ID`, or `--never` if there is none, and run again",
        )
        self.job = job

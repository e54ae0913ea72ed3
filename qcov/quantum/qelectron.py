"""`@qelectron` makes a QNode whose circuits run on quantum executors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast, overload

from qcov.context import Pending
from qcov.errors import (
    ElectronMisuse,
    InvalidQExecutor,
    InvalidSetting,
    NotAQNode,
    SelectorError,
    UnsupportedInterface,
)
from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import BaseQExecutor, CircuitBatch
from qcov.qexecutors.callers import frames_of_ours
from qcov.qexecutors.simulator import Simulator
from qcov.quantum import pennylane_qnode, router
from qcov.quantum.cache import CircuitCache, as_cache
from qcov.quantum.cluster import QCluster
from qcov.quantum.device import QElectronDevice
from qcov.quantum.estimate import Estimate, estimate
from qcov.quantum.futures import CircuitFuture, afterwards
from qcov.quantum.pennylane_values import with_own_arrays
from qcov.quantum.recording import Caller
from qcov.quantum.selection import Selector
from qcov.quantum.selectors import check_selector
from qcov.quantum.tickets import Request, Ticket
from qcov.quantum.waiting import WaitingCalls, fulfil
from qcov.records import CircuitRecord

Executors = BaseQExecutor | Sequence[BaseQExecutor] | None

_DEFAULT_SELECTOR = "cyclic"
_TENSORFLOW = ("tf", "tf-autograph", "tensorflow", "tensorflow-autograph")


class QElectron(pennylane_qnode.BatchQNode):
    """A QNode whose circuits run on quantum executors; made by `qelectron`.

    It is called like the QNode and gives the same values and derivatives. `run_later` gives
    futures instead. Transforms, `qml.draw`, `qml.specs`, `qml.set_shots`, `qml.Tracker` and
    optimisers take it for the QNode that it is. Threads may share it.

    Attributes:
        original_qnode: The QNode that was decorated, untouched.
        history: Records of the circuits that ran last.
    """

    def __init__(
        self,
        qnode: Any,
        executor: BaseQExecutor,
        name: str | None,
        description: str | None,
        cache: CircuitCache | None = None,
        *,
        by_default: bool = False,
    ) -> None:
        described = qnode.func.__doc__ if description is None else description
        caller = Caller(qelectron=name or _name(qnode.func), description=described, cache=cache)
        own = qnode.device.original if isinstance(qnode, QElectron) else qnode.device
        super().__init__(qnode, QElectronDevice(own, executor, caller))
        self.original_qnode = qnode
        self._by_default = by_default  #: nobody chose the executor: it is the device's own
        self._waiting = WaitingCalls()

    @property
    def name(self) -> str:
        """The name by which records know this qelectron."""
        return self._caller.qelectron

    @property
    def description(self) -> str | None:
        """What it is for."""
        return self._caller.description

    @property
    def history(self) -> list[CircuitRecord]:
        """Records of the circuits that ran last, oldest first; at most 1,000."""
        return [run.to_record() for run in tuple(self._caller.history)]

    def run_later(self, *args: Any, **kwargs: Any) -> CircuitFuture:
        """Call the circuit, get a future for its result at once.

        The circuit is built here and now, so its arguments may change afterwards. Circuits that
        wait for the same executor run as one batch. What goes wrong is raised by the future.

        Example:
            >>> import pennylane as qml
            >>> @qelectron
            ... @qml.qnode(qml.device("default.qubit", wires=1))
            ... def circuit(angle):
            ...     qml.RX(angle, wires=0)
            ...     return qml.expval(qml.Z(0))
            >>> futures = [circuit.run_later(angle) for angle in (0.0, 3.141592653589793)]
            >>> [round(float(future.result())) for future in futures]
            [1, -1]
        """
        try:
            return self._later(args, kwargs)
        except ElectronMisuse:  # it is the lattice that is wrong, and that is being built now
            raise
        except Exception as error:  # noqa: BLE001  # it belongs to whoever asks for the result
            future = CircuitFuture()
            future.set_exception(error)
            return future

    def estimate(self, *args: Any, gradient: bool = False, **kwargs: Any) -> Estimate:
        """What a call would cost; nothing runs, and nothing is submitted.

        Args:
            args: What the circuit would be called with.
            gradient: Whether its derivative is to be taken as well: by parameter-shift, or as the
                QNode says. Without arguments that are marked as trainable it is taken by all
                parameters.
            kwargs: What the circuit would be called with.

        Returns:
            A bill for each executor: of a cluster, each may have to run all circuits.

        Example:
            >>> import pennylane as qml
            >>> @qelectron
            ... @qml.qnode(qml.device("default.qubit", wires=1))
            ... def circuit(angle):
            ...     qml.RX(angle, wires=0)
            ...     return qml.expval(qml.Z(0))
            >>> circuit.estimate(0.3)
            Simulator(default.qubit): 1 circuit in 1 job, at most $0
        """
        call = self.build(args, kwargs)
        tapes = [[call.tape] if not len(call.pipeline) else list(call.pipeline((call.tape,))[0])]
        if gradient:
            tapes.append(self.shifted(call))
        requests = [
            self._device.request(
                [adapter.with_numpy_parameters(tape) for tape in own],
                self.mcm_method,
                self.postselect_mode,
            )
            for own in tapes
            if own
        ]
        return estimate([_batch_of(request) for request in requests], self._device.executor)

    def _later(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> CircuitFuture:
        call = self.build(args, kwargs)
        call = replace(call, tape=with_own_arrays(call.tape))
        if not self.is_concrete(call) or self.device.tracker.active:
            return self._waiting.add(self, call)
        circuits, post = self.circuits(call)
        future = CircuitFuture()
        if not circuits:  # a transform left none
            fulfil(future, lambda: post(()))
            return future
        request = self._device.request(circuits, self.mcm_method, self.postselect_mode)
        transformed = len(call.pipeline) > 0  # what waits must not keep the call, and its gates

        def done(ticket: Ticket) -> None:
            future.hurry = future.withdraw = None  # which would keep the circuit alive
            make = partial(fulfil, future, lambda: post(ticket.results()))
            # What a transform does with the results is the user's: it may run circuits.
            afterwards(make) if transformed else make()

        begin = future.set_running_or_notify_cancel
        ticket = router.submit(request, begin=begin, done=done)
        if not ticket.finished:
            future.hurry = partial(router.hurry, ticket)
            future.withdraw = partial(router.withdraw, ticket)
        return future

    def build(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> pennylane_qnode.Call:
        """Build the circuit of a call, in the caller's thread."""
        for value in (*args, *kwargs.values()):
            if isinstance(value, Pending):
                raise self._too_early(value.__electron__())
        try:
            return super().build(args, kwargs)
        except ElectronMisuse as error:  # it came in a list, or from outside the function
            raise self._too_early(error.electron) from error

    def shots_of_executors(self, shots: Any) -> Any:
        """The shots of a circuit: the QNode's, unless all executors set the same ones."""
        overrides = {leaf.shots for leaf in self._device.executor.leaves()}
        if len(overrides) == 1:
            return pennylane_qnode.override_shots(shots, overrides.pop())
        return shots

    def update(self, **settings: Any) -> QElectron:
        """A qelectron with other settings; takes those of `QNode.update`."""
        device = settings.get("device")
        if device is not None and not isinstance(device, QElectronDevice):
            executor = _default(device) if self._by_default else self._device.executor
            settings["device"] = QElectronDevice(device, executor, self._caller)
        new = super().update(**settings)
        new._waiting = WaitingCalls()
        return new

    def __repr__(self) -> str:
        qnode = cast("Any", self)
        settings = {
            "device": self._device.original.name,
            "interface": qnode.interface,
            "diff_method": qnode.diff_method,
            "shots": qnode.shots.total_shots,
        }
        shown = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        return f"<qelectron {self.name}: {shown}, executor={_brief(self._device.executor)}>"

    def _too_early(self, electron: str) -> ElectronMisuse:
        return ElectronMisuse(
            electron=electron,
            use=f"given to the circuit {self.name!r}, which runs at once, "
            "while the graph is being built",
            advice="Make the circuit an electron too (@ct.electron above @ct.qelectron), or call "
            "it inside an electron.",
        )

    @property
    def _device(self) -> QElectronDevice:
        return cast("QElectronDevice", self.device)

    @property
    def _caller(self) -> Caller:
        return self._device.caller

    def __copy__(self) -> QElectron:
        new = super().__copy__()
        new._waiting = WaitingCalls()
        return new

    def __getstate__(self) -> dict[str, Any]:
        portable = pennylane_qnode.portable(self.original_qnode)
        return {**super().__getstate__(), "original_qnode": portable}


@overload
def qelectron(
    qnode: Any,
    *,
    executors: Executors = None,
    name: str | None = None,
    description: str | None = None,
    selector: str | Selector = _DEFAULT_SELECTOR,
    cache: bool | CircuitCache = False,
) -> QElectron: ...
@overload
def qelectron(
    qnode: None = None,
    *,
    executors: Executors = None,
    name: str | None = None,
    description: str | None = None,
    selector: str | Selector = _DEFAULT_SELECTOR,
    cache: bool | CircuitCache = False,
) -> Callable[[Any], QElectron]: ...
def qelectron(
    qnode: Any = None,
    *,
    executors: Executors = None,
    name: str | None = None,
    description: str | None = None,
    selector: str | Selector = _DEFAULT_SELECTOR,
    cache: bool | CircuitCache = False,
) -> QElectron | Callable[[Any], QElectron]:
    """Make a QNode run its circuits on quantum executors. A decorator, or a call.

    Args:
        qnode: The PennyLane QNode.
        executors: One executor, a list of them, or a QCluster. By default a `Simulator` on the
            QNode's own device where that is a simulator, else on `default.qubit`.
        name: How records call it; by default what the quantum function is called.
        description: What it is for; by default the quantum function's docstring.
        selector: How a list of several executors chooses; see `QCluster`, which has its own.
        cache: True, or a `CircuitCache`, reuses the results of circuits that ran before.

    Raises:
        NotAQNode: `qnode` is something else; a TypeError.
        InvalidQExecutor: Something in `executors` is not an executor; a ValueError.
        SelectorError: `selector` is neither the name of one nor can it choose, or it comes along
            with a QCluster that has another one; a ValueError.
        UnsupportedInterface: The QNode wants TensorFlow; a ValueError.
        InvalidSetting: `name`, `description` or `cache` is something else; a ValueError.

    Example:
        >>> import pennylane as qml
        >>> @qelectron(executors=[Simulator(), Simulator("lightning.qubit")])
        ... @qml.qnode(qml.device("default.qubit", wires=1))
        ... def circuit(angle):
        ...     qml.RX(angle, wires=0)
        ...     return qml.expval(qml.Z(0))
        >>> [round(float(circuit(0.0))) for _ in range(2)]
        [1, 1]
        >>> [record.device for record in circuit.history]
        ['default.qubit', 'lightning.qubit']
    """
    check_selector(selector)
    _check_text(name=name, description=description)

    def decorate(qnode: Any) -> QElectron:
        _check(qnode)
        executor = _as_executor(executors, selector, qnode)
        by_default = executors is None
        return QElectron(qnode, executor, name, description, as_cache(cache), by_default=by_default)

    return decorate if qnode is None else decorate(qnode)


def _batch_of(request: Request) -> CircuitBatch:
    return CircuitBatch(
        circuits=request.circuits,
        wires=request.wires,
        mcm_method=request.mcm_method,
        postselect_mode=request.postselect_mode,
    )


def _check(qnode: Any) -> None:
    if not pennylane_qnode.is_qnode(qnode):
        raise NotAQNode(got=repr(qnode))
    if str(qnode.interface) in _TENSORFLOW:
        raise UnsupportedInterface(
            interface=str(qnode.interface),
            reason="PennyLane no longer supports TensorFlow. Use 'jax', 'torch' or 'autograd'.",
        )


def _check_text(**settings: object) -> None:
    for setting, value in settings.items():
        if not (value is None or isinstance(value, str)):
            reason = f"must be a string, not {value!r}"
            raise InvalidSetting(executor="qelectron", setting=setting, reason=reason)


def _as_executor(executors: Any, selector: str | Selector, qnode: Any) -> BaseQExecutor:
    if executors is None:
        return _default(qnode.device.original if isinstance(qnode, QElectron) else qnode.device)
    if isinstance(executors, QCluster):
        _check_no_other_selector(executors, selector)
    if isinstance(executors, BaseQExecutor):
        return executors
    if not isinstance(executors, list | tuple):
        raise InvalidQExecutor(got=repr(executors), advice=_advice(executors))
    members = list(cast("Sequence[Any]", executors))
    if not members:
        raise InvalidQExecutor(got="an empty list of executors", advice=_ADVICE)
    for member in members:
        if not isinstance(member, BaseQExecutor):
            raise InvalidQExecutor(got=repr(member), advice=_advice(member))
    if len(members) == 1 and selector == _DEFAULT_SELECTOR:
        return members[0]
    return QCluster(executors=members, selector=selector)


def _check_no_other_selector(cluster: QCluster, selector: str | Selector) -> None:
    if selector not in (_DEFAULT_SELECTOR, cluster.selector):
        raise SelectorError(
            selector=repr(selector),
            reason=f"would have no effect: the QCluster chooses with its own, "
            f"{cluster.selector!r}. Give it to the QCluster, or give a list of executors.",
        )


def _advice(wrong: object) -> str:
    if isinstance(wrong, str):
        return f"Is Simulator({wrong!r}) meant? {_ADVICE}"
    if isinstance(wrong, type):
        return f"That is the class: {wrong.__name__}() is an executor. {_ADVICE}"
    return _ADVICE


_ADVICE = "Give executors=Simulator(), a list of executors, or a QCluster."


def _default(device: Any) -> Simulator:
    if adapter.is_simulator(device):
        return Simulator.on_device(device)
    warnings.warn(
        f"the device {device.name!r} is none that qcov's Simulator can make: circuits will run on "
        "'default.qubit'. Say where with executors=...",
        stacklevel=frames_of_ours(),
    )
    return Simulator()


def _brief(executor: BaseQExecutor) -> str:
    if isinstance(executor, QCluster):
        members = ", ".join(map(_brief, executor.executors))
        return f"{executor.name}([{members}], selector={executor.selector!r})"
    device = getattr(executor, "device", None)
    return f"{executor.name}({'' if device is None else repr(device)})"


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)

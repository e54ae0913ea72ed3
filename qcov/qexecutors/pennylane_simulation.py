"""Running circuits on one PennyLane device, with as little of PennyLane around it as they allow.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import pennylane
from pennylane.devices import Device, ExecutionConfig, MCMConfig
from pennylane.tape import QuantumScript
from pennylane.workflow._setup_transform_program import _setup_transform_program
from pennylane.workflow.resolution import _resolve_execution_config

from qcov.qexecutors import pennylane_adapter as adapter
from qcov.qexecutors.base import Circuit, CircuitBatch
from qcov.qexecutors.native_threads import one_blas_thread, one_openmp_thread
from qcov.qexecutors.pennylane_broadcast import Broadcast
from qcov.qexecutors.pennylane_compact import Template, structure_of, values_of
from qcov.qexecutors.pennylane_lightning_program import LightningProgram
from qcov.qexecutors.pennylane_structure import Structure

qml: Any = pennylane

_MAX_PLANS = 512
#: Below this Lightning's own threads never made a circuit faster, and often slower.
_THREADS_PAY_FROM = 18  # wires


@dataclass(slots=True, kw_only=True)
class _Plan:
    """How circuits of one structure run on one device."""

    structure: Structure | None  #: of the circuits that ran last, so that the next ones find it
    config: ExecutionConfig
    pipeline: Any  #: the device's preprocessing; None where it changes nothing
    template: Template | None = None  #: for analytic circuits that need no preprocessing
    together: Broadcast | LightningProgram | None = None  #: runs several of them, where that pays


class Simulation:
    """A device that belongs to one thread, and what was learnt of the circuits it ran.

    PennyLane resolves the same configuration and rewrites the same circuit again on every call.
    Here that is done once for each structure that is made of plain gates and observables only.
    """

    def __init__(self, device: Device) -> None:
        self.device: Any = device
        self._plans: dict[Hashable, _Plan] = {}
        self._computes_with_numpy = device.name == "default.qubit"
        self._is_lightning = device.name == "lightning.qubit"
        #: Where a device with a seed draws its numbers.
        self._random: Any = getattr(getattr(device, "_rng", None), "bit_generator", None)

    def run(self, batch: CircuitBatch) -> list[Any]:
        """Run circuits; an exception stands where one failed."""
        if not batch.circuits:
            return []
        with self.threads_for(batch.circuits[0]):
            return self._run(batch)

    def threads_for(self, circuit: Circuit) -> AbstractContextManager[None]:
        """Keep the device's own threads out of what is too small for them."""
        small = self._is_lightning and len(circuit.wires) < _THREADS_PAY_FROM
        return one_openmp_thread() if small else nullcontext()

    def _run(self, batch: CircuitBatch) -> list[Any]:
        groups: dict[Hashable, tuple[Structure | None, list[int]]] = {}
        # A seed's numbers go to circuits in the order in which they were asked for.
        in_order = any(circuit.shots for circuit in batch.circuits)
        before, start = None, 0
        for index, circuit in enumerate(batch.circuits):
            structure = structure_of(circuit)
            if structure is None or (in_order and structure is not before):
                start = index
            before = structure
            key = (structure, start if structure is None or in_order else 0)
            groups.setdefault(key, (structure, []))[1].append(index)
        results: list[Any] = [None] * len(batch.circuits)
        for structure, indices in groups.values():
            part = batch.only(indices) if len(groups) > 1 else batch
            for index, result in zip(indices, self._run_alike(structure, part), strict=True):
                results[index] = result
        return results

    def _run_alike(self, structure: Structure | None, batch: CircuitBatch) -> Sequence[Any]:
        # A plain gate's matrix is small: its product with the state is not for several threads.
        plain = structure is not None and self._computes_with_numpy
        several = len(batch.circuits) > 1
        drawn = self._random.state if several and self._random is not None else None
        try:
            with one_blas_thread() if plain else nullcontext():
                return self._execute(structure, batch)
        except Exception as error:  # noqa: BLE001  # it becomes the circuit's result
            if not several:
                return [error]
        if self._random is not None:
            self._random.state = drawn  # some of them may have drawn numbers already
        singles = (batch.only([index]) for index in range(len(batch.circuits)))
        return [self._run_alike(structure, single)[0] for single in singles]

    def _execute(self, structure: Structure | None, batch: CircuitBatch) -> Sequence[Any]:
        circuits: Sequence[Any] = batch.circuits
        if not self._computes_with_numpy:
            circuits = [_unwrapped(circuit) for circuit in circuits]
        plan = self._plan(structure, circuits, batch)
        if plan.pipeline is not None:
            circuits, finish = plan.pipeline(circuits)
            return finish(self.device.execute(circuits, plan.config))
        if plan.template is None or structure is None:
            return self.device.execute(circuits, plan.config)

        def execute(circuit: Any) -> Any:
            return self.device.execute((circuit,), plan.config)[0]

        template = plan.template
        if plan.together is not None:
            results = plan.together.run(structure, circuits, execute)
            if results is not None:
                return results
        return [execute(template.filled(circuit, structure)) for circuit in circuits]

    def _plan(
        self, structure: Structure | None, circuits: Sequence[Any], batch: CircuitBatch
    ) -> _Plan:
        if structure is None:
            return self._new_plan(circuits, batch)
        key = (structure.key, batch.mcm_method, batch.postselect_mode)
        plan = self._plans.get(key)
        if plan is not None:
            plan.structure = structure
            return plan
        plan = self._new_plan(circuits, batch)
        plan.structure = structure
        if _changes_nothing(plan.pipeline, circuits[0]):
            plan.pipeline = None
            if not circuits[0].shots:
                plan.template = Template(structure)
                plan.together = self._together(structure, plan.template)
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        self._plans[key] = plan
        return plan

    def _together(
        self, structure: Structure, template: Template
    ) -> Broadcast | LightningProgram | None:
        if self._computes_with_numpy and Broadcast.pays(structure):
            return Broadcast()
        if self._is_lightning and LightningProgram.pays(self.device, structure):
            return LightningProgram(self.device, structure, template)
        return None

    def _new_plan(self, circuits: Sequence[Any], batch: CircuitBatch) -> _Plan:
        config = ExecutionConfig(
            interface=qml.math.Interface.NUMPY,
            gradient_method=None,
            mcm_config=MCMConfig(
                mcm_method=batch.mcm_method, postselect_mode=batch.postselect_mode
            ),
        )
        config = _resolve_execution_config(config, self.device, circuits)
        _, pipeline = _setup_transform_program(self.device, config, None, 0)
        return _Plan(structure=None, config=config, pipeline=pipeline)


def _changes_nothing(pipeline: Any, circuit: QuantumScript) -> bool:
    circuits, _ = pipeline((circuit,))
    if len(circuits) != 1:
        return False
    new = circuits[0]
    return (
        len(new.operations) == len(circuit.operations)
        and len(new.measurements) == len(circuit.measurements)
        and all(a is b for a, b in zip(new.operations, circuit.operations, strict=True))
        and all(a is b for a, b in zip(new.measurements, circuit.measurements, strict=True))
    )


def _unwrapped(circuit: Any) -> Any:
    if any(isinstance(value, qml.numpy.tensor) for value in values_of(circuit)):
        return adapter.with_numpy_parameters(circuit)
    return circuit

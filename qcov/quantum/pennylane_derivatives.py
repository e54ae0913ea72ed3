"""Derivatives on the devices of the executors themselves: backprop and adjoint.

Every circuit goes to the executor that the cluster's selector chooses, as in a call. Backprop stays
in the caller's thread, for the framework records there what it will differentiate. Adjoint needs
numbers only, so what several executors got runs at once, and threads share what one executor got if
it uses threads.

Part of the adapter around PennyLane; see `qcov.qexecutors.pennylane_adapter`.
"""

# pyright: basic

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pennylane.transforms.core import CompilePipeline

from qcov.qexecutors.base import BaseQExecutor, Circuit

Wires: TypeAlias = int | tuple[Any, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Circuits that one executor differentiates in one thread."""

    executor: BaseQExecutor
    indices: Sequence[int]


def devices_of(executor: BaseQExecutor, wires: Wires) -> list[Any]:
    """This thread's devices of all executors; none if one of them cannot differentiate."""
    devices = [leaf.derivative_device(wires) for leaf in executor.leaves()]
    return [] if None in devices else devices


def pipeline_of(devices: Sequence[Any], config: Any, circuit: Any = None) -> CompilePipeline:
    """Prepare circuits so that any of the devices takes them."""
    pipeline = CompilePipeline()
    for device in {device.name: device for device in devices}.values():
        pipeline += device.preprocess_transforms(config_for(device, devices[0], config, circuit))
    return pipeline


def config_for(device: Any, first: Any, config: Any, circuit: Any) -> Any:
    """What `device` makes of the configuration that `first` settled."""
    if device.name == first.name:
        return config
    plain = replace(config, device_options={}, use_device_gradient=None)
    return device.setup_execution_config(plain, circuit)


def shares_of(
    executor: BaseQExecutor, circuits: Sequence[Circuit], *, threads: bool
) -> list[Share]:
    """Choose an executor for every circuit, and say which of them run together."""
    chosen: dict[int, tuple[BaseQExecutor, list[int]]] = {}
    for index, circuit in enumerate(circuits):
        leaf = executor.select(circuit)
        chosen.setdefault(id(leaf), (leaf, []))[1].append(index)
    return [
        Share(executor=leaf, indices=indices[first::workers])
        for leaf, indices in chosen.values()
        for workers in [leaf.threads_for(circuits) if threads else 1]
        for first in range(min(workers, len(indices)))
    ]


def run_shares(shares: Sequence[Share], work: Callable[[Share], Any]) -> list[Any]:
    """Do the work of every share: at once where there are several, else right here."""
    if len(shares) == 1:
        return [work(shares[0])]
    others = [_threads.submit(work, share) for share in shares[1:]]
    return [work(shares[0]), *[other.result() for other in others]]


def _new_threads() -> ThreadPoolExecutor:
    """Threads that stay, for each of them keeps devices of its own; they start on first use."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="qcov-derivatives")


_threads = _new_threads()


def _start_anew() -> None:
    global _threads
    _threads = _new_threads()  # the threads of the parent are not here


os.register_at_fork(after_in_child=_start_anew)

"""Handing nodes of a dispatch to the workers, once what they need is there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial

from qcov.classical.engine import outcomes
from qcov.classical.engine.bundles import Bundles, digests
from qcov.classical.engine.channel import Message
from qcov.classical.engine.schedule import RESULT, Schedule
from qcov.classical.engine.services import Services
from qcov.classical.engine.spawn import Environment
from qcov.classical.engine.tasks import Owner, Task
from qcov.classical.graph import Node
from qcov.store.changes import Changes


class Launcher:
    """Makes tasks of a dispatch's nodes, and says where electrons without an executor run.

    Args:
        dispatch_id: The dispatch.
        owner: Who is told what becomes of tasks.
        services: The engine.
        bundles: What workers get of the nodes.
        schedule: Says which try a node is at, and whether it is over.
        environment: What the dispatch's workers are.
    """

    def __init__(
        self,
        dispatch_id: str,
        *,
        owner: Owner,
        services: Services,
        bundles: Bundles,
        schedule: Schedule,
        environment: Environment,
    ) -> None:
        self.services = services
        self._id = dispatch_id
        self._owner = owner
        self._bundles = bundles
        self._schedule = schedule
        self._environment = environment
        self._placed: dict[int, str] = {}  # what runs electrons without an executor, to be written

    def run(self, node: Node, traced: Message, *, here: bool = False) -> None:
        """Run an electron or build a sublattice.

        Args:
            node: Which one.
            traced: Lets its traces be below its span.
            here: Not on the Dask cluster of ours.
        """
        bundle = self._bundles.electron(node) | traced
        on_dask, elsewhere = self._on_our_dask(node, here=here), None
        if on_dask:
            bundle.pop("executor", None)
            if self._bundles.names_no_executor(node):
                elsewhere = partial(self.run, node, traced, here=True)
        function = bundle["function"]
        self._submit(
            node.id, bundle, function, node.time_limit, on_dask=on_dask, elsewhere=elsewhere
        )

    def cut_parts(self, node: Node, output: str) -> None:
        """Cut the parts that are needed of a value that is known."""
        self._submit(node.id, self._bundles.known(node, output), None, None)

    def put_together(self, needed: list[Node], parent_node: int | None) -> None:
        """Make the result, and the parts of it that a parent's electrons need."""
        self._submit(RESULT, self._bundles.result(needed, parent_node), None, None)

    def note_place(self, number: int, attempt: int, changes: Changes) -> None:
        """Where an electron runs is written along with what comes of it: it costs no commit."""
        executor = self._placed.pop(number, None)
        if executor is not None:
            row = outcomes.key_of(self._id, number, attempt)
            outcomes.add(changes, "node_placed", row | {"new_executor": executor})

    def _on_our_dask(self, node: Node, *, here: bool) -> bool:
        """Whether an electron runs on the Dask cluster of ours: it is to, or has no executor.

        The latter go there while it is up. The cluster has the interpreter of the engine: the
        electrons of a program with another one stay here.
        """
        ours = not here and self._environment.executable == sys.executable
        if self._bundles.names_our_dask(node):
            return ours and self.services.has_dask
        if not self._bundles.names_no_executor(node):
            return False
        on_dask, attempt = ours and self.services.dask_runs(), self._schedule.attempt[node.id]
        if on_dask or attempt > 1:  # of which an earlier one may have been there
            self._placed[node.id] = "dask" if on_dask else "local"
        else:
            self._placed.pop(node.id, None)  # it was to run there
        return on_dask

    def _submit(
        self,
        number: int,
        bundle: Message,
        function: str | None,
        time_limit: float | None,
        *,
        on_dask: bool = False,
        elsewhere: Callable[[], None] | None = None,
    ) -> None:
        """Hand a node to the workers, once its blobs are there."""
        wanted = list(digests(bundle))

        def hand_over(small: Mapping[str, bytes]) -> None:
            if self._schedule.status[number].terminal:  # cancelled in the meantime
                return
            blobs = {digest: small[digest] for digest in wanted if digest in small}
            hosts_dask = isinstance(bundle.get("executor"), dict)
            self.services.submit_task(
                Task(
                    key=(self._id, number, self._schedule.attempt[number]),
                    name=bundle["name"],
                    environment=self._environment.importing("distributed")
                    if hosts_dask
                    else self._environment,
                    bundle={**bundle, "blobs": blobs},
                    function=None if function is None else (function, small.get(function)),
                    time_limit=None if hosts_dask else time_limit,
                    owner=self._owner,
                    packages=self._bundles.packages(number),
                    hosted="executor" in bundle,
                    on_dask=on_dask,
                    elsewhere=elsewhere,
                )
            )

        self.services.blobs([*wanted, *([function] if function else [])], hand_over)

"""Turning the calls that a lattice makes into a graph."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from qcov.classical.code_key import Keys, NotKeyed
from qcov.classical.constants import blob_of, container, whole_blob
from qcov.classical.deps import Deps, DepsBash, DepsModule, DepsPip
from qcov.classical.executors.base import AnyExecutor
from qcov.classical.executors.registry import executor_dict, executor_of, travels_as_object
from qcov.classical.files import beside
from qcov.classical.graph import (
    Function,
    Kind,
    Node,
    Preparation,
    Recipe,
    Step,
    TransportGraph,
    check_acyclic,
    nodes_of,
)
from qcov.classical.metadata import inherited, signature_of, takes_files
from qcov.classical.outputs import CALL, SHOWN_AS, ElectronOutput, cut, misuse, owned_node
from qcov.classical.source import source_of
from qcov.errors import ElectronMisuse
from qcov.transport import by_value, shorten

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from qcov.budget import Budget
    from qcov.classical.electron import Electron
    from qcov.classical.files.transfer import FileTransfer
    from qcov.classical.lattice import Lattice

_TEXT = 1 << 16  # bytes of values that are searched for electrons' text
_SHOWN_AS = SHOWN_AS.encode()


class Builder:
    """Records the calls that a lattice makes as nodes of a graph.

    Args:
        metadata: The lattice's settings.
        replacements: Electrons that stand in for others, by the name of those.
        graph: One to be added to; a new one by default.
    """

    def __init__(
        self,
        metadata: Mapping[str, Any],
        replacements: Mapping[str, Electron] | None = None,
        *,
        graph: TransportGraph | None = None,
    ) -> None:
        self.graph = TransportGraph() if graph is None else graph
        self.shown: dict[str, str] = {}  #: texts of electrons, and the name of each one's electron
        self.unused = set(replacements or ())  #: names of which no electron was called
        self._metadata = metadata
        self._replacements = replacements or {}
        self._functions: dict[tuple[int, ...], int] = {}
        self._preparations: dict[tuple[int, ...], tuple[int, list[int]]] = {}
        self._stands_for: dict[int, str] = {}  # functions of electrons that stand in for others
        self._executors: dict[str, int] = {}
        self._kept: list[object] = []  # objects whose id() is a key must not be collected
        self._keys = Keys()
        self._unkeyed: dict[str, str] = {}  # why a blob has no key

    def standing_for(self, electron: Electron) -> Electron:
        """The electron that runs where this one is called."""
        stand_in = self._replacements.get(electron.name)
        if stand_in is None:
            return electron
        self.unused.discard(electron.name)
        self._stands_for[id(stand_in.function)] = electron.name
        return stand_in

    def call(
        self,
        function: Callable[..., Any],
        name: str,
        settings: Mapping[str, Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> ElectronOutput:
        """Add a node for a call of an electron's function, and nodes for its arguments."""
        modules: Sequence[DepsModule] = _first(
            settings.get("deps_module"), self._metadata.get("deps_module"), ()
        )
        with by_value(each.module for each in modules) if modules else nullcontext():
            builds = is_lattice(function) and getattr(function, "metadata", {}).get(
                "workflow_executor"
            )
            executor = self._executor(settings.get("executor") or builds or None)
            defaults = self.graph.executors[executor]["attributes"]
            around = settings
            if is_lattice(function):  # what runs beside electrons runs beside those in it
                around = {**inherited(cast("Lattice", function).metadata, settings), **_OPERATION}
            preparation, needs = self._preparation(around, function)
            node = self.graph.add(
                name=name,
                kind=Kind.SUBLATTICE if is_lattice(function) else Kind.ELECTRON,
                function=self._function(function, name, settings),
                executor=executor,
                preparation=preparation,
                needs=needs,
                retries=_first(settings.get("retries"), defaults.get("retries"), 0),
                retry_delay=_first(settings.get("retry_delay"), 0.0),
                time_limit=_first(settings.get("time_limit"), defaults.get("time_limit")),
                cache=bool(settings.get("cache")),
            )
            output = self._with_arguments(node, args, kwargs)
            if node.cache:
                self._check_keys(node)
            return output

    def apply(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> ElectronOutput:
        """Add a node for an operation on electrons, such as `a + b`."""
        return self.call(function, function.__name__.lstrip("_"), _OPERATION, args, kwargs)

    def item(self, output: ElectronOutput, key: object) -> ElectronOutput:
        """Add a node for `output[key]`."""
        if any(map(is_output, _parts_of(key))):
            if isinstance(key, slice):
                return self.apply(cut, output, *_parts_of(cast("object", key)))
            return self.apply(operator.getitem, output, key)
        source = owned_node(output, self)
        shown = f"{source.name}[{_key_text(key)}]"
        digest = self._key(key)
        return self._output(name=shown, kind=Kind.ELEMENT, source=source.id, item=digest)

    def unpacked(self, output: ElectronOutput, count: int) -> Iterator[ElectronOutput]:
        """Add nodes for what `output` is made of, which must be `count` things."""
        source = owned_node(output, self)
        for place in range(count):
            yield self._output(
                name=f"{source.name}[{place}]",
                kind=Kind.ELEMENT,
                source=source.id,
                item=self._key(place),
                unpacked=count,
            )

    def attribute(self, output: ElectronOutput, name: str) -> ElectronOutput:
        """Add a node for `output.name`."""
        source = owned_node(output, self)
        shown = f"{source.name}.{name}"
        return self._output(name=shown, kind=Kind.ELEMENT, source=source.id, attribute=name)

    def add_to_name(self, output: ElectronOutput, text: str) -> None:
        """Let the name of a node say more."""
        owned_node(output, self).name += text

    def argument(self, value: object, name: str, consumer: str) -> int:
        """The number of the node that gives `value` to an electron; it is added if need be."""
        return self._input(value, f"argument {name!r}", consumer)

    def order(self, output: ElectronOutput, parents: Iterable[object]) -> None:
        """Let a node start only after others."""
        child = owned_node(output, self)
        for parent in parents:
            if not is_output(parent):
                advice = "Give what calls of electrons returned."
                raise misuse(output, f"made to wait for {parent!r}", advice)
            child.after = [*child.after, owned_node(parent, self).id]

    def finish(self, result: object) -> TransportGraph:
        """Take what the lattice returned; return the graph."""
        self.graph.result = self._recipe(result, "the value that the lattice returned")
        check_acyclic(self.graph.nodes)
        self._warn_of_lost_changes()
        return self.graph

    def _warn_of_lost_changes(self) -> None:
        """Methods that change their object are called for nothing: electrons' values are copies."""
        called = {node.id: node for node in self.graph.nodes if node.name == CALL}
        if not called:  # nearly always
            return
        used = {source for source, _, _ in self.graph.edges} | set(nodes_of(self.graph.result))
        for node in (node for number, node in called.items() if number not in used):
            method = self.graph.nodes[node.args[0]].name
            warnings.warn(
                f"the value of {method}(...) is not used: if it was to change its object, nothing "
                "will have changed. Return a new value from an electron.",
                stacklevel=7,  # where it is dispatched
            )

    def _with_arguments(
        self, node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ElectronOutput:
        node.args = [
            self._input(value, f"argument {position}", node.name)
            for position, value in enumerate(args, start=1)
        ]
        node.kwargs = {
            name: self._input(value, f"argument {name!r}", node.name)
            for name, value in kwargs.items()
        }
        return ElectronOutput(self, node)

    def _output(self, **fields: Any) -> ElectronOutput:
        return ElectronOutput(self, self.graph.add(**fields))

    def _input(self, value: object, label: str, consumer: str) -> int:
        """The node that gives `value` to an electron."""
        if is_output(value):
            return owned_node(value, self).id
        blob = blob_of(value, what=f"{label} of electron {consumer!r}")
        if blob is None:
            return self._collection(value, label, consumer).id
        return self.graph.add_parameter(value, self._keep(value, blob)).id

    def _collection(self, value: object, label: str, consumer: str) -> Node:
        node = self.graph.add(name=f":electron_{type(value).__name__}:", kind=Kind.COLLECTION)

        def part(item: object) -> Recipe:
            return {"node": self._input(item, label, consumer)}

        node.recipe = container(value, part, self._key)
        return node

    def _recipe(self, value: object, what: str) -> Recipe:
        """How to put a value together, in the place of nodes for its parts."""
        if is_output(value):
            return {"node": owned_node(value, self).id}
        blob = blob_of(value, what=what)
        if blob is None:
            return container(value, lambda item: self._recipe(item, what), self._key)
        return {"blob": self._keep(value, blob)}

    def _key(self, key: object) -> str:
        return self._keep(key, whole_blob(key, what=f"the key {shorten(key, 80)}"))

    def _keep(self, value: object, blob: bytes) -> str:
        """Keep a blob, and what its value is known by; return its digest."""
        if self.shown and len(blob) < _TEXT and _SHOWN_AS in blob:
            self._refuse_text(blob)
        digest = self.graph.add_blob(blob)
        if digest in self.graph.keys:
            return digest
        try:
            key = self._keys.unless_plain(value)
        except NotKeyed as error:
            self._unkeyed[digest] = str(error)
            key = ""
        if key is not None:
            self.graph.keys[digest] = key
        return digest

    def _refuse_text(self, blob: bytes) -> None:
        """An electron's `repr` is for people: in a value it would stay text for ever."""
        for text, name in self.shown.items():
            if text.encode(errors="surrogatepass") in blob:  # as pickle writes it
                advice = "Build the text inside an electron."
                use = "part of a text that is used as a value"
                raise ElectronMisuse(electron=name, use=use, advice=advice)

    def _check_keys(self, node: Node) -> None:
        """Warn of a value that is to be kept, but cannot be found again."""
        function = self.graph.functions[cast("int", node.function)].digest
        for digest in (function, *(self.graph.nodes[source].value for source in node.inputs())):
            if digest in self._unkeyed:
                warnings.warn(
                    f"electron {node.name!r} runs each time, in spite of cache=True: "
                    f"{self._unkeyed.pop(digest)}.",
                    stacklevel=4,
                )

    def _preparation(
        self, settings: Mapping[str, Any], function: Callable[..., Any]
    ) -> tuple[int | None, list[int]]:
        """The index of what these settings ask for, and the nodes whose values that needs."""
        own = self._metadata
        chosen = [_first(settings.get(name), own.get(name)) for name in _BESIDE]
        files = settings.get("files")
        if not files and not any(chosen):  # nearly always
            return None, []
        wanted = bool(files) and takes_files(signature_of(function))
        chosen.append(files)
        key = (*map(id, chosen), wanted)
        if key not in self._preparations:
            made = self._prepare(*chosen, wanted=wanted)
            self._preparations[key] = len(self.graph.preparations), made.nodes()
            self._kept.append(chosen)
            self.graph.preparations.append(made)
        return self._preparations[key]

    def _prepare(
        self,
        bash: DepsBash | None,
        pip: DepsPip | None,
        before: Iterable[Deps] | None,
        after: Iterable[Deps] | None,
        files: Sequence[FileTransfer] | None,
        *,
        wanted: bool,
    ) -> Preparation:
        first = [*beside.before(files or (), wanted=wanted), *([bash] if bash else [])]
        last = beside.after(files or ())
        return Preparation(
            packages=pip.packages if pip else [],
            before=[self._step(deps) for deps in (*first, *(before or ()))],
            after=[self._step(deps) for deps in (*(after or ()), *last)],
        )

    def _step(self, deps: Deps) -> Step:
        what = f"the {type(deps).__name__} {deps.label!r}"
        function = whole_blob(deps.apply_fn, what=f"the function of {what}")
        return Step(
            kind=type(deps).__name__,
            label=deps.label,
            function=self._keep(deps.apply_fn, function),
            args=self._recipe(tuple(deps.apply_args), f"an argument of {what}"),
            kwargs=self._recipe(deps.apply_kwargs, f"an argument of {what}"),
            keyword=deps.retval_keyword,
        )

    def _function(
        self, function: Callable[..., Any], name: str, settings: Mapping[str, Any]
    ) -> int:
        budgets = self._metadata.get("budget")
        passed: dict[str, Any] = {}
        if is_lattice(function):
            passed = {**inherited(settings, self._metadata), "budget": budgets}
        modules = _first(settings.get("deps_module"), self._metadata.get("deps_module"))
        key = (id(function), id(modules), *map(id, passed.values()))
        if key not in self._functions:
            sent = self._as_sublattice(function, passed) if passed else _paid(function, budgets)
            blob = whole_blob(sent, what=f"the function of electron {name!r}")
            digest = self._keep(sent, blob)
            self._functions[key] = len(self.graph.functions)
            self._kept.append((function, passed))
            self.graph.functions.append(
                Function(digest=digest, name=name, source=source_of(function))
            )
        return self._functions[key]

    def _as_sublattice(self, function: object, metadata: Mapping[str, Any]) -> Lattice:
        """It replaces what this lattice does, but for the electron that it stands in for."""
        own = self._stands_for.get(id(function))
        within = {name: one for name, one in self._replacements.items() if name != own}
        return cast("Lattice", function).inheriting(metadata, within)

    def _executor(self, executor: str | AnyExecutor | None) -> int:
        named = executor or self._metadata.get("executor")
        chosen = named or "local"
        # an object may be changed between two calls of electrons
        key = f"{id(named)} {named!r}" if isinstance(named, AnyExecutor) else named or ""
        if key not in self._executors:
            self._executors[key] = len(self.graph.executors)
            self._kept.append(chosen)
            described = self._described(executor_of(chosen))
            # which a server with a cluster may run elsewhere
            self.graph.executors.append(described if named else {**described, "unnamed": True})
        return self._executors[key]

    def _described(self, executor: AnyExecutor) -> dict[str, Any]:
        described = executor_dict(executor)
        if travels_as_object(executor):
            blob = whole_blob(executor, what=f"the executor {executor!r}")
            described["object"] = self._keep(executor, blob)
        return described


#: What runs beside an electron, or makes its environment.
_BESIDE = ("deps_bash", "deps_pip", "call_before", "call_after")

#: What is not an electron of the user's has its packages, but nothing that runs beside it.
_OPERATION: Mapping[str, Any] = {"deps_bash": (), "call_before": (), "call_after": ()}


_building: ContextVar[Builder | None] = ContextVar("qcov_building", default=None)


def building() -> Builder | None:
    """The graph that is being built here, if one is."""
    return _building.get()


@contextmanager
def recording(builder: Builder) -> Generator[Builder, None, None]:
    """Let the electrons that are called inside add their nodes to `builder`."""
    token = _building.set(builder)
    try:
        yield builder
    finally:
        _building.reset(token)


def is_output(value: object) -> TypeIs[ElectronOutput]:
    """True for what stands for an electron's value."""
    return isinstance(value, ElectronOutput)


def _parts_of(key: Any) -> tuple[Any, ...]:
    """What an index or key is made of."""
    if isinstance(key, slice):
        bounds = cast("slice[Any, Any, Any]", key)
        return bounds.start, bounds.stop, bounds.step
    return cast("tuple[Any, ...]", key) if isinstance(key, tuple) else (key,)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def is_lattice(function: object) -> bool:
    """True for a lattice; its module needs this one, so the question is asked by name."""
    return hasattr(function, "workflow_function")


def _key_text(key: object) -> str:
    if isinstance(key, slice):
        bounds = cast("slice[Any, Any, Any]", key)
        parts = ("" if part is None else repr(part) for part in (bounds.start, bounds.stop))
        return ":".join(parts) if bounds.step is None else f"{':'.join(parts)}:{bounds.step!r}"
    return repr(key)


def _paid(function: Callable[..., Any], budgets: Sequence[Budget] | None) -> Callable[..., Any]:
    if not budgets:  # nearly always
        return function
    from qcov.classical.paid import Paid

    return Paid(function, budgets)

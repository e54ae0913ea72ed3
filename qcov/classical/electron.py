"""Electrons: functions marked as tasks, and what stands for their values while a graph is built.

Outside a lattice an electron is the plain function. Inside one, calling it adds a node and returns
an `ElectronOutput`, which can be passed on, computed with, indexed and unpacked; whatever would
need its value there and then is refused with a reason.
"""

from __future__ import annotations

import dis
import functools
import inspect
import operator
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from graphlib import CycleError, TopologicalSorter
from types import FrameType
from typing import TYPE_CHECKING, Any, Self, cast, overload

from qcov.classical.executors.base import BaseExecutor
from qcov.classical.executors.registry import executor_dict
from qcov.classical.graph import Function, Kind, Node, Recipe, TransportGraph, check_acyclic
from qcov.errors import ElectronMisuse, QcovError, SerializationError
from qcov.transport import dumps, shorten

if TYPE_CHECKING:
    from typing_extensions import TypeIs


class Electron:
    """A function marked as a task; made by `@ct.electron`.

    `executor`, `retries`, `retry_delay` and `time_limit` may be changed until the lattice that
    uses the electron is dispatched.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        executor: str | BaseExecutor | None = None,
        retries: int | None = None,
        retry_delay: float | None = None,
        time_limit: float | None = None,
    ) -> None:
        self.function = function
        self.metadata: dict[str, Any] = {
            "executor": executor,
            "retries": retries,
            "retry_delay": retry_delay,
            "time_limit": time_limit,
        }
        if executor is not None:
            executor_dict(executor)  # a wrong one is reported where it was given
        functools.update_wrapper(self, function, updated=())
        self._signature = _signature(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function; inside a lattice, add a node instead."""
        builder = building()
        if builder is None:
            return self.function(*args, **kwargs)
        if self._signature is not None:
            self._signature.bind(*args, **kwargs)  # a wrong call fails here, not in a worker
        return builder.call(self, args, kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Methods can be electrons: the instance becomes their first argument."""
        return self if instance is None else functools.partial(self, instance)

    @property
    def name(self) -> str:
        """The name of its nodes."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    @property
    def executor(self) -> str | BaseExecutor | None:
        """Where it runs; None for what the lattice says."""
        return self.metadata["executor"]

    @executor.setter
    def executor(self, executor: str | BaseExecutor | None) -> None:
        if executor is not None:
            executor_dict(executor)
        self.metadata["executor"] = executor

    def get_metadata(self, name: str) -> Any:
        """A setting by its name, None if it is not set."""
        return self.metadata.get(name)

    def set_metadata(self, name: str, value: Any) -> None:
        """Change a setting."""
        if name == "executor":
            self.executor = value
        else:
            self.metadata[name] = value

    def __repr__(self) -> str:
        return f"<electron {self.name}>"


class ElectronOutput:
    """The value that a node will have.

    Every attribute but `node_id` and `wait_for` stands for that attribute of the value.
    """

    def __init__(self, builder: Builder, node: Node) -> None:
        self._builder = builder
        self._node = node

    @property
    def node_id(self) -> int:
        """The node's number in the graph."""
        return self._node.id

    def wait_for(self, electrons: ElectronOutput | Iterable[ElectronOutput]) -> Self:
        """Start only after `electrons` have completed; returns itself."""
        parents = [electrons] if isinstance(electrons, ElectronOutput) else list(electrons)
        self._node.after = [*self._node.after, *(parent.node_id for parent in parents)]
        return self

    # -- parts

    def __getitem__(self, key: object) -> ElectronOutput:
        return self._builder.item(self, key)

    def __getattr__(self, name: str) -> ElectronOutput:
        if name.startswith("__") and name.endswith("__"):  # protocols probe for these
            raise AttributeError(name)
        return self._builder.attribute(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> ElectronOutput:
        """Call the value, a method for example: another node."""
        return self._builder.apply(_call, self, *args, **kwargs)

    def __iter__(self) -> Iterator[ElectronOutput]:
        count = _unpacked_count(inspect.currentframe())
        if count is None:
            advice = "Unpack it (`a, b = x`), index it, or loop inside an electron."
            raise self._misuse("iterated over", advice)
        return iter([self[position] for position in range(count)])

    # -- what needs a value

    def _misuse(self, use: str, advice: str) -> ElectronMisuse:
        return ElectronMisuse(electron=self._node.name, use=use, advice=advice)

    def __bool__(self) -> bool:
        raise self._misuse("used as a condition", "Move the `if` into an electron or a sublattice.")

    def __len__(self) -> int:
        raise self._misuse("asked for its length", "Call len() inside an electron.")

    def __contains__(self, _item: object) -> bool:
        raise self._misuse("searched with `in`", "Search it inside an electron.")

    def __int__(self) -> int:
        raise self._misuse("turned into an int", "Convert it inside an electron.")

    __index__ = __int__

    def __float__(self) -> float:
        raise self._misuse("turned into a float", "Convert it inside an electron.")

    def __complex__(self) -> complex:
        raise self._misuse("turned into a complex", "Convert it inside an electron.")

    def __format__(self, _spec: str) -> str:
        raise self._misuse("formatted into a string", "Build the string inside an electron.")

    def __array__(self, *_args: object, **_kwargs: object) -> Any:
        raise self._misuse("turned into an array", "Build the array inside an electron.")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        """NumPy's functions, and its operators with an array on the left (NEP 13)."""
        if method != "__call__":
            use = f"given to numpy's {ufunc.__name__}.{method}"
            raise self._misuse(use, "Call it inside an electron.")
        return self._builder.apply(ufunc, *inputs, **settings)

    def __setitem__(self, _key: object, _value: object) -> None:
        raise self._misuse("changed in place", "Return a new value from an electron.")

    def __reduce__(self) -> Any:
        # Pickling a constant meets the electrons inside it: that is how containers are found.
        raise _HoldsElectron(self._node.name)

    def __repr__(self) -> str:
        return f"<value of {self._node.name}({self.node_id})>"

    __hash__ = object.__hash__


class _HoldsElectron(Exception):
    """A constant turned out to hold an electron."""


def _call(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _operator(function: Callable[..., Any], *, reflected: bool = False) -> Callable[..., Any]:
    def method(self: ElectronOutput, *others: Any) -> ElectronOutput:
        operands = (*others, self) if reflected else (self, *others)
        return self._builder.apply(function, *operands)  # pyright: ignore[reportPrivateUsage]

    return method


_BUILTINS: tuple[tuple[str, Callable[..., Any], bool], ...] = (
    ("abs", abs, False),
    ("round", round, False),
    ("divmod", divmod, False),
    ("rdivmod", divmod, True),
)


def _install_operators() -> None:
    binary = [
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "matmul",
        "lshift",
        "rshift",
        "and_",
        "or_",
        "xor",
    ]
    for name in binary:
        bare = name.rstrip("_")
        function = getattr(operator, name)
        setattr(ElectronOutput, f"__{bare}__", _operator(function))
        setattr(ElectronOutput, f"__r{bare}__", _operator(function, reflected=True))
    for name in ["eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "invert"]:
        setattr(ElectronOutput, f"__{name}__", _operator(getattr(operator, name)))
    for name, function, reflected in _BUILTINS:
        setattr(ElectronOutput, f"__{name}__", _operator(function, reflected=reflected))


_install_operators()


class Builder:
    """Records the calls that a lattice makes as nodes of a graph."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self.graph = TransportGraph()
        self._metadata = metadata
        self._functions: dict[int, int] = {}
        self._executors: dict[str, int] = {}
        self._kept: list[object] = []  # objects whose id() is a key must not be collected

    def call(
        self, electron: Electron, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ElectronOutput:
        """Add a node for a call of `electron`, and nodes for its arguments."""
        settings = electron.metadata
        executor = self._executor(settings["executor"])
        defaults = self.graph.executors[executor]["attributes"]
        node = self.graph.add(
            name=electron.name,
            kind=Kind.SUBLATTICE if is_lattice(electron.function) else Kind.ELECTRON,
            function=self._function(electron),
            executor=executor,
            retries=_first(settings["retries"], defaults.get("retries"), 0),
            retry_delay=_first(settings["retry_delay"], 0.0),
            time_limit=_first(settings["time_limit"], defaults.get("time_limit")),
        )
        return self._with_arguments(node, args, kwargs)

    def apply(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> ElectronOutput:
        """Add a node for an operation on electrons, such as `a + b`."""
        return self.call(_operation(function), args, kwargs)

    def item(self, output: ElectronOutput, key: object) -> ElectronOutput:
        """Add a node for `output[key]`."""
        if _is_electron(key):
            return self.apply(operator.getitem, output, key)
        source = self._own(output)
        shown = f"{source.name}[{_key_text(key)}]"
        digest = self._key(key)
        return self._output(name=shown, kind=Kind.ELEMENT, source=source.id, item=digest)

    def attribute(self, output: ElectronOutput, name: str) -> ElectronOutput:
        """Add a node for `output.name`."""
        source = self._own(output)
        shown = f"{source.name}.{name}"
        return self._output(name=shown, kind=Kind.ELEMENT, source=source.id, attribute=name)

    def order(self, output: ElectronOutput, parents: Iterable[ElectronOutput]) -> None:
        """Let a node start only after others."""
        child = self._own(output)
        for parent in parents:
            if not _is_electron(parent):
                advice = "Give what calls of electrons returned."
                raise output._misuse(f"made to wait for {parent!r}", advice)  # pyright: ignore[reportPrivateUsage]
            child.after = [*child.after, self._own(parent).id]

    def finish(self, result: object) -> TransportGraph:
        """Take what the lattice returned; return the graph."""
        self.graph.result = self._result(result)
        if any(node.after for node in self.graph.nodes):  # nothing else can close a circle
            check_acyclic(self.graph.nodes)
        if any(node.after for node in self.graph.nodes):
            self._refuse_circles()
        return self.graph

    def _refuse_circles(self) -> None:
        nodes = self.graph.nodes
        try:
            TopologicalSorter({n.id: {*n.inputs(), *n.after} for n in nodes}).prepare()
        except CycleError as error:
            numbers: list[int] = error.args[1]
            circle = [nodes[number].name for number in numbers]
            use = f"made to wait for what needs it ({' before '.join(circle)})"
            advice = "None of them could ever start: let one wait less."
            raise ElectronMisuse(electron=circle[0], use=use, advice=advice) from None

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

    def _own(self, output: ElectronOutput) -> Node:
        if output._builder is not self:  # pyright: ignore[reportPrivateUsage]
            advice = "Pass it as an argument of the sublattice instead."
            raise output._misuse("used in another lattice", advice)  # pyright: ignore[reportPrivateUsage]
        return output._node  # pyright: ignore[reportPrivateUsage]

    def _input(self, value: object, label: str, consumer: str) -> int:
        """The node that gives `value` to an electron."""
        if _is_electron(value):
            return self._own(value).id
        blob = _blob(value, what=f"{label} of electron {consumer!r}")
        if blob is None:
            return self._collection(value, label, consumer).id
        return self.graph.add_parameter(value, blob).id

    def _collection(self, value: object, label: str, consumer: str) -> Node:
        node = self.graph.add(name=f":electron_{type(value).__name__}:", kind=Kind.COLLECTION)

        def part(item: object) -> Recipe:
            return {"node": self._input(item, label, consumer)}

        node.recipe = _container(value, part, self._key)
        return node

    def _result(self, value: object) -> Recipe:
        if _is_electron(value):
            return {"node": self._own(value).id}
        blob = _blob(value, what="the value that the lattice returned")
        if blob is None:
            return _container(value, self._result, self._key)
        return {"blob": self.graph.add_blob(blob)}

    def _key(self, key: object) -> str:
        return self.graph.add_blob(_whole_blob(key, what=f"the key {shorten(key, 80)}"))

    def _function(self, electron: Electron) -> int:
        function = electron.function
        if id(function) not in self._functions:
            blob = _whole_blob(function, what=f"the function of electron {electron.name!r}")
            made = Function(
                digest=self.graph.add_blob(blob), name=electron.name, source=source_of(function)
            )
            self._functions[id(function)] = len(self.graph.functions)
            self._kept.append(function)
            self.graph.functions.append(made)
        return self._functions[id(function)]

    def _executor(self, executor: str | BaseExecutor | None) -> int:
        described = executor_dict(executor or self._metadata.get("executor") or "local")
        key = repr(described)
        if key not in self._executors:
            self._executors[key] = len(self.graph.executors)
            self.graph.executors.append(described)
        return self._executors[key]


_CONTAINERS = (list, tuple, set, dict)


def _blob(value: object, *, what: str) -> bytes | None:
    """The blob of a value; None for a container with electrons in it."""
    try:
        return dumps(value, what=what)
    except SerializationError as error:
        if isinstance(error.__cause__, _HoldsElectron) and type(value) in _CONTAINERS:
            return None
        raise _explained(error, what) from error.__cause__


def _whole_blob(value: object, *, what: str) -> bytes:
    """The blob of a value that must not have electrons in it."""
    try:
        return dumps(value, what=what)
    except SerializationError as error:
        raise _explained(error, what) from error.__cause__


def _explained(error: SerializationError, what: str) -> QcovError:
    held = error.__cause__
    if not isinstance(held, _HoldsElectron):
        return error
    advice = "Pass it as an argument of its own, or in a list, tuple, set or dict."
    return ElectronMisuse(electron=str(held), use=f"a part of {what}", advice=advice)


def _container(
    value: Any, part: Callable[[object], Recipe], key: Callable[[object], str]
) -> Recipe:
    if isinstance(value, dict):
        entries = cast("dict[object, object]", value).items()
        return {"dict": [[key(name), part(item)] for name, item in entries]}
    return {type(value).__name__: [part(item) for item in value]}


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


@functools.lru_cache(maxsize=256)
def _operation(function: Callable[..., Any]) -> Electron:
    return Electron(function)


def _is_electron(value: object) -> TypeIs[ElectronOutput]:
    return isinstance(value, ElectronOutput)


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


def _unpacked_count(frame: FrameType | None) -> int | None:
    """How many names the caller of `frame` unpacks into: `a, b = x` is 2, None for a loop.

    Python asks an object to unpack for its iterator only; how many names stand on the left is in
    the instruction that asks (https://docs.python.org/3/library/dis.html#opcode-UNPACK_SEQUENCE).
    """
    caller = frame and frame.f_back
    if caller is None:
        return None
    code, at = caller.f_code.co_code, caller.f_lasti
    if dis.opname[code[at]] != "UNPACK_SEQUENCE":
        return None
    count, shift, before = code[at + 1], 8, at - 2
    while before >= 0 and dis.opname[code[before]] == "EXTENDED_ARG":
        count |= code[before + 1] << shift
        before, shift = before - 2, shift + 8
    return count


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # C functions may not have one
        return None


def source_of(function: object) -> str:
    """The source of a function as the user wrote it, empty if it cannot be found."""
    try:
        return inspect.getsource(inspect.unwrap(cast("Callable[..., Any]", function)))
    except (OSError, TypeError):
        return ""


@overload
def electron(function: Callable[..., Any], /) -> Electron: ...


@overload
def electron(
    function: None = None,
    /,
    *,
    executor: str | BaseExecutor | None = None,
    retries: int | None = None,
    retry_delay: float | None = None,
    time_limit: float | None = None,
) -> Callable[[Callable[..., Any]], Electron]: ...


def electron(
    function: Callable[..., Any] | None = None,
    /,
    *,
    executor: str | BaseExecutor | None = None,
    retries: int | None = None,
    retry_delay: float | None = None,
    time_limit: float | None = None,
) -> Electron | Callable[[Callable[..., Any]], Electron]:
    """Mark a function as a task.

    Outside a lattice it stays the plain function. A lattice can be an electron of another one: its
    graph is then built when it runs, and it appears as a dispatch of its own.

    Args:
        function: The function, or a lattice.
        executor: Where it runs: a name or an executor; the lattice's by default.
        retries: How often it is tried again after a failure.
        retry_delay: Seconds between two tries.
        time_limit: Seconds after which its process is stopped.

    Raises:
        InvalidExecutor: `executor` is not an executor, or nobody knows its name.

    >>> @electron(retries=2)
    ... def add(x, y):
    ...     return x + y
    >>> add(1, 2)
    3
    """

    def decorate(function: Callable[..., Any]) -> Electron:
        inner = function.function if isinstance(function, Electron) else function
        return Electron(
            inner,
            executor=executor,
            retries=retries,
            retry_delay=retry_delay,
            time_limit=time_limit,
        )

    return decorate if function is None else decorate(function)


def wait(
    child: ElectronOutput, parents: ElectronOutput | Iterable[ElectronOutput]
) -> ElectronOutput:
    """Let `child` start only after `parents` have completed; returns `child`.

    Where a lattice runs as plain Python, all has happened in order already.
    """
    return child.wait_for(parents) if _is_electron(child) else child

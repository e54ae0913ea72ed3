"""Keys of code: functions with equal keys do the same, whichever process they were made in.

Code that is installed is known by its name and its package's version. Of the user's own, the
bytecode counts, with all that it names: constants, defaults, closures, the globals that it reads
and the modules of theirs that it imports. What a line looks like, or where it stands, does not; nor
does the state of random generators, which is another one in every process.
"""

from __future__ import annotations

import builtins
import dis
import functools
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from qcov.errors import SerializationError
from qcov.transport import address, dumps

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_OURS = str(Path(__file__).parents[1])
_LONG = 1000  #: a container with more is data
#: What a class has that says nothing of what it does.
_INCIDENTAL = frozenset(
    {
        *("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "_abc_impl"),
        *("__firstlineno__", "__static_attributes__", "__annotate__"),
    }
)


class _Unknown(Exception):
    """Something of which it cannot be said what it does."""


def code_key(function: object) -> str | None:
    """The key of a function, a class or anything else that can be called.

    Returns:
        64 hexadecimal digits; None where something in it cannot be compared.

    >>> code_key(lambda x: x + 1) == code_key(lambda x: x + 1)
    True
    >>> code_key(lambda x: x + 1) == code_key(lambda x: x + 2)
    False
    """
    try:
        return _digest("code", _PYTHON, _Walk().of(function))
    except (_Unknown, RecursionError):
        return None


def _digest(*parts: str) -> str:
    return address(repr(parts).encode(errors="backslashreplace"))


class _Walk:
    """Goes through all that a function reaches, each object once."""

    def __init__(self) -> None:
        self._told: dict[int, str] = {}
        self._above: list[int] = []  # what is being described
        self._kept: list[object] = []  # objects whose id() is a key must not be collected

    def of(self, value: Any) -> str:
        """What there is to say of an object."""
        if id(value) in self._told:
            return self._told[id(value)]
        if id(value) in self._above:  # a function that calls itself, say
            return f"{len(self._above) - self._above.index(id(value))} above"
        describe = _KINDS.get(type(value)) or _lookalike(value)
        if describe is None:
            return _data(value)
        self._above.append(id(value))
        try:
            told = describe(self, value)
        finally:
            self._above.pop()
        self._kept.append(value)
        self._told[id(value)] = told
        return told

    def all_of(self, values: Iterable[Any]) -> str:
        """What there is to say of objects, in their order."""
        return _digest(*map(self.of, values))

    def named(self, values: Mapping[Any, Any]) -> str:
        """What there is to say of objects with names."""
        return _digest(*(f"{name}={self.of(values[name])}" for name in sorted(values)))

    # -- kinds of objects

    def function(self, function: types.FunctionType) -> str:
        """A function of Python's."""
        if _is_installed(function.__module__):
            return _name(function)
        code = function.__code__
        cells = [_content(cell) for cell in function.__closure__ or ()]
        return _digest(
            "function",
            _shape(code),
            self.all_of(function.__defaults__ or ()),
            self.named(function.__kwdefaults__ or {}),
            self.all_of(cells),
            self.named(_read_by(code, function.__globals__)),
            *map(_imported, _imports(code)),
        )

    def method(self, method: types.MethodType) -> str:
        """A method of an object."""
        return _digest("method", self.of(method.__func__), self.of(method.__self__))

    def builtin(self, function: types.BuiltinFunctionType) -> str:
        """A function in C, or a method of an object."""
        owner = function.__self__
        free = owner is None or isinstance(owner, types.ModuleType | type)
        return _name(function) if free else _digest(_name(function), self.of(owner))

    def kind(self, kind: type) -> str:
        """A class."""
        if _is_installed(kind.__module__):
            return _name(kind)
        own = {name: part for name, part in vars(kind).items() if name not in _INCIDENTAL}
        return _digest("class", kind.__qualname__, self.all_of(kind.__bases__), self.named(own))

    def wrapped(self, method: staticmethod[..., Any] | classmethod[Any, ..., Any]) -> str:
        """A method of a class."""
        return _digest(type(method).__name__, self.of(method.__func__))

    def computed(self, attribute: property) -> str:
        """A property."""
        return self.all_of((attribute.fget, attribute.fset, attribute.fdel))

    def partial(self, partial: functools.partial[Any]) -> str:
        """A function with some of its arguments."""
        return _digest(
            "partial",
            self.of(partial.func),
            self.all_of(partial.args),
            self.named(partial.keywords),
        )

    def marked(self, marked: Any) -> str:
        """An electron or a lattice: where it runs does not change what it does."""
        function = getattr(marked, "workflow_function", None) or marked.function
        replaced = getattr(marked, "replacements", {})
        return _digest(type(marked).__name__, self.of(function), self.named(replaced))

    def circuit(self, qnode: Any) -> str:
        """A QNode or a qelectron; what it remembers of its last call is left out."""
        settings = {name: getattr(qnode, name, None) for name in _QNODE}
        device = qnode.device
        settings["device"] = getattr(device, "original", device)  # ours stands before another one
        settings["executor"] = getattr(device, "executor", None)
        return _digest("qnode", self.named(settings))

    def object(self, value: Any) -> str:
        """An object of a class in Python."""
        kind = type(value)
        if hasattr(kind, "model_fields"):  # a pydantic model, such as an executor of circuits
            fields = {name: getattr(value, name) for name in kind.model_fields}
            return _digest("model", self.of(kind), self.named(fields))
        state = value.__getstate__()
        if not isinstance(state, dict) or not _is_installed(kind.__module__):
            return _digest("object", self.of(kind), self.of(state))
        told: dict[str, str] = {}
        for name, part in cast("dict[str, Any]", state).items():
            if name in _MEMORIES:
                continue
            try:
                told[name] = self.of(part)
            except _Unknown:  # of others' internals, what can be compared
                told[name] = type(part).__qualname__
        return _digest("object", _name(kind), repr(sorted(told.items())))

    def module(self, module: types.ModuleType) -> str:
        """A module that is used by name."""
        return _imported(module.__name__)

    def sequence(self, values: list[Any] | tuple[Any, ...]) -> str:
        """A list or a tuple."""
        if len(values) > _LONG:
            return _data(values)
        return _digest(type(values).__name__, *map(self.of, values))

    def unordered(self, values: set[Any] | frozenset[Any]) -> str:
        """A set."""
        return _digest(type(values).__name__, *sorted(map(self.of, values)))

    def mapping(self, values: dict[Any, Any]) -> str:
        """A dictionary."""
        if len(values) > _LONG:
            return _data(values)
        pairs = (f"{self.of(key)}={self.of(part)}" for key, part in values.items())
        return _digest("dict", *pairs)


_KINDS: dict[type, Any] = {
    types.FunctionType: _Walk.function,
    types.MethodType: _Walk.method,
    types.BuiltinFunctionType: _Walk.builtin,
    types.ModuleType: _Walk.module,
    staticmethod: _Walk.wrapped,
    classmethod: _Walk.wrapped,
    property: _Walk.computed,
    functools.partial: _Walk.partial,
    list: _Walk.sequence,
    tuple: _Walk.sequence,
    set: _Walk.unordered,
    frozenset: _Walk.unordered,
    dict: _Walk.mapping,
}


def _lookalike(value: object) -> Any:
    """How to describe an object whose exact type is not in the table."""
    if isinstance(value, type):
        return _Walk.kind
    kind = type(value)
    if kind.__module__.startswith("qcov.classical.") and hasattr(value, "metadata"):
        return _Walk.marked
    if kind.__module__.startswith("numpy.random"):  # its state is another one in every process
        return _random
    if hasattr(value, "func") and hasattr(value, "diff_method"):
        return _Walk.circuit
    plain = kind.__reduce__ is object.__reduce__ and kind.__reduce_ex__ is object.__reduce_ex__
    if plain and hasattr(value, "__dict__") and not isinstance(value, _CONTENTS):
        return _Walk.object
    return None


def _random(_walk: _Walk, value: object) -> str:
    return f"a {type(value).__name__}"


_CONTENTS = (int, float, complex, str, bytes, list, tuple, set, frozenset, dict)
#: What PennyLane's devices remember of their use.
_MEMORIES = frozenset({"tracker", "_rng", "_debugger", "_statevector", "_wire_map"})
#: What makes a QNode what it is.
_QNODE = (
    *("func", "interface", "diff_method", "gradient_kwargs", "execute_kwargs", "shots"),
    "compile_pipeline",
)


def _data(value: object) -> str:
    """An object that is known by its content."""
    try:
        return address(dumps(value, what="it"))
    except SerializationError as error:
        raise _Unknown from error


def _name(value: Any) -> str:
    """Something that is installed."""
    home = str(getattr(value, "__module__", None) or "builtins")
    return _digest("installed", home, str(value.__qualname__), _version(home))


def _version(module: str) -> str:
    return str(getattr(sys.modules.get(module.partition(".")[0]), "__version__", ""))


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # it has none yet
        return "an empty cell"


# -- code --------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def _shape(code: types.CodeType) -> str:
    """What a code object does, without the values of its globals."""
    constants = [
        _shape(one) if isinstance(one, types.CodeType) else _constant(one) for one in code.co_consts
    ]
    return _digest(
        code.co_code.hex(),
        repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)),
        repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)),
        code.co_exceptiontable.hex(),
        *constants,
    )


def _constant(value: object) -> str:
    if isinstance(value, frozenset):
        return repr(sorted(map(repr, cast("frozenset[object]", value))))
    return f"{type(value).__name__} {value!r}"


@functools.lru_cache(maxsize=4096)
def _instructions(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The names of the globals that a code object reads, and of the modules that it imports."""
    found = [(step.opname, step.argval) for step in dis.get_instructions(code)]
    read = {name for operation, name in found if operation in ("LOAD_GLOBAL", "LOAD_NAME")}
    imported = {name for operation, name in found if operation == "IMPORT_NAME"}
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            inner = _instructions(one)
            read |= inner[0]
            imported |= inner[1]
    return frozenset(read), frozenset(imported)


def _read_by(code: types.CodeType, names: Mapping[str, Any]) -> dict[str, Any]:
    known = vars(builtins)
    return {name: names.get(name, known.get(name, "nothing")) for name in _instructions(code)[0]}


def _imports(code: types.CodeType) -> list[str]:
    return sorted(_instructions(code)[1])


# -- modules -----------------------------------------------------------------------------------


def _is_installed(name: str | None) -> bool:
    """Whether a module is Python's own or a package's; `__main__` never is."""
    if name is None or name in sys.builtin_module_names:
        return True
    if name == "__main__":
        return False
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    if path is None:  # Python's own ones that are frozen have none
        return module is not None and not hasattr(module, "__path__")
    return _is_in_packages(str(path))


@functools.lru_cache(maxsize=4096)
def _is_in_packages(path: str) -> bool:
    return path.startswith((*map(str, sysconfig.get_paths().values()), _OURS))


def _imported(name: str) -> str:
    """What a module is: its name and version, or the user's files that it is made of."""
    if _is_installed(name) and name in sys.modules:
        return _digest("module", name, _version(name))
    files = sorted(_files_of(name))
    return _digest("files", name, *(_content_of(path) for path in files))


def _files_of(name: str) -> Iterator[str]:
    """The user's files that a module of theirs is made of, and those that it uses."""
    seen = set[str]()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        module = sys.modules.get(current)
        path = getattr(module, "__file__", None) or _origin(current)
        if path is None or _is_in_packages(path):
            continue
        yield path
        for value in list(vars(module).values()) if module is not None else ():
            attribute = "__name__" if isinstance(value, types.ModuleType) else "__module__"
            home = getattr(value, attribute, None)
            if isinstance(home, str):
                waiting.append(home)


def _origin(name: str) -> str | None:
    """Where a module would come from that is not imported yet."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    origin = None if spec is None else spec.origin
    return origin if origin is not None and Path(origin).is_file() else None


def _content_of(path: str) -> str:
    try:
        return address(Path(path).read_bytes())
    except OSError as error:
        raise _Unknown from error

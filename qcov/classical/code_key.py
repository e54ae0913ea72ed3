"""Keys of values and code: those with equal keys do the same, whichever process they are in.

A key is made from what a worker gets. An object that travels by value counts with all that its copy
is made from: functions with their bytecode, defaults, closures and the globals that they read,
classes with all that is in them, anything else with what its `__reduce_ex__` says. What travels as
a name counts by where its code comes from; see `qcov.classical.code_origin`. Addresses, file names,
line numbers and the order of sets do not count; the order of dicts does, which code can see.

Not all can be known. What code reads while it runs is not in its key: files, clocks, and modules
under a name that it computes. (A name that stands as a text in code that calls `__import__` or
`import_module` is in it.) An object that cannot be looked at has no key.
"""

from __future__ import annotations

import abc
import copyreg
import dis
import functools
import sys
import time
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from qcov.classical import code_origin
from qcov.classical.code_origin import PYTHON, Origins
from qcov.classical.files_read import SourceFile
from qcov.classical.object_graph import Description, digest, hashed
from qcov.classical.plain_values import DESCRIBED, array, says_it_all, sha256
from qcov.transport import Named, Reducer

_FORMAT = "qcov code key 1"

#: What a class has that its process has put there, or that follows from the rest; so do the
#: descriptors of slots.
_INCIDENTAL = frozenset(
    {
        *("__dict__", "__weakref__", "_abc_impl", "__slotnames__"),
        *("__firstlineno__", "__static_attributes__"),
    }
)
#: Of what Pydantic keeps in a model, what the rest follows from.
_PYDANTIC = ("__pydantic_fields__", "__pydantic_decorators__", "__pydantic_root_model__")


class NotKeyed(Exception):
    """Something has no key; the message says what, and why."""


class Keys:
    """Makes keys. Source files are looked at once per object: make one for each time of asking.

    Args:
        clock: The time of day in nanoseconds.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._origins = Origins(clock)
        self._reduce = Reducer()
        self._special: Mapping[type, Callable[[Any], Description]] = {
            types.CodeType: self._code,
            types.ModuleType: self._module,
            SourceFile: self._file,
            typing.TypeVar: _type_variable,
        }

    def of(self, value: object) -> str:
        """The key of a value or of code, as 64 hexadecimal digits.

        Raises:
            NotKeyed: it cannot be told from others, or its own methods raised something.

        >>> keys = Keys()
        >>> keys.of(lambda x: x + 1) == keys.of(lambda x: x + 1)
        True
        >>> keys.of(lambda x: x + 1) == keys.of(lambda x: x + 2)
        False
        """
        try:
            return hashed(_FORMAT, PYTHON, digest(value, self._describe))
        except NotKeyed:
            raise
        except Exception as error:  # the user's own methods: anything can be raised
            reason = f"{type(error).__name__}: {error}"
            raise NotKeyed(f"{_shown(value)} cannot be told from others ({reason})") from error

    @property
    def modules(self) -> int:
        """How many modules have been looked at."""
        return self._origins.count

    def unless_plain(self, value: object) -> str | None:
        """The key of a value; None for a number or text: there the blob's digest says it all.

        Raises `NotKeyed`.
        """
        return None if says_it_all(value) else self.of(value)

    def _describe(self, value: Any) -> Description:
        kind = cast("type[Any]", type(value))
        known = DESCRIBED.get(kind) or self._special.get(kind)
        if known is not None:
            return known(value)
        if hasattr(kind, "__qcov_key__"):
            return Description("told", (kind, value.__qcov_key__()))
        if _is_tensor(kind):
            return _tensor(value)
        return array(value) or self._object(value, kind)

    def _object(self, value: Any, kind: type[Any]) -> Description:
        """What travels as pickle says."""
        reduced = self._reduce(value)
        if isinstance(reduced, Named):
            return self._named(value, reduced)
        if kind is types.FunctionType:
            return self._function(value)
        if issubclass(kind, type) and len(reduced) > 2:  # else one of Python's own
            return _class(value)
        return _rebuilt(value, reduced)

    def _named(self, value: object, named: Named) -> Description:
        """What travels as a name, if that name leads to it."""
        if named.module == "__main__" or _at(named) is not value:
            raise NotKeyed(f"{_shown(value)} is not what {named.module}.{named.name} is")
        return Description(f"named {named.module} {named.name} {self._origins.of(named.module)}")

    def _function(self, function: types.FunctionType) -> Description:
        """A function that travels by value."""
        space = function.__globals__
        read = [name for name in _globals_read(function.__code__) if name in space]
        package = space.get("__package__")  # of what it may import from there
        origin = self._origins.of(package) if package else ""
        parts = (
            function.__code__,
            function.__defaults__,
            function.__kwdefaults__,
            function.__closure__,
            function.__annotations__,
            function.__dict__,
            *(space[name] for name in read),
        )
        label = ("function", function.__name__, function.__qualname__, package, origin, read)
        return Description(repr(label), parts)

    def _module(self, module: types.ModuleType) -> Description:
        """A module, which nearly always travels as a name."""
        reduced = cast("tuple[Any, ...]", self._reduce(module))
        if len(reduced[1]) > 1:  # more than its name
            return _rebuilt(module, reduced)
        if module.__name__ == "__main__":
            raise NotKeyed("the module __main__ is another one in a worker")
        return Description(f"module {module.__name__} {self._origins.of(module.__name__)}")

    def _file(self, file: SourceFile) -> Description:
        return Description(f"file {self._origins.of_file(file.path)}")

    def _code(self, code: types.CodeType) -> Description:
        """Bytecode with all that it names, and the modules that it imports."""
        label = (
            code.co_code,
            code.co_exceptiontable,
            (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
            (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
            [(name, self._origins.of(name)) for name in _imports(code)],
        )
        return Description(f"code {label!r}", code.co_consts)


def _shown(value: object) -> str:
    kind = type(value)
    return f"a {kind.__module__}.{kind.__qualname__}"


# -- objects -----------------------------------------------------------------------------------


def _rebuilt(value: Any, reduced: tuple[Any, ...]) -> Description:
    """An object as pickle would make it again."""
    made_by, args, state, items, pairs, setter = (*reduced, None, None, None, None)[:6]
    if made_by is type(value) and made_by.__reduce__ in _SETS:
        args = (frozenset(value),)  # else its items, in the order of this process
    forgotten = _MEMORIES.get(type(value).__module__.partition(".")[0])
    if forgotten is not None:
        state = _without(state, forgotten)
    if made_by is _NEW and type(value).__getstate__ is object.__getstate__:
        state = _attributes(state)
    if _is_empty(state):  # an error has one once it has been looked at
        state = None
    parts: tuple[Any, ...] = (made_by, args, state, [*(items or ())], [*(pairs or ())], setter)
    return Description("object", parts)


def _is_empty(state: object) -> bool:
    return type(state) is dict and not state


#: What makes nearly all objects again.
_NEW: object = vars(copyreg)["__newobj__"]


def _attributes(state: Any) -> Any:
    """An object's attributes; a class that has travelled has none of them in slots any more."""
    if not isinstance(state, tuple):
        return state
    attributes, slots = cast("tuple[dict[str, Any] | None, dict[str, Any]]", state)
    return {**(attributes or {}), **slots}


#: What objects of a package remember of their use, or of the process that they were made in.
_MEMORIES: Mapping[str, frozenset[str]] = {
    "pennylane": frozenset(
        {
            *("tracker", "_debugger", "_qfunc_output", "_state_cache", "_statevector", "_tape"),
            "_tensornet",
        }
    ),
    "pennylane_lightning": frozenset({"tracker", "_debugger", "_statevector", "_tensornet"}),
    "pydantic": frozenset({"cls_ref"}),
}


def _without(state: Any, names: frozenset[str]) -> Any:
    """What `__reduce_ex__` says of an object's attributes, some left out."""
    if isinstance(state, tuple):  # with those in slots
        return tuple(_without(part, names) for part in cast("tuple[Any, ...]", state))
    if not isinstance(state, dict):
        return state
    attributes = cast("dict[str, Any]", state)
    return {name: attributes[name] for name in sorted(attributes) if name not in names}


_SETS: tuple[object, ...] = tuple(vars(kind)["__reduce__"] for kind in (set, frozenset))


def _class(kind: Any) -> Description:
    """A class that travels by value."""
    everything = cast("Mapping[str, Any]", vars(kind))
    own = {
        name: part
        for name, part in everything.items()
        if name not in _INCIDENTAL and type(part) is not types.MemberDescriptorType
    }
    if "__pydantic_fields__" in own:
        own = {name: part for name, part in own.items() if _counts_in_model(name)}
    if "__dataclass_fields__" in own:
        own.pop("__doc__", None)  # which may show the default values' `repr`
    names = sorted(own)  # a class that has travelled has them in another order
    label = ("class", kind.__module__, kind.__qualname__, names)
    metaclass = cast("type[Any]", type(kind))
    parts: tuple[Any, ...] = (
        metaclass,
        kind.__bases__,
        _registered(kind),
        *(own[name] for name in names),
    )
    return Description(repr(label), parts)


def _counts_in_model(name: str) -> bool:
    return name in _PYDANTIC or not (name.startswith("__pydantic_") or name == "__signature__")


def _registered(kind: type) -> frozenset[type]:
    """The classes that an abstract one takes for its subclasses."""
    if "_abc_impl" not in vars(kind):
        return frozenset()
    references = vars(abc)["_get_dump"](kind)[0]
    return frozenset(found for reference in references if (found := reference()) is not None)


def _at(named: Named) -> object:
    """What is found where a name says."""
    found: object = sys.modules.get(named.module)
    for part in named.name.split("."):
        found = getattr(found, part, None)
    return found


def _type_variable(value: typing.TypeVar) -> Description:
    label = ("type variable", value.__name__, value.__covariant__, value.__contravariant__)
    return Description(repr(label), (value.__bound__, value.__constraints__))


def _is_tensor(kind: type) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and issubclass(kind, getattr(torch, "Tensor", ()))


def _tensor(tensor: Any) -> Description:
    """A tensor of Torch's, whose own way to travel names addresses."""
    torch: Any = sys.modules["torch"]  # it has made this; type checkers may not have it
    here = tensor.detach().cpu().resolve_conj().resolve_neg()
    content = sha256(here.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    device = str(tensor.device)
    label = (str(tensor.dtype), tuple(tensor.shape), tensor.requires_grad, device, content)
    return Description(f"tensor {label!r}", (type(tensor), vars(tensor)))


# -- code --------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def _globals_read(code: types.CodeType) -> tuple[str, ...]:
    """The names of the globals that a code object, or one within it, reads or writes."""
    found = {step.argval for inner in _all(code) for step in _steps(inner, _GLOBAL)}
    return tuple(sorted(found))


@functools.lru_cache(maxsize=4096)
def _imports(code: types.CodeType) -> tuple[str, ...]:
    """The names without dots of modules that a code object imports, or may import by a text."""
    found = {str(step.argval) for step in _steps(code, ("IMPORT_NAME",))}
    if code_origin.IMPORTERS.intersection(code.co_names):
        texts = (one for one in code.co_consts if isinstance(one, str))
        found |= {text for text in texts if code_origin.is_module_name(text)}
    return tuple(sorted({name.partition(".")[0] for name in found} - {""}))


_GLOBAL = ("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME")


def _all(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from _all(one)


def _steps(code: types.CodeType, operations: tuple[str, ...]) -> Iterator[dis.Instruction]:
    return (step for step in dis.get_instructions(code) if step.opname in operations)

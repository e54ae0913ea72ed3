"""What stands for an electron's value while a lattice is built.

It can be passed on, computed with, indexed and unpacked; each use becomes a node. Whatever would
need the value there and then is refused with a reason.
"""

from __future__ import annotations

import dis
import inspect
import operator
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, Protocol, Self, cast

from qcov.classical.graph import Node, TransportGraph
from qcov.context import Pending
from qcov.errors import ElectronMisuse


class Recorder(Protocol):
    """Whoever turns uses of an output into nodes."""

    graph: TransportGraph
    shown: dict[str, str]  #: what `repr` has made of outputs, and the electron's name for each

    def item(self, output: ElectronOutput, key: object) -> ElectronOutput:
        """Add a node for `output[key]`."""
        ...

    def unpacked(self, output: ElectronOutput, count: int) -> Iterator[ElectronOutput]:
        """Add nodes for what `output` is made of, which must be `count` things."""
        ...

    def attribute(self, output: ElectronOutput, name: str) -> ElectronOutput:
        """Add a node for `output.name`."""
        ...

    def apply(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> ElectronOutput:
        """Add a node for an operation on electrons."""
        ...

    def order(self, output: ElectronOutput, parents: Iterable[object]) -> None:
        """Let a node start only after others."""
        ...


class ElectronOutput(Pending):
    """The value that a node will have.

    Every attribute but `node_id` and `wait_for` stands for that attribute of the value.
    """

    _recorder: Recorder
    _node: Node

    def __init__(self, recorder: Recorder, node: Node) -> None:
        vars(self).update(_recorder=recorder, _node=node)

    @property
    def node_id(self) -> int:
        """The node's number in the graph."""
        return self._node.id

    def wait_for(self, electrons: ElectronOutput | Iterable[ElectronOutput]) -> Self:
        """Start only after `electrons` have completed; returns itself."""
        given: Any = electrons
        several = hasattr(given, "__iter__") and not isinstance(given, ElectronOutput)
        parents = list(cast("Iterable[object]", given)) if several else [given]
        self._recorder.order(self, parents)
        return self

    # -- parts

    def __getitem__(self, key: object) -> ElectronOutput:
        return self._recorder.item(self, key)

    def __getattr__(self, name: str) -> ElectronOutput:
        if name.startswith("__") and name.endswith("__"):  # protocols probe for these
            raise AttributeError(name)
        if name == "keys" and not _is_written_out(inspect.currentframe()):
            advice = "Do it inside an electron, or give its parts by name: `f(x=value['x'])`."
            raise misuse(self, "unpacked with `**` or made a dict", advice)
        return self._recorder.attribute(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> ElectronOutput:
        """Call the value, a method for example: another node."""
        return self._recorder.apply(_call, self, *args, **kwargs)

    def __iter__(self) -> Iterator[ElectronOutput]:
        count = _unpacked_count(inspect.currentframe())
        if count is None:
            advice = "Unpack it (`a, b = x`), index it, or loop inside an electron."
            raise misuse(self, "iterated over", advice)
        return self._recorder.unpacked(self, count)

    # -- what needs a value

    def __bool__(self) -> bool:
        raise misuse(self, "used as a condition", "Move the `if` into an electron or a sublattice.")

    def __len__(self) -> int:
        raise misuse(self, "asked for its length", "Call len() inside an electron.")

    def __contains__(self, _item: object) -> bool:
        raise misuse(self, "searched with `in`", "Search it inside an electron.")

    def __int__(self) -> int:
        raise misuse(self, "turned into an int", "Convert it inside an electron.")

    __index__ = __int__

    def __float__(self) -> float:
        raise misuse(self, "turned into a float", "Convert it inside an electron.")

    def __complex__(self) -> complex:
        raise misuse(self, "turned into a complex", "Convert it inside an electron.")

    def __format__(self, _spec: str) -> str:
        raise misuse(self, "formatted into a string", "Build the string inside an electron.")

    def __array__(self, *_args: object, **_kwargs: object) -> Any:
        raise misuse(self, "turned into an array", "Build the array inside an electron.")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        """NumPy's functions, and its operators with an array on the left (NEP 13)."""
        if method != "__call__":
            use = f"given to numpy's {ufunc.__name__}.{method}"
            raise misuse(self, use, "Call it inside an electron.")
        return self._recorder.apply(ufunc, *inputs, **settings)

    def __str__(self) -> str:
        raise misuse(self, "turned into text", "Build the text inside an electron.")

    def __setitem__(self, _key: object, _value: object) -> None:
        raise misuse(self, "changed in place", "Return a new value from an electron.")

    def __delitem__(self, _key: object) -> None:
        raise misuse(self, "changed in place", "Return a new value from an electron.")

    def __setattr__(self, _name: str, _value: object) -> None:
        raise misuse(self, "changed in place", "Return a new value from an electron.")

    def __copy__(self) -> Self:
        """Electrons get copies anyway."""
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> Any:
        # Pickling a constant meets the electrons inside it: that is how containers are found.
        raise HoldsElectron(self._node.name)

    def __electron__(self) -> str:
        return self._node.name

    def __repr__(self) -> str:
        text = f"{SHOWN_AS}{self._node.name}({self.node_id})>"
        self._recorder.shown[text] = self._node.name
        return text

    __hash__ = object.__hash__


SHOWN_AS = "<value of "  #: how an output's `repr` begins


def owned_node(output: ElectronOutput, recorder: Recorder) -> Node:
    """The node that an output stands for; `ElectronMisuse` if it is another recorder's."""
    if output._recorder.graph is not recorder.graph:  # pyright: ignore[reportPrivateUsage]
        advice = "Pass it as an argument of the sublattice instead."
        raise misuse(output, "used in another lattice", advice)
    return output._node  # pyright: ignore[reportPrivateUsage]


def misuse(output: ElectronOutput, use: str, advice: str) -> ElectronMisuse:
    """The error for a use that needs the value."""
    name = output._node.name  # pyright: ignore[reportPrivateUsage]
    return ElectronMisuse(electron=name, use=use, advice=advice)


class HoldsElectron(Exception):
    """A constant turned out to hold an electron."""

    def __init__(self, electron: str) -> None:
        super().__init__(
            f"it leads to the value of electron {electron!r}, which was kept outside of its lattice"
        )
        self.electron = electron


#: The name of nodes that call a value, a method for example.
CALL = "call"


def _call(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def cut(value: Any, start: Any, stop: Any, step: Any) -> Any:
    """`value[start:stop:step]`."""
    return value[start:stop:step]


def _operator(function: Callable[..., Any], *, reflected: bool = False) -> Callable[..., Any]:
    def method(self: ElectronOutput, *others: Any) -> ElectronOutput:
        operands = (*others, self) if reflected else (self, *others)
        return self._recorder.apply(function, *operands)  # pyright: ignore[reportPrivateUsage]

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


def _is_written_out(frame: FrameType | None) -> bool:
    """True if the caller of `frame` asks for an attribute by `x.name`; False if Python itself does.

    It asks whatever is unpacked for its `keys`, and hides which error comes of their use.
    """
    caller = frame and frame.f_back
    if caller is None:
        return True
    asked = dis.opname[caller.f_code.co_code[caller.f_lasti]]
    return asked in ("LOAD_ATTR", "LOAD_METHOD")


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

"""Electrons: functions marked as tasks.

Outside a lattice an electron is the plain function. Inside one, calling it adds a node and returns
an `ElectronOutput` that stands for the value.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any, Unpack, cast, overload

from qcov.classical.builder import Builder, building, is_lattice
from qcov.classical.checks import check_function
from qcov.classical.executors.base import AnyExecutor
from qcov.classical.graph import TransportGraph
from qcov.classical.metadata import (
    ELECTRON,
    ElectronSettings,
    checked,
    checked_one,
    counted,
    injected,
    signature_of,
)
from qcov.classical.outputs import ElectronOutput
from qcov.classical.source import source_of
from qcov.errors import ElectronMisuse, WrongArguments, WrongSetting
from qcov.transport import TransportableObject


class Electron:
    """A function marked as a task; made by `@ct.electron`.

    Its settings may be changed until the lattice that uses the electron is dispatched.
    """

    def __init__(self, function: Callable[..., Any], **settings: Unpack[ElectronSettings]) -> None:
        self.function = function
        self.metadata: dict[str, Any] = checked(settings, ELECTRON)
        functools.update_wrapper(self, function, updated=())
        self._signature = signature_of(function)
        self._check_files()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function; inside a lattice, add a node instead."""
        builder = building()
        if builder is None:
            return self.function(*args, **kwargs)
        runs = builder.standing_for(self)
        runs.check_call(args, kwargs)
        return builder.call(runs.function, runs.name, runs.metadata, args, kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Methods can be electrons: the instance becomes their first argument."""
        return self if instance is None else functools.partial(self, instance)

    @property
    def name(self) -> str:
        """The name of its nodes."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    @property
    def executor(self) -> str | AnyExecutor | None:
        """Where it runs; None for what the lattice says."""
        return self.metadata["executor"]

    @executor.setter
    def executor(self, executor: str | AnyExecutor | None) -> None:
        self.set_metadata("executor", executor)

    def get_metadata(self, name: str) -> Any:
        """A setting by its name, None if it is not set. Raises `KeyError` for an unknown name."""
        return self.metadata[name]

    def set_metadata(self, name: str, value: Any) -> None:
        """Change a setting."""
        self.metadata[name] = checked_one(name, value)
        self._check_files()

    def _check_files(self) -> None:
        """A sublattice is a dispatch of its own: nothing runs in one place before and after it."""
        if self.metadata["files"] and is_lattice(self.function):
            raise WrongSetting(
                setting=f"files of {self.name!r}",
                got="given for a sublattice",
                expected="given for the electrons in it",
            )

    @property
    def as_transportable_dict(self) -> dict[str, Any]:
        """Its name, its function as a `TransportableObject` and as text, and its settings."""
        return {
            "name": self.name,
            "function": TransportableObject(self.function),
            "function_string": source_of(self.function),
            "metadata": dict(self.metadata),
        }

    def get_op_function(self, operand_1: Any, operand_2: Any, op: str) -> Any:
        """`operand_1 op operand_2`: a node where a lattice is built, else the value.

        Args:
            operand_1: The left one.
            operand_2: The right one.
            op: `"+"`, `"-"`, `"*"`, `"/"`, `"//"`, `"%"`, `"**"` or `"@"`.

        Raises:
            WrongSetting: there is no such operator.
        """
        function = _OPERATORS.get(op)
        if function is None:
            expected = f"one of {' '.join(_OPERATORS)}"
            raise WrongSetting(setting="op", got=repr(op), expected=expected)
        builder = building()
        if builder is None:
            return function(operand_1, operand_2)
        return builder.apply(function, operand_1, operand_2)

    def add_collection_node_to_graph(self, graph: TransportGraph, prefix: str) -> int:
        """Add a node that runs this electron's function to a graph; returns its number.

        Its arguments are added by `connect_node_with_others`.
        """
        builder = Builder(self.metadata, graph=graph)
        return builder.call(self.function, prefix, self.metadata, (), {}).node_id

    def connect_node_with_others(  # noqa: PLR0917
        self,
        node_id: int,
        param_name: str,
        param_value: Any,
        param_type: str,
        arg_index: int | None,
        transport_graph: TransportGraph,
    ) -> None:
        """Give a node of a graph an argument, with the nodes and edges that it takes.

        Args:
            node_id: Which node.
            param_name: The argument's name.
            param_value: Its value; electrons, alone or in containers, too.
            param_type: `"arg"` for a positional argument, `"kwarg"` for one by its name.
            arg_index: Where a positional argument stands.
            transport_graph: The graph.

        Raises:
            WrongSetting: `param_type` is something else.
        """
        if param_type not in ("arg", "kwarg"):
            raise WrongSetting(
                setting="param_type", got=repr(param_type), expected="'arg' or 'kwarg'"
            )
        node = transport_graph.nodes[node_id]
        source = Builder(self.metadata, graph=transport_graph).argument(
            param_value, param_name, node.name
        )
        if param_type == "kwarg":
            node.kwargs = {**(node.kwargs or {}), param_name: source}
        else:
            at = len(node.args) if arg_index is None else arg_index
            node.args = [*node.args[:at], source, *node.args[at:]]

    def check_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Let a wrong call fail where it stands, not in a worker. Raises `WrongArguments`."""
        if self._signature is None:
            return
        try:
            self._signature.bind(*args, **(kwargs | injected(self.metadata, self._signature)))
        except TypeError as error:
            raise WrongArguments(
                electron=self.name, signature=str(self._signature), reason=str(error)
            ) from None

    def __qcov_key__(self) -> object:
        """What keys of it are made from: how often it is tried, say, is not in it."""
        return self.function, counted(self.metadata)

    def __repr__(self) -> str:
        return f"<electron {self.name}>"


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    sign: getattr(operator, name)
    for sign, name in {
        "+": "add",
        "-": "sub",
        "*": "mul",
        "/": "truediv",
        "//": "floordiv",
        "%": "mod",
        "**": "pow",
        "@": "matmul",
    }.items()
}


@overload
def electron(function: Callable[..., Any], /, **settings: Unpack[ElectronSettings]) -> Electron: ...


@overload
def electron(
    function: None = None, /, **settings: Unpack[ElectronSettings]
) -> Callable[[Callable[..., Any]], Electron]: ...


def electron(
    function: Callable[..., Any] | None = None, /, **settings: Unpack[ElectronSettings]
) -> Electron | Callable[[Callable[..., Any]], Electron]:
    """Mark a function as a task.

    Outside a lattice it stays the plain function. A lattice can be an electron of another one: its
    graph is then built when it runs, and it appears as a dispatch of its own.

    Args:
        function: The function, or a lattice.
        **settings: What is not said here is as the lattice says, where it can say it.

            * `executor`: where it runs, a name or an executor.
            * `deps_bash`: shell commands that run before it, as text or as a `DepsBash`.
            * `deps_pip`: packages that it needs, as text or as a `DepsPip`.
            * `deps_module`: modules of yours that travel whole with it.
            * `call_before`, `call_after`: functions that run before and after it in its process,
              as they are or as a `DepsCall`.
            * `files`: what is transferred before and after it, made by `ct.fs`; its function gets
              the paths as `files`, a list of pairs.
            * `retries`: how often it is tried again after a failure.
            * `retry_delay`: seconds between two tries.
            * `time_limit`: seconds after which its process is stopped.
            * `cache`: whether an equal call, with the same code and inputs, may have the value of
              this one in place of running.

    Raises:
        InvalidExecutor: `executor` is not an executor, or nobody knows its name.
        WrongSetting: a setting has a value that cannot be.

    >>> @electron(retries=2)
    ... def add(x, y):
    ...     return x + y
    >>> add(1, 2)
    3
    """
    given = checked(settings, ELECTRON)  # a wrong one is reported where it was given

    def decorate(function: Callable[..., Any]) -> Electron:
        inner = function.function if isinstance(function, Electron) else function
        check_function("electron", inner)
        return Electron(inner, **given)

    return decorate if function is None else decorate(function)


def wait(
    child: ElectronOutput, parents: ElectronOutput | Iterable[ElectronOutput]
) -> ElectronOutput:
    """Let `child` start only after `parents` have completed; returns `child`.

    Where a lattice runs as plain Python, all has happened in order already.

    Raises:
        ElectronMisuse: while a lattice is built, one of them is no electron's value.
    """
    if isinstance(cast("object", child), ElectronOutput):
        return child.wait_for(parents)
    if building() is not None:
        raise ElectronMisuse(
            electron=repr(child),
            use="made to wait",
            advice="Give ct.wait what a call of an electron returned.",
        )
    return child

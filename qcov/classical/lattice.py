"""Lattices: functions that call electrons, and become graphs."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping, Set
from types import MethodType
from typing import TYPE_CHECKING, Any, Unpack, overload

from qcov.classical.builder import Builder, recording
from qcov.classical.checks import check_function
from qcov.classical.drawing import Drawing
from qcov.classical.graph import Kind, TransportGraph
from qcov.classical.metadata import (
    LATTICE,
    LatticeSettings,
    checked,
    checked_one,
    counted,
    inherited,
)
from qcov.classical.source import source_of
from qcov.errors import WrongSetting

if TYPE_CHECKING:
    from qcov.classical.electron import Electron
    from qcov.classical.result import Result


class Lattice:
    """A function whose electrons become a graph; made by `@ct.lattice`.

    Called directly, it runs as plain Python.
    """

    def __init__(
        self, workflow_function: Callable[..., Any], **settings: Unpack[LatticeSettings]
    ) -> None:
        self.workflow_function = workflow_function
        self.metadata: dict[str, Any] = checked(settings, LATTICE)
        self.transport_graph = TransportGraph()
        self._replacements: dict[str, Electron] = {}  # by the names of those that they stand for
        self._asked: dict[str, set[str]] = {}  # names that were given last; any of these will do
        functools.update_wrapper(self, workflow_function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function as plain Python; inside another lattice, as part of that one."""
        return self.workflow_function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Lattice:
        """Methods can be lattices: the instance becomes their first argument."""
        if instance is None:
            return self
        made = copy.copy(self)
        made.workflow_function = MethodType(self.workflow_function, instance)
        return made

    @property
    def name(self) -> str:
        """The function's name."""
        return str(getattr(self.workflow_function, "__name__", "lattice"))

    @property
    def source(self) -> str:
        """The function's source as the user wrote it."""
        return source_of(self.workflow_function)

    def graph(self, *args: Any, **kwargs: Any) -> TransportGraph:
        """Build the graph for these arguments; an exception inside is the user's own."""
        with recording(Builder(self.metadata, self._replacements)) as builder:
            graph = builder.finish(self.workflow_function(*args, **kwargs))
        self._check_replaced(graph, builder.unused)
        return graph

    def replacing(self, electrons: Mapping[str, Electron]) -> Lattice:
        """A copy in which, and in whose sublattices, other electrons run.

        Args:
            electrons: By the names of those that they stand for, or of what stands for those
                already.
        """
        before = self._replacements
        made = copy.copy(self)
        made._replacements = {
            name: electrons.get(one.name, one) for name, one in before.items()
        } | dict(electrons)
        made._asked = {
            name: {name, *(known for known, one in before.items() if one.name == name)}
            for name in electrons
        }
        return made

    def inheriting(
        self, metadata: Mapping[str, Any], replacements: Mapping[str, Electron]
    ) -> Lattice:
        """A copy for a sublattice: what it does not say itself is as the one around it says.

        Args:
            metadata: The settings from around it.
            replacements: Electrons that are replaced there; it need not call all of them.
        """
        made = copy.copy(self)
        # modules have travelled with it: they are not to be found where it is built
        made.metadata = inherited(self.metadata, metadata) | {"triggers": None, "deps_module": None}
        budgets = (*(self.metadata["budget"] or ()), *(metadata.get("budget") or ()))
        made.metadata["budget"] = budgets or None  # it draws on both
        made._replacements, made._asked = dict(replacements), {}
        return made

    def _check_replaced(self, graph: TransportGraph, unused: Set[str]) -> None:
        """Refuse to replace what nobody calls; a sublattice may call it later."""
        missing = sorted(name for name, ways in self._asked.items() if ways <= unused)
        if missing and not any(node.kind is Kind.SUBLATTICE for node in graph.nodes):
            called = sorted({node.name for node in graph.nodes if node.kind is Kind.ELECTRON})
            raise WrongSetting(
                setting="replace_electrons",
                got=f"given for {', '.join(map(repr, missing))}",
                expected=f"given for electrons that {self.name!r} calls ({', '.join(called)})",
            )

    def build_graph(self, *args: Any, **kwargs: Any) -> None:
        """Build the graph for these arguments and keep it as `transport_graph`."""
        self.transport_graph = self.graph(*args, **kwargs)

    def draw(self, *args: Any, **kwargs: Any) -> Drawing:
        """The graph for these arguments: text, a line per node with what it needs.

        In a notebook it is a picture, and its `svg` is that picture everywhere.

        >>> from qcov import electron, lattice
        >>> @electron
        ... def add(x, y):
        ...     return x + y
        >>> drawing = lattice(lambda x: add(add(x, 1), 2)).draw(0)
        >>> print(drawing)
        [0] add <- [1] :parameter:0, [2] :parameter:1
        [3] add <- [0] add, [4] :parameter:2
        >>> drawing.svg.startswith("<svg")
        True
        """
        self.build_graph(*args, **kwargs)
        return Drawing(self.transport_graph)

    def get_metadata(self, name: str) -> Any:
        """A setting by its name, None if it is not set. Raises `KeyError` for an unknown name."""
        return self.metadata[name]

    def set_metadata(self, name: str, value: Any) -> None:
        """Change a setting."""
        self.metadata[name] = checked_one(name, value)

    def dispatch(self, *args: Any, **kwargs: Any) -> str:
        """Run it; `ct.dispatch(lattice)(...)` is the way today."""
        return _verb("dispatch")(self)(*args, **kwargs)

    def dispatch_sync(self, *args: Any, **kwargs: Any) -> Result:
        """Run it and wait; `ct.dispatch_sync(lattice)(...)` is the way today."""
        return _verb("dispatch_sync")(self)(*args, **kwargs)

    def __qcov_key__(self) -> object:
        """What keys of it are made from: graphs that were built from it are not in it."""
        return self.workflow_function, counted(self.metadata), self._replacements

    def __repr__(self) -> str:
        return f"<lattice {self.name}>"

    def _repr_html_(self) -> str:
        """A notebook's view: the graph that was built last, or the source."""
        from qcov.classical.notebook import lattice_html, source_html

        graph = self.transport_graph
        below = Drawing(graph).svg if graph.nodes else source_html(self.source)
        signature = str(inspect.signature(self.workflow_function))
        return lattice_html(self.name, signature, inspect.getdoc(self.workflow_function), below)


def _verb(name: str) -> Callable[..., Any]:
    """A verb of the user's; its module is loaded by name because it stands above this one."""
    message = f"lattice.{name}(...) is deprecated: write ct.{name}(lattice)(...)"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    return getattr(importlib.import_module("qcov.classical.dispatch"), name)


@overload
def lattice(function: Callable[..., Any], /, **settings: Unpack[LatticeSettings]) -> Lattice: ...


@overload
def lattice(
    function: None = None, /, **settings: Unpack[LatticeSettings]
) -> Callable[[Callable[..., Any]], Lattice]: ...


def lattice(
    function: Callable[..., Any] | None = None, /, **settings: Unpack[LatticeSettings]
) -> Lattice | Callable[[Callable[..., Any]], Lattice]:
    """Mark a function as a workflow.

    Args:
        function: The function; the electrons that it calls become nodes.
        **settings: What its electrons do not say themselves.

            * `executor`, `deps_bash`, `deps_pip`, `call_before`, `call_after`: as for electrons.
            * `workflow_executor`: where sublattices are built and results are put together.
            * `triggers`: what runs its dispatches, one or several.
            * `budget`: what the circuits of its electrons and sublattices may cost, in all of its
              dispatches together; see `qcov.Budget`.

    Raises:
        InvalidExecutor: an argument is not an executor, or nobody knows its name.
        WrongSetting: a setting has a value that cannot be.

    >>> from qcov import electron
    >>> @electron
    ... def double(x):
    ...     return 2 * x
    >>> @lattice
    ... def workflow(x):
    ...     return double(double(x))
    >>> workflow.build_graph(3)
    >>> [node.name for node in workflow.transport_graph.nodes]
    ['double', ':parameter:3', 'double']
    """
    given = checked(settings, LATTICE)  # a wrong one is reported where it was given

    def decorate(function: Callable[..., Any]) -> Lattice:
        check_function("lattice", function)
        return Lattice(function, **given)

    return decorate if function is None else decorate(function)

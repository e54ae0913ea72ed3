"""The families of circuits, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qcov.errors import CannotMeasure, suggest
from qcov_bench.backends import dynamics, mqt, qasm, textbook, variational
from qcov_bench.backends.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Circuits of one kind, of many sizes.

    Args:
        name: By which it is asked for.
        build: Makes the circuit for a number of qubits, a depth and a seed.
        depth: What the depth is, for people; empty where there is none.
        usual_depth: The depth for a number of qubits, where none is asked for.
        least: How many qubits it needs at least.
        wires: How many qubits it has, where that is not to be chosen.
        identity: What tells it from another of the same name, such as a digest of its file.
    """

    name: str
    build: Callable[[int, int, int], Workload]
    depth: str = ""
    usual_depth: Callable[[int], int] = lambda _wires: 1
    least: int = 1
    wires: int | None = None
    identity: str = ""

    @property
    def about(self) -> str:
        """One line about it."""
        return (self.build.__doc__ or self.name).partition("\n")[0]


def _three(_wires: int) -> int:
    return 3


def _as_many(wires: int) -> int:
    return wires


STANDARD = (
    Family(name="ghz", build=textbook.ghz, least=2),
    Family(name="qft", build=textbook.qft),
    Family(
        name="grover", build=textbook.grover, least=2,
        depth="iterations", usual_depth=textbook.best_iterations,
    ),
    Family(name="qaoa", build=variational.qaoa, least=2, depth="layers"),
    Family(name="vqe", build=variational.vqe, least=2, depth="layers", usual_depth=_three),
    Family(name="kernel", build=variational.kernel, depth="repetitions of the feature map"),
    Family(name="ising", build=dynamics.ising, depth="Trotter steps", usual_depth=_three),
    Family(name="random", build=dynamics.random, depth="layers", usual_depth=_as_many),
)  # fmt: skip


def find(names: Sequence[str]) -> list[Family]:
    """The families that are meant, in order; a folder stands for one family for each file.

    Args:
        names: A standard family's name, "mqt:NAME" of MQT Bench, or the path of an OpenQASM file
            or of a folder with such files.

    Raises:
        CannotMeasure: A name means nothing, a file is no circuit, or something is not installed.

    Example:
        >>> [family.name for family in find(["ghz", "qft"])]
        ['ghz', 'qft']
    """
    found: dict[str, Family] = {}
    for name in names:
        for family in _find(name):
            found.setdefault(family.name, family)
    return list(found.values())


def _find(name: str) -> list[Family]:
    standard = {family.name: family for family in STANDARD}
    if name in standard:
        return [standard[name]]
    if name.startswith("mqt:"):
        benchmark = name.removeprefix("mqt:")
        return [Family(name=name, build=mqt.builder(benchmark))]
    path = Path(name)
    if path.is_dir():
        return [_of_file(file) for file in qasm.files_in(path)]
    if path.is_file():
        return [_of_file(path)]
    advice = f"{suggest(name, standard)} Or give an OpenQASM file or folder, or mqt:NAME."
    raise CannotMeasure(what=f"the family {name!r}", reason="there is none", advice=advice)


def _of_file(path: Path) -> Family:
    circuit = qasm.read(path)

    def build(_wires: int, _depth: int, _seed: int) -> Workload:
        return circuit.workload

    build.__doc__ = f"{path.name}, {circuit.gates} gates."
    wires = circuit.workload.wires
    return Family(name=path.name, build=build, wires=wires, identity=circuit.digest)

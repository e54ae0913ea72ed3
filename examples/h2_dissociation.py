"""The dissociation curve of a small molecule, by a variational quantum eigensolver (VQE).

For each bond length a sublattice builds the molecule's Hamiltonian, minimises the energy of a
parametrised circuit, and compares it with exact diagonalisation. The energy is a qelectron: its
circuits, those for its gradients included, go to a cluster of simulators.

Kill it midway and run the same command again: what was finished is kept, the rest goes on.

    python examples/h2_dissociation.py --molecule HeH+ --bonds 0.8,1.0 --executors default.qubit
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from scipy.optimize import minimize

import qcov as ct

#: Symbols, total charge, and how many electrons and orbitals are correlated (None: all).
MOLECULES: dict[str, tuple[list[str], int, int | None, int | None]] = {
    "H2": (["H", "H"], 0, None, None),
    "HeH+": (["He", "H"], 1, None, None),
    "LiH": (["Li", "H"], 0, 2, 2),
}
BONDS = (0.4, 0.6, 0.735, 0.9, 1.2, 1.6, 2.0, 2.5)  # angstrom
SHORTEST, LONGEST = 0.1, 10.0  # angstrom


@ct.electron
def hamiltonian(molecule: str, bond: float) -> tuple[Any, int, int]:
    """The molecule's qubit Hamiltonian, with its number of qubits and of electrons."""
    symbols, charge, active_electrons, active_orbitals = MOLECULES[molecule]
    atoms = qml.qchem.Molecule(
        symbols,
        np.array([[0.0, 0.0, 0.0], [0.0, 0.0, bond]]),
        charge=charge,
        unit="angstrom",
    )
    operator, qubits = qml.qchem.molecular_hamiltonian(
        atoms, active_electrons=active_electrons, active_orbitals=active_orbitals
    )
    return operator, qubits, active_electrons or atoms.n_electrons


@ct.electron
def vqe(operator: Any, qubits: int, electrons: int, devices: list[str]) -> float:
    """The lowest energy of a circuit of single and double excitations, in hartree."""
    singles, doubles = qml.qchem.excitations(electrons, qubits)
    reference = qml.qchem.hf_state(electrons, qubits)

    @ct.qelectron(executors=[ct.executor.Simulator(device=name) for name in devices])
    @qml.qnode(qml.device("default.qubit", wires=qubits))
    def energy(angles: Any) -> Any:
        """The energy of the trial state."""
        qml.AllSinglesDoubles(angles, range(qubits), reference, singles, doubles)
        return qml.expval(operator)

    gradient = qml.grad(energy)
    start = qml.numpy.zeros(len(singles) + len(doubles), requires_grad=True)
    found = minimize(
        lambda angles: float(energy(qml.numpy.array(angles, requires_grad=False))),
        start,
        jac=lambda angles: np.asarray(gradient(qml.numpy.array(angles, requires_grad=True))),
        method="BFGS",
        options={"gtol": 1e-4},
    )
    return float(found.fun)


@ct.electron
def exact(operator: Any, qubits: int, electrons: int) -> float:
    """The lowest eigenvalue among the states with this many electrons, in hartree."""
    matrix = qml.matrix(operator, wire_order=range(qubits))
    states = [state for state in range(2**qubits) if state.bit_count() == electrons]
    return float(np.linalg.eigvalsh(matrix[np.ix_(states, states)])[0])


@ct.electron
@ct.lattice
def point(molecule: str, bond: float, devices: list[str]) -> tuple[float, Any, Any]:
    """One bond length: the VQE's energy and the exact one."""
    operator, qubits, electrons = hamiltonian(molecule, bond)
    return (
        bond,
        vqe(operator, qubits, electrons, devices),
        exact(operator, qubits, electrons),
    )


@ct.lattice
def dissociation(molecule: str, bonds: list[float], devices: list[str]) -> list[Any]:
    """The whole curve."""
    return [point(molecule, bond, devices) for bond in bonds]


def main() -> None:
    """Run the curve, show it, and say where its circuits ran."""
    arguments = parse()
    console = Console(stderr=arguments.json)
    look = "`qcov ls` lists it"
    try:
        dispatch_id = start(arguments)
        look = f"`qcov show {dispatch_id}` shows it"
        console.print(f"dispatch {dispatch_id}")
        follow(dispatch_id, console)
        result = ct.get_result(dispatch_id, wait=True)
        if result.status != ct.status.COMPLETED:
            raise SystemExit(result.error or f"dispatch {dispatch_id} is {result.status}")
        show(result, arguments, console)
        if arguments.json:
            print(json.dumps(described(result, arguments), indent=2))
    except KeyboardInterrupt:
        line = f"The dispatch goes on: {look}, and the same command follows it again."
        print(line, file=sys.stderr)
        raise SystemExit(130) from None


def start(arguments: argparse.Namespace) -> str:
    """Dispatch the curve, or find the dispatch that was made for the same arguments."""
    work = (arguments.molecule, arguments.bonds, arguments.executors)
    key = "dissociation-" + hashlib.sha256(repr((work, arguments.again)).encode()).hexdigest()
    return ct.dispatch(dissociation, key=key)(*work)


def follow(dispatch_id: str, console: Console) -> None:
    """Show how far the dispatch is, until it has ended."""
    columns = (TextColumn("electrons"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("electrons")
        for state in ct.watch(dispatch_id):
            bar.update(task, completed=state.done, total=state.total)


def show(result: ct.Result, arguments: argparse.Namespace, console: Console) -> None:
    """Print the curve and where its circuits ran, and draw the curve."""
    curve = result.result
    table = Table(title=f"{arguments.molecule}: energies in hartree")
    for name in ("bond (Å)", "VQE", "exact", "difference (mHa)"):
        table.add_column(name, justify="right")
    for bond, found, true in curve:
        table.add_row(f"{bond:.3f}", f"{found:.6f}", f"{true:.6f}", f"{(found - true) * 1000:.4f}")
    console.print(table)
    for row in result.circuit_summary():
        where = f"{row['executor']}({row['device']})"
        console.print(f"{row['circuits']} circuits ran on {where}, {row['seconds']:.2f} s")
    replaced = " (it replaces the file that was there)" if arguments.output.exists() else ""
    try:
        draw(curve, arguments)
    except ImportError:
        console.print("There is no picture without matplotlib: `pip install matplotlib`.")
    else:
        console.print(f"The curve is in {arguments.output.resolve()}{replaced}.", soft_wrap=True)
    console.print("See the run in the browser: `qcov start`, then choose it from the list.")


def described(result: ct.Result, arguments: argparse.Namespace) -> dict[str, Any]:
    """The curve for other programs: lengths in angstrom, energies in hartree."""
    names = ("bond", "vqe", "exact")
    return {
        "dispatch_id": result.dispatch_id,
        "molecule": arguments.molecule,
        "curve": [dict(zip(names, point, strict=True)) for point in result.result],
        "circuits": result.circuit_summary(),
    }


def draw(curve: list[Any], arguments: argparse.Namespace) -> None:
    """Write the curve as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bonds, found, true = zip(*sorted(curve), strict=True)
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(bonds, true, "-", label="exact")
    axes.plot(bonds, found, "o", label="VQE")
    axes.set(xlabel="bond length (Å)", ylabel="energy (Ha)", title=arguments.molecule)
    axes.legend()
    figure.savefig(arguments.output, dpi=150)


def parse() -> argparse.Namespace:
    """Read the command line; what cannot work is refused here, before anything is dispatched."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--molecule", choices=sorted(MOLECULES), default="H2", help="what to stretch (H2)"
    )
    parser.add_argument(
        "--bonds",
        type=_bonds,
        default=list(BONDS),
        metavar="LENGTHS",
        help="bond lengths in angstrom, separated by commas: 0.5,0.735",
    )
    parser.add_argument(
        "--executors",
        type=_devices,
        default=["lightning.qubit", "default.qubit"],
        metavar="DEVICES",
        help="simulator devices that take the circuits in turns, separated by commas",
    )
    parser.add_argument(
        "--output",
        type=_picture,
        default=Path("dissociation.png"),
        metavar="FILE",
        help="the picture of the curve: .png, .pdf or .svg (dissociation.png)",
    )
    parser.add_argument(
        "--again",
        default="",
        metavar="NAME",
        help="compute a curve that is there already once more, and keep it under any NAME; "
        "the same NAME shows it again",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the curve as JSON, and all else on stderr"
    )
    return parser.parse_args()


def _bonds(text: str) -> list[float]:
    """Bond lengths in angstrom."""
    return [_bond(part) for part in _parts(text)]


def _bond(text: str) -> float:
    try:
        bond = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not (math.isfinite(bond) and SHORTEST <= bond <= LONGEST):
        raise argparse.ArgumentTypeError(
            f"{text} is not a bond length between {SHORTEST:g} and {LONGEST:g} angstrom"
        )
    return bond


def _devices(text: str) -> list[str]:
    """Names of simulators, each of which has run a circuit."""
    names = _parts(text)
    for name in names:
        try:
            with warnings.catch_warnings(action="ignore"):
                _try(name)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise argparse.ArgumentTypeError(f"{name!r} cannot be used: {reason}") from error
    return names


def _try(device: str) -> None:
    @ct.qelectron(executors=ct.executor.Simulator(device=device))
    @qml.qnode(qml.device("default.qubit", wires=2))
    def trial() -> Any:
        qml.SingleExcitation(0.1, wires=[0, 1])
        return qml.expval(qml.Z(0) @ qml.X(1))

    trial()


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix not in {".png", ".pdf", ".svg"}:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png, .pdf or .svg")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(path.parent)!r}")
    return path


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise argparse.ArgumentTypeError("at least one is needed")
    return parts


if __name__ == "__main__":
    main()

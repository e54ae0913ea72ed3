"""`qcov bench backends`: what was typed, and what is printed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from qcov.errors import QcovError
from qcov_bench.backends import families
from qcov_bench.backends.comparison import Comparison, check_place, compare
from qcov_bench.backends.devices import USUAL
from qcov_bench.backends.interrupt import heeded
from qcov_bench.backends.procedure import Procedure
from qcov_bench.backends.terminal import progress, show

_EXECUTORS = ("Simulator:default.qubit", "Simulator:lightning.qubit")
_CIRCUITS = "ghz,qft,grover,qaoa,vqe,kernel,ising,random"
_ANALYTIC = ("analytic", "none")


def main(arguments: Sequence[str], *, prog: str) -> None:
    """Measure, print, and write what was asked for.

    Exits with 2 if it was written wrongly, with 1 if it cannot be done, with 130 after Ctrl-C.
    """
    parser = _parser(prog)
    wanted = parser.parse_args(arguments)
    if wanted.list:
        _list()
        return
    path = Path(wanted.out or time.strftime("backends-%Y%m%d-%H%M%S.jsonl"))
    try:
        _check_places(wanted)
        found = _measured(wanted, path)
        if wanted.json:
            _tell_programs(found)
        else:
            show(found.lines)
        if wanted.html:
            found.write_html(wanted.html)
        if wanted.svg:
            found.write_plots(wanted.svg)
    except KeyboardInterrupt:
        print(f"\nInterrupted. What was measured is in {path}: {_AGAIN}", file=sys.stderr)
        sys.exit(130)
    except QcovError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"\nresults: {path}; {_AGAIN}", file=sys.stderr if wanted.json else None)


def _tell_programs(found: Comparison) -> None:
    for line in found.lines:
        print(json.dumps(line))


_AGAIN = "the same command with --out and this path goes on there."


def _check_places(wanted: argparse.Namespace) -> None:
    for path, folder in ((wanted.html, False), (wanted.svg, True)):
        if path:
            check_place(Path(path), folder=folder)


def _measured(wanted: argparse.Namespace, path: Path) -> Comparison:
    procedure = Procedure(
        batch=wanted.batch,
        repetitions=wanted.repetitions,
        enough=wanted.enough,
        warm_up=wanted.warm_up,
        gradients=wanted.gradients,
        exact_until=wanted.exact_until,
        seed=wanted.seed,
        retry=wanted.retry,
    )
    with progress() as told, heeded(told) as tell:
        return compare(
            wanted.executors or _EXECUTORS,
            circuits=wanted.circuits,
            qubits=wanted.qubits,
            depths=wanted.depths,
            shots=wanted.shots,
            peers=wanted.peers,
            procedure=procedure,
            max_seconds=wanted.max_seconds,
            max_usd=wanted.max_usd,
            unknown_price=wanted.unknown_price,
            path=path,
            tell=tell,
        )


def _list() -> None:
    for family in families.STANDARD:
        print(f"{family.name:10}{family.about}")
    print("FILE, DIR OpenQASM 2 or 3")
    print("mqt:NAME  a benchmark of MQT Bench, where it is installed")


# -- what may be typed -------------------------------------------------------------------------


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Measure quantum backends beside each other on the same circuits, in turns.",
    )
    parser.add_argument(
        "executors", nargs="*", metavar="EXECUTOR",
        help="CLASS, CLASS:SETTINGS, '[qelectron.NAME]' or MODULE:OBJECT; by default "
        + " ".join(_EXECUTORS),
    )  # fmt: skip
    _add_circuits(parser)
    _add_procedure(parser)
    _add_outputs(parser)
    return parser


def _add_circuits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("circuits")
    group.add_argument(
        "--circuits", type=_names, default=_names(_CIRCUITS), metavar="A,B",
        help="families, OpenQASM files or folders, mqt:NAME; by default all standard families",
    )  # fmt: skip
    group.add_argument("--qubits", type=_numbers, default=[4, 8], metavar="N,M", help="4,8")
    group.add_argument(
        "--depths", type=_or_none("usual"), default=[None], metavar="N,M",
        help="layers, steps or iterations; by default 'usual', what is usual in each family",
    )  # fmt: skip
    group.add_argument(
        "--shots", type=_or_none(*_ANALYTIC), default=[None], metavar="N,M",
        help="by default 'analytic'",
    )  # fmt: skip
    group.add_argument(
        "--peers", type=_peers, default=None, metavar="A,B",
        help="PennyLane devices beside the executors, or 'none'; by default their bare devices, "
        + ", ".join(USUAL),
    )  # fmt: skip
    group.add_argument("--list", action="store_true", help="list the circuits and end")


def _add_procedure(parser: argparse.ArgumentParser) -> None:
    usual = Procedure()
    group = parser.add_argument_group("procedure")

    def add(name: str, kind: Callable[[str], object], default: object, text: str) -> None:
        group.add_argument(name, type=kind, default=default, help=f"{text} (%(default)s)")

    add("--batch", int, usual.batch, "circuits that are handed over together")
    add("--repetitions", int, usual.repetitions, "of each measurement")
    add("--enough", float, usual.enough, "seconds of one measurement, after which it ends")
    add("--warm-up", int, usual.warm_up, "how often before, uncounted")
    add("--exact-until", int, usual.exact_until, "qubits up to which values are checked")
    add("--seed", int, usual.seed, "of parameters, graphs and the order")
    group.add_argument(
        "--no-gradients", dest="gradients", action="store_false", help="measure none"
    )
    group.add_argument("--max-seconds", type=_amount, help="after which nothing new begins")
    group.add_argument("--max-usd", type=_amount, help="that executors may cost together")
    group.add_argument(
        "--unknown-price", action="store_true", help="run what does not know what it costs"
    )
    group.add_argument("--retry", action="store_true", help="try again what failed before")


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results")
    group.add_argument(
        "--out", metavar="FILE", help="JSON lines; a file that is there already goes on"
    )
    group.add_argument("--json", action="store_true", help="print the lines, and no tables")
    group.add_argument("--html", metavar="FILE", help="a report in one file")
    group.add_argument("--svg", metavar="FOLDER", help="its plots, a file each")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("nothing is named")
    return names


def _peers(text: str) -> list[str]:
    return [] if text == "none" else _names(text)


def _numbers(text: str) -> list[int]:
    return [_whole(part) for part in _names(text)]


def _or_none(*words: str) -> Callable[[str], list[int | None]]:
    def parse(text: str) -> list[int | None]:
        return [None if part in words else _whole(part) for part in _names(text)]

    return parse


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 0 or more")
    return amount

"""Run the benchmarks and print what they say."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from qcov_bench.rows import LeftOut, Row

_SUITES = {
    "qelectrons": "qelectron",
    "circuits": "circuits",
    "parallel": "parallel",
    "qiskit": "qiskit_jobs",
    "engine": "engine",
    "start": "start",
    "server": "server",
    "chaos": "chaos",
}
#: What has options, tables and files of its own.
_COMMANDS = {
    "backends": "qcov_bench.backends.command",
    "compare": "qcov_bench.backends.compare_command",
}
_WIDTH = 160  #: a terminal that is narrower breaks the lines, rather than the words in a column
_PACKAGES = ("qcov", "pennylane", "pennylane-lightning", "numpy", "sqlalchemy", "distributed")


def main(arguments: Sequence[str] | None = None, *, prog: str = "qcov_bench") -> None:
    """Print one table; exit with 1 if a goal is missed and `--strict` is given.

    Args:
        arguments: What was typed; by default, what this program was given.
        prog: What the program is called in its help.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    if typed and typed[0] in _COMMANDS:
        command = importlib.import_module(_COMMANDS[typed[0]])
        command.main(typed[1:], prog=f"{prog} {typed[0]}")
        return
    wanted = _parse(typed, prog)
    signal.signal(signal.SIGTERM, _end)  # or the engine that is measured would stay behind
    machine = _machine()
    rows: list[Row] = []
    left_out: list[LeftOut] = []
    for suite in wanted.suites or _SUITES:
        options = _options(suite, wanted)
        for row in importlib.import_module(f"qcov_bench.{_SUITES[suite]}").rows(**options):
            print(f"measured: {row.name}", file=sys.stderr)  # some take minutes
            (left_out if isinstance(row, LeftOut) else rows).append(row)
    (_tell_programs if wanted.json else _tell)(machine, rows, left_out)
    if wanted.strict and not all(row.met for row in rows):
        sys.exit(1)


def _tell(machine: str, rows: list[Row], left_out: list[LeftOut]) -> None:
    console = Console(width=max(Console().width, _WIDTH))
    console.print(machine)
    console.print(_table(rows))
    for missing in left_out:
        console.print(f"left out: {missing.name}: {missing.reason}")


def _tell_programs(machine: str, rows: list[Row], left_out: list[LeftOut]) -> None:
    told = {
        "machine": machine,
        "rows": [{**asdict(row), "met": row.met} for row in rows],
        "left_out": [asdict(missing) for missing in left_out],
    }
    print(json.dumps(told, indent=2))


def _parse(arguments: Sequence[str], prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, epilog=_epilog(prog))
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(_SUITES)}")
    parser.add_argument("--strict", action="store_true", help="fail if a goal is missed")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parser.add_argument(
        "--heavy", action="store_true", help="all rows of `parallel`, which takes an hour"
    )
    parser.add_argument(
        "--peers",
        metavar="PYTHON",
        action="append",
        default=[],
        help="an interpreter that has engines to compare with, besides this one; several times",
    )
    wanted = parser.parse_args(arguments)
    unknown = set(wanted.suites) - set(_SUITES)
    if unknown:
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(_SUITES)}")
    return wanted


def _epilog(prog: str) -> str:
    return (
        f"Besides: `{prog} backends` measures quantum backends beside each other, and "
        f"`{prog} compare A B` says what has changed between two of its results; each has --help."
    )


def _end(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


def _options(suite: str, wanted: argparse.Namespace) -> dict[str, Any]:
    return {"parallel": {"heavy": wanted.heavy}, "engine": {"pythons": wanted.peers}}.get(suite, {})


def _machine() -> str:
    load = os.getloadavg()[0]
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load:.1f}"
    return f"{system}; Python {platform.python_version()}; " + ", ".join(map(_version, _PACKAGES))


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def _table(rows: list[Row]) -> Table:
    table = Table(title="medians, measured in turns")
    for name in ("what", "qcov", "yardstick", "", "ratio", "goal", "met"):
        words = name in ("what", "")
        table.add_column(name, justify="left" if words else "right", no_wrap=not words)
    for row in rows:
        theirs = "" if row.theirs is None else _shown(row, row.theirs)
        ratio = "" if row.theirs is None else f"{row.ours / row.theirs:.2f}"
        goal, met = _goal(row)
        table.add_row(row.name, _shown(row, row.ours), theirs, row.yardstick, ratio, goal, met)
    return table


def _goal(row: Row) -> tuple[str, str]:
    """What was to be reached, and whether it was."""
    if row.limit is None and row.ratio is None:
        return "", ""
    limit = f"ratio {row.ratio:.3g}" if row.limit is None else _shown(row, row.limit)
    return f"≤ {limit}", "yes" if row.met else "no"


def _shown(row: Row, amount: float) -> str:
    return _time(amount, row.count) if row.unit == "s" else f"{amount:,.0f} {row.unit}".strip()


def _time(taken: float, count: int) -> str:
    each = f" ({count / taken:,.0f}/s)" if count > 1 else ""
    return (f"{taken * 1e3:,.1f} ms" if taken >= 1e-3 else f"{taken * 1e6:,.0f} us") + each


if __name__ == "__main__":
    main()

"""Run the benchmarks and print what they say."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.table import Table

from qcov_bench.rows import Row

_SUITES = {
    "qelectrons": "qelectron",
    "circuits": "circuits",
    "parallel": "parallel",
    "electrons": "electrons",
    "start": "start",
}
_WIDTH = 160  #: a terminal that is narrower breaks the lines, rather than the words in a column
_PACKAGES = ("qcov", "pennylane", "pennylane-lightning", "numpy", "sqlalchemy", "distributed")


def main() -> None:
    """Print one table; exit with 1 if a goal is missed and `--strict` is given."""
    parser = argparse.ArgumentParser(prog="qcov_bench", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(_SUITES)}")
    parser.add_argument("--strict", action="store_true", help="fail if a goal is missed")
    parser.add_argument(
        "--heavy", action="store_true", help="all rows of `parallel`, which takes an hour"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.suites) - set(_SUITES)
    if unknown:
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(_SUITES)}")
    console = Console(width=max(Console().width, _WIDTH))
    console.print(_machine())
    rows: list[Row] = []
    for suite in arguments.suites or _SUITES:
        options = {"heavy": True} if suite == "parallel" and arguments.heavy else {}
        for row in importlib.import_module(f"qcov_bench.{_SUITES[suite]}").rows(**options):
            print(f"measured: {row.name}", file=sys.stderr)  # some take minutes
            rows.append(row)
    console.print(_table(rows))
    if arguments.strict and not all(row.met for row in rows):
        sys.exit(1)


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
        limit = f"ratio {row.ratio:.3g}" if row.limit is None else _shown(row, row.limit)
        ours = _shown(row, row.ours)
        met = "yes" if row.met else "no"
        table.add_row(row.name, ours, theirs, row.yardstick, ratio, f"≤ {limit}", met)
    return table


def _shown(row: Row, amount: float) -> str:
    return _time(amount, row.count) if row.unit == "s" else f"{amount:,.0f} {row.unit}".strip()


def _time(taken: float, count: int) -> str:
    each = f" ({count / taken:,.0f}/s)" if count > 1 else ""
    return (f"{taken * 1e3:,.1f} ms" if taken >= 1e-3 else f"{taken * 1e6:,.0f} us") + each


if __name__ == "__main__":
    main()

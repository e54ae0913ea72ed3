"""What `import qcov` costs."""

from __future__ import annotations

import statistics
import subprocess
import sys

from qcov_bench.rows import Row, seconds

_LIMIT = 0.15


def rows() -> list[Row]:
    """The import, beside an interpreter that does nothing; both as whole processes."""
    taken: dict[str, list[float]] = {"import qcov": [], "pass": []}
    for _ in range(11):
        for code, times in taken.items():
            times.append(seconds(lambda code=code: _run(code)))
    bare = statistics.median(taken["pass"])
    ours = statistics.median(taken["import qcov"]) - bare
    return [
        Row(name="import qcov", ours=ours, theirs=bare, yardstick="an empty Python", limit=_LIMIT)
    ]


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)

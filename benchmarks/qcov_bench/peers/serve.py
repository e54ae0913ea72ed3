"""Run a peer and measure it: `python serve.py MODULE PACKAGE`, in an interpreter that has it.

Lines come in, `fan 1000` or `chain 100`; a line of JSON goes out for each, and one before
them. Only the standard library is here, and what the peer's module imports.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main(module: str, package: str) -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # peers print what they like

    def answer(**message: Any) -> None:
        print(json.dumps(message), file=answers, flush=True)

    with _load(module).opened() as works:
        answer(version=version(package))
        for line in sys.stdin:
            work, size = line.split()
            started = time.perf_counter()
            result = works[work](int(size))
            taken = time.perf_counter() - started
            expected = list(range(int(size))) if work == "fan" else int(size)
            assert result == expected, f"{work} {size} gave {result!r}"
            answer(seconds=taken)


def _load(name: str) -> Any:
    """A module that nobody can import, so that its functions travel whole."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(*sys.argv[1:])

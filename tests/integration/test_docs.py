"""The pages' programs run as they are printed: each page is one script with its own engine."""

from __future__ import annotations

import doctest
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import qcov
import qcov.executor
from qcov import errors

_ROOT = Path(__file__).parents[2]
_PAGES = (
    "README.md",
    "docs/how-to/benchmark_backends.md",
    pytest.param(
        "docs/how-to/braket.md",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("braket") is None,
            reason="Braket's SDK supports Python 3.11 and 3.12",
        ),
    ),
    "docs/how-to/executors.md",
    "docs/how-to/ibm_quantum.md",
    "docs/how-to/jobs.md",
    "docs/how-to/qelectrons.md",
    "docs/how-to/qiskit.md",
    "docs/how-to/terminal_and_notebooks.md",
    "docs/how-to/workflows.md",
    "docs/reference/api.md",
)
_PROMISE = re.compile(r"^print\(.*\)  # (?P<said>.*)$")


def program(page: str) -> str:
    """The page's Python blocks where they stand, so that a traceback has the page's lines."""
    inside, lines = False, list[str]()
    for line in page.splitlines():
        if line.startswith("```"):
            inside = line == "```python"
            lines.append("")
        else:
            lines.append(line if inside else "")
    return "\n".join(lines)


def promises(text: str) -> list[str]:
    """What the comments behind `print(...)` say will be printed; `...` stands for anything."""
    found = map(_PROMISE.match, map(str.strip, text.splitlines()))
    return [match["said"] for match in found if match]


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("name", _PAGES)
def test_the_programs_of_a_page_print_what_it_says(name: str, tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text(program((_ROOT / name).read_text()))

    ran = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=500
    )

    assert ran.returncode == 0, ran.stderr
    said, expected = ran.stdout.splitlines(), promises(script.read_text())
    assert len(said) == len(expected), ran.stdout
    same = doctest.OutputChecker().check_output
    wrong = [
        (line, wanted)
        for line, wanted in zip(said, expected, strict=True)
        if not same(f"{wanted}\n", f"{line}\n", doctest.ELLIPSIS)
    ]
    assert not wrong


def test_the_reference_has_every_public_name() -> None:
    page = (_ROOT / "docs/reference/api.md").read_text()
    lines = re.findall(r"(?m)^### .*", page)
    titles = [name for line in lines for name in re.findall(r"`([\w.]+)", line)]
    names = {f"ct.{name}" for name in qcov.__all__}
    names |= {f"ct.executor.{name}" for name in qcov.executor.__all__}

    assert names == set(titles)
    assert len(titles) == len(names)


def test_the_reference_has_the_tree_of_errors() -> None:
    tree = str(errors.__doc__).partition("\n\n")[2].partition("\n\n")[0]

    assert f"```text\n{tree}\n```" in (_ROOT / "docs/reference/api.md").read_text()


def test_a_wrong_promise_is_found() -> None:
    page = "```python\nprint(1)  # 2\n    print(x)  # a...\n```\n```console\nprint(3)  # 3\n```\n"

    assert promises(program(page)) == ["2", "a..."]

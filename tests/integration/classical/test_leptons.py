"""Leptons as nodes of a graph."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import qcov as ct

pytestmark = pytest.mark.usefixtures("common_engine")


def test_they_work_with_electrons() -> None:
    @ct.leptons.bash
    def repeat(word: str, times: int) -> str:
        return f"for i in $(seq {times}); do echo {word}; done; echo told >&2"

    count = ct.Lepton("bash", command="n=$(wc -l <<< $1)", named_outputs=["n"], argtypes=[(int, 1)])

    @ct.electron
    def three() -> int:
        return 3

    @ct.lattice
    def workflow() -> Any:
        text = repeat("a", three())
        return text, ct.Lepton("bash", command='echo "$X-$1"')(three(), X=text)

    result = ct.dispatch_sync(workflow)()

    assert result.status == "COMPLETED", result.error
    assert result.result == ("a\na\na", "a\na\na-3")
    node = result.get_node_result(1)
    assert (node["node_name"], node["stdout"], node["stderr"]) == ("repeat", "a\na\na\n", "told\n")
    assert count("x") == 1


def test_one_that_fails_says_why() -> None:
    result = ct.dispatch_sync(ct.lattice(ct.Lepton("bash", command="nonsense-command")))()

    assert result.status == "FAILED"
    assert "lepton 'bash' failed: exit status 127. It said: " in str(result.error)


# -- files that are written between two runs of a program

PROGRAM = """
    import sys
    from ctypes import POINTER, c_double
    import qcov as ct

    types = [(c_double, ct.Lepton.INPUT), (POINTER(c_double), ct.Lepton.OUTPUT)]
    settings = {"C": {"argtypes": types}}.get(LANGUAGE, {})
    work = ct.Lepton(
        LANGUAGE, library_name=FILE, function_name="f", cache=len(sys.argv) > 1, **settings
    )
    print(float(ct.dispatch_sync(ct.lattice(lambda x: work(x)))(1.0).result))
"""


def compiled(folder: Path, value: int) -> None:
    (folder / "code.c").write_text(f"void f(double x, double *y) {{ *y = x * {value}; }}")
    library, source = str(folder / "code.so"), str(folder / "code.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)


def imported(folder: Path, value: int) -> None:
    (folder / "code.py").write_text("import beside_code\ndef f(x): return beside_code.VALUE * x\n")
    (folder / "beside_code.py").write_text(f"VALUE = {value}\n")


def loaded(folder: Path, value: int) -> None:
    (folder / "code.py").write_text(f"def f(x): return {value} * x\n")


def sourced(folder: Path, value: int) -> None:
    (folder / "code.sh").write_text(f"f() {{ echo {value}; }}\n")


@pytest.mark.parametrize(
    ("language", "name", "write"),
    [("C", "code.so", compiled), ("python", "code.py", imported), ("bash", "code.sh", sourced)],
    ids=["C", "python", "bash"],
)
def test_what_is_in_a_file_now_is_run_and_kept(
    script: Any, language: str, name: str, write: Callable[[Path, int], None]
) -> None:
    file = str(script.folder / name)
    script.write(PROGRAM.replace("LANGUAGE", repr(language)).replace("FILE", repr(file)))
    for value in (1, 22):
        write(script.folder, value)
        ran = [script.run(*args) for args in ((), ("cache",), ())]
        assert ran == [f"{value}.0"] * 3


@pytest.mark.parametrize(
    ("language", "name", "write"),
    [("C", "code.so", compiled), ("python", "code.py", loaded), ("bash", "code.sh", sourced)],
    ids=["C", "python", "bash"],
)
def test_a_file_that_is_written_while_its_dispatch_waits(
    script: Any, gate: Any, language: str, name: str, write: Callable[[Path, int], None]
) -> None:
    """What it does then is not kept for what stood in it when the dispatch was made."""
    waiting = """
    if "wait" in sys.argv:
        @ct.electron
        def first(x):
            open(BEGUN, "w").close()
            open(OPEN).read()
            return x

        ct.dispatch_sync(ct.lattice(lambda x: work(first(x))))(1.0)
        sys.exit()
    print("""
    program = PROGRAM.replace("\n    print(", waiting, 1)
    for word, value in (("LANGUAGE", language), ("FILE", str(script.folder / name))):
        program = program.replace(word, repr(value))
    for word, path in (("BEGUN", gate.begun), ("OPEN", gate.open)):
        program = program.replace(word, repr(str(path)))
    script.write(program)
    write(script.folder, 1)
    running = script.start("wait")
    gate.wait()
    write(script.folder, 22)
    gate.let_go()
    assert running.communicate(timeout=60)[1] == ""

    write(script.folder, 1)
    assert script.run("cache") == "1.0"

"""Leptons: shell commands, C libraries and Python files as tasks."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from ctypes import POINTER, c_double, c_int32, c_int64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qcov as ct
from qcov.classical.code_key import Keys
from qcov.classical.manifest import build_manifest
from qcov.errors import ElectronMisuse, LeptonFailed, WrongArguments, WrongSetting
from qcov.transport import dumps, loads

IN, OUT, BOTH = ct.Lepton.INPUT, ct.Lepton.OUTPUT, ct.Lepton.INPUT_OUTPUT

C = """
#include <stdint.h>
void add(int32_t x, int32_t *y, int32_t *z) { *y += x; *z = x * *y; }
void scale(double by, double *values, int64_t count) {
    for (int64_t at = 0; at < count; at++) values[at] *= by;
}
void sum(const double *values, int64_t count, double *total) {
    *total = 0;
    for (int64_t at = 0; at < count; at++) *total += values[at];
}
void nothing(void) {}
"""
ADD = [(c_int32, IN), (POINTER(c_int32), BOTH), (POINTER(c_int32), OUT)]
SCALE = [(c_double, IN), (POINTER(c_double), BOTH), (c_int64, IN)]
SUM = [(POINTER(c_double), IN), (c_int64, IN), (POINTER(c_double), OUT)]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("library")
    (folder / "tested.c").write_text(C)
    made = folder / "libtested.so"
    command = ["cc", "-shared", "-fPIC", "-o", str(made), str(folder / "tested.c")]
    subprocess.run(command, check=True)
    return str(made)


@pytest.mark.parametrize(
    ("name", "types", "args", "value"),
    [
        ("add", ADD, (2, 3, 0), (5, 10)),
        ("add", ADD, (2, 3), (5, 10)),  # an output may be left out
        ("add", ADD, (np.int64(2), np.int32(3)), (5, 10)),
        ("add", ADD, (2, [3, 8], [0]), ([5, 8], [10])),
        ("scale", SCALE, (2, [1.0, 2.5], 2), [2.0, 5.0]),
        ("sum", SUM, ([1, 2, 3], 3), 6.0),
        ("sum", SUM, (np.arange(4.0), 4, 0.0), 6.0),
        ("nothing", [], (), None),
    ],
)
def test_functions_of_c(library: str, name: str, types: Any, args: Any, value: Any) -> None:
    task = ct.Lepton("C", library_name=library, function_name=name, argtypes=types)

    assert task(*args) == value
    assert loads(dumps(task.function, what="it"))(*args) == value


def test_arrays_keep_their_shape_and_what_was_given(library: str) -> None:
    task = ct.Lepton("C", library_name=library, function_name="scale", argtypes=SCALE)
    given = np.arange(6.0).reshape(2, 3).T  # not contiguous

    returned = task(10.0, given, 6)

    np.testing.assert_array_equal(returned, 10 * given)
    assert given[1, 1] == 4.0


@pytest.mark.parametrize(
    ("use", "reason"),
    [
        (lambda so: ("/absent/lib.so", "add", ADD), "lib.so cannot be loaded: .*whole path"),
        (lambda so: (so, "subtract", ADD), "has no function 'subtract'.*extern"),
        (
            lambda so: (so, "add", [*ADD, (c_int32, IN)]),
            "takes 4 arguments, outputs among them, or 3",
        ),
    ],
)
def test_what_c_cannot_do(library: str, use: Callable[[str], Any], reason: str) -> None:
    path, name, types = use(library)
    task = ct.Lepton("C", library_name=path, function_name=name, argtypes=types)

    with pytest.raises(LeptonFailed, match=f"lepton '{name}' failed: .*{reason}"):
        task(1)


@pytest.mark.parametrize("large", [2**31, -(2**31) - 1, 10**30])
def test_a_number_that_c_would_cut_off(library: str, large: int) -> None:
    task = ct.Lepton("C", library_name=library, function_name="add", argtypes=ADD)

    with pytest.raises(LeptonFailed, match=f"{large} does not fit into a c_int"):
        task(large, 1)


@pytest.mark.parametrize(
    ("settings", "args", "kwargs", "value"),
    [
        ({"command": "echo a; echo b"}, (), {}, "a\nb"),
        ({"command": 'echo "$2 $1 $MORE"'}, ("x y", 3), {"MORE": 4.5}, "3 x y 4.5"),
        ({"command": "a=1; b='x y'", "named_outputs": ["a", "b"]}, (), {}, ("1", "x y")),
        (
            {"command": "a=$(( $1 * 2 ))", "named_outputs": ["a"], "argtypes": [(int, OUT)]},
            (21,), {}, 42,
        ),
        (
            {"command": "a=7", "named_outputs": ["a"], "argtypes": [(str, IN), (float, OUT)]},
            ("x",), {}, 7.0,
        ),
        ({"command": "line='1\n2'", "named_outputs": ["line"]}, (), {}, "1\n2"),
        ({"command": "true"}, (), {}, ""),
    ],
)  # fmt: skip
def test_commands(settings: Any, args: Any, kwargs: Any, value: Any) -> None:
    assert ct.Lepton("bash", **settings)(*args, **kwargs) == value


def test_a_function_of_a_script(tmp_path: Path) -> None:
    script = tmp_path / "a script.sh"
    script.write_text('greet() { result="hello $1"; echo said; }\n')
    settings = {"library_name": script, "function_name": "greet"}

    assert ct.Lepton("bash", **settings)("you") == "said"  # type: ignore[arg-type]
    assert ct.Lepton("bash", **settings, named_outputs=["result"])("you") == "hello you"  # type: ignore[arg-type]


def test_a_command_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    task = ct.Lepton("bash", command="echo out; echo why >&2; exit 3", display_name="failing")

    with pytest.raises(LeptonFailed, match="lepton 'failing' failed: exit status 3. It said: why"):
        task()

    assert tuple(capfd.readouterr()) == ("out\n", "why\n")


def test_a_function_that_returns_commands() -> None:
    @ct.leptons.bash(display_name="speak", retries=2)
    def task(word: str, times: int = 2) -> str:
        return "\n".join([f"echo {word}"] * times)

    assert task("a", times=3) == "a\na\na"
    assert (task.name, task.get_metadata("retries")) == ("speak", 2)
    with pytest.raises(WrongArguments, match="missing a required argument: 'word'"):
        ct.lattice(task).graph()
    with pytest.raises(LeptonFailed, match=r"it returned 7, not a command"):
        ct.leptons.bash(lambda: 7)()  # type: ignore[arg-type,return-value]


def test_python_files(tmp_path: Path) -> None:
    module = tmp_path / "code.py"
    module.write_text("def add(x, y=1):\n    return x + y\n")

    task = ct.Lepton(library_name=module, function_name="add")

    assert task(1, y=4) == 5
    with pytest.raises(LeptonFailed, match="has no 'ad'.*Did you mean 'add'"):
        ct.Lepton(library_name=module, function_name="ad")(1)
    with pytest.raises(LeptonFailed, match="is no Python file"):
        ct.Lepton(library_name=tmp_path / "none.py", function_name="add")(1)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: ct.Lepton("fortran"), "language must be one of C, bash, python, not 'fortran'"),
        (lambda: ct.Lepton("bash"), "a bash lepton must be given either command, or library"),
        (lambda: ct.Lepton("bash", command="a", library_name="b"), "must be given either"),
        (lambda: ct.Lepton("C", function_name="f"), "library_name of a C lepton must be given"),
        (lambda: ct.Lepton(library_name="f"), "function_name of a python lepton must be given"),
        (lambda: ct.Lepton("bash", command="a", named_outputs=["a b"]), "names of variables"),
        (lambda: ct.Lepton("bash", command="a", named_outputs="ab"), "in a list, not 'ab'"),
        (lambda: ct.Lepton("bash", command=5), "command must be text, not 5"),  # type: ignore[arg-type]
        (
            lambda: ct.Lepton("bash", command="a", named_outputs=["a"], argtypes=[(int, OUT)] * 2),
            "one for each named output, not 2 outputs for 1",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_said_at_once(make: Callable[[], Any], reason: str) -> None:
    with pytest.raises(WrongSetting, match=reason):
        make()


@pytest.mark.parametrize(
    "pair",
    [
        c_int32, (c_int32, OUT), (int, IN), (c_int32, 7), (POINTER(POINTER(c_int32)), IN),
        (None, IN), (type("Own", (ctypes.Structure,), {}), IN),
    ],
)  # fmt: skip
def test_types_that_c_does_not_have(pair: Any) -> None:
    with pytest.raises(WrongSetting, match="argtypes must be pairs such as"):
        ct.Lepton("C", library_name="a", function_name="b", argtypes=[pair])


def test_they_are_nodes_with_a_name_and_a_source(library: str) -> None:
    shell = ct.Lepton("bash", command="echo $1", display_name="say")
    add = ct.Lepton("C", library_name=library, function_name="add", argtypes=ADD)
    manifest = build_manifest(ct.lattice(lambda: add(1, shell(2))), (), {})

    names = [node["name"] for node in manifest["nodes"] if node["kind"] == "electron"]
    assert names == ["say", "add"]
    assert [function["source"] for function in manifest["functions"]] == [
        "echo $1", f"{library}: add",
    ]  # fmt: skip


def test_a_command_cannot_be_made_of_what_has_no_value_yet() -> None:
    shell = ct.Lepton("bash", command="echo 1")

    @ct.lattice
    def workflow() -> Any:
        return ct.Lepton("bash", command=f"echo {shell()}")()

    with pytest.raises(ElectronMisuse, match="formatted into a string"):
        workflow.graph()


def test_a_value_is_kept_for_the_content_of_a_library(tmp_path: Path) -> None:
    script, module = tmp_path / "l.sh", tmp_path / "l.py"
    script.write_text("f() { echo 1; }\n")
    module.write_text("def f(): return 1\n")
    made = [
        ct.Lepton("bash", library_name=script, function_name="f").function,
        ct.Lepton(library_name=module, function_name="f").function,
    ]
    before = [Keys().of(each) for each in made]
    assert [Keys().of(each) for each in made] == before

    script.write_text("f() { echo 2; }\n")
    module.write_text("def f(): return 2\n")

    assert all(old != Keys().of(each) for old, each in zip(before, made, strict=True))


_ODD = 'it\'s $HOME `no` "here"'


def test_outputs_are_returned_through_a_folder_with_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / _ODD).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / _ODD))

    assert ct.Lepton("bash", command="a=1; b='x y'", named_outputs=["a", "b"])() == ("1", "x y")


def test_a_script_may_have_any_name(tmp_path: Path) -> None:
    script = tmp_path / f"{_ODD}.sh"
    script.write_text('greet() { echo "hello $1"; }\n')

    assert ct.Lepton("bash", library_name=script, function_name="greet")("you") == "hello you"


@pytest.mark.parametrize("command", ["a=5; exit 0", "set -e; a=5; true"])
def test_outputs_are_returned_however_a_command_ends(command: str) -> None:
    assert ct.Lepton("bash", command=command, named_outputs=["a"])() == "5"


@pytest.mark.parametrize("command", ["exec true", "b=1", "trap - EXIT; a=1"])
def test_an_output_that_is_not_there_is_an_error(command: str) -> None:
    with pytest.raises(LeptonFailed):
        ct.Lepton("bash", command=command, named_outputs=["a"])()

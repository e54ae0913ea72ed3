"""Dependencies as values, and as they are written down in a graph."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import qcov as ct
from qcov.classical.deps import Deps, run_commands
from qcov.classical.manifest import build_manifest
from qcov.classical.requirements import check_packages
from qcov.errors import DependencyFailed, ElectronMisuse, WrongArguments, WrongSetting
from qcov.transport import loads


def scale(x: int, by: int = 1) -> int:
    return x * by


@ct.electron
def source() -> int:
    return 3


def preparations(workflow: ct.Lattice, *args: Any) -> list[Any]:
    """What each electron of a lattice is prepared with, in their order."""
    manifest = build_manifest(workflow, args, {})
    made = manifest["preparations"]
    return [made[node["preparation"]] for node in manifest["nodes"] if "preparation" in node]


@pytest.mark.parametrize(
    "deps",
    [
        ct.DepsBash(["a", "b"]),
        ct.DepsPip(["numpy>=2", "tqdm"]),
        ct.DepsCall(scale, [2], {"by": 3}, retval_keyword="x"),
        ct.DepsCall(lambda x: x, (1,)),
        ct.DepsModule("json.tool"),
    ],
)
def test_they_survive_json(deps: Deps) -> None:
    described = json.loads(json.dumps(deps.to_dict()))
    empty: Any = {"DepsCall": lambda: ct.DepsCall(print), "DepsModule": lambda: ct.DepsModule(re)}
    empty = empty.get(type(deps).__name__, type(deps))()

    again = empty.from_dict(described)

    assert again is empty
    function, args, kwargs, keyword = again.apply()
    assert args.get_deserialized() == list(deps.apply_args)
    assert (kwargs.get_deserialized(), keyword) == (deps.apply_kwargs, deps.retval_keyword)
    assert callable(function.get_deserialized())
    assert described["type"] == type(deps).__name__


def test_a_dict_of_something_else_changes_nothing() -> None:
    bash = ct.DepsBash("true")

    with pytest.raises(WrongSetting, match="a dict that DepsBash.to_dict has made"):
        bash.from_dict(ct.DepsPip("numpy").to_dict())

    assert bash.commands == ["true"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: ct.electron(deps_bash=3), "deps_bash must be a DepsBash, a command or a list"),  # type: ignore[call-overload]
        (lambda: ct.electron(deps_pip={"a": 1}), "deps_pip must be a DepsPip"),  # type: ignore[call-overload]
        (lambda: ct.electron(deps_pip=["numpy", 3]), "packages of DepsPip must be text"),  # type: ignore[list-item]
        (lambda: ct.DepsPip(5), "packages of DepsPip must be text, or several texts, not 5"),  # type: ignore[arg-type]
        (lambda: ct.DepsBash({"a": 1}), "commands of DepsBash must be text, or several"),  # type: ignore[arg-type]
        (lambda: ct.electron(deps_bash=[""]), "commands of DepsBash must be text, and not empty"),
        (lambda: ct.electron(call_before=["ls"]), "call_before must be a function, a DepsCall"),  # type: ignore[list-item]
        (lambda: ct.lattice(call_after=ct.DepsPip("numpy")), "call_after must be a function"),
        (lambda: ct.electron(call_before=ct.DepsCall), "call_before must be a function"),
        (lambda: ct.DepsCall("ls"), "the function of DepsCall must be a function"),  # type: ignore[arg-type]
        (lambda: ct.DepsCall(scale, retval_keyword="files"), "file transfers use this one"),
        (lambda: ct.DepsCall(scale, retval_keyword="not a name"), "one of the electron's arg"),
        (
            lambda: ct.electron(call_after=ct.DepsCall(scale, retval_keyword="x")),
            "must be left out: the electron has run by then",
        ),
        (
            lambda: ct.electron(deps_module="no.such"),
            r"deps_module must be a module, .* 'no.such' \(No",
        ),
        (lambda: ct.electron(deps_module=[3]), "deps_module must be a module"),  # type: ignore[list-item]
        (lambda: ct.DepsPip(reqs_path="missing.txt"), r"requirements file, not 'missing.txt' \(No"),
        (lambda: ct.electron(source).set_metadata("call_before", 5), "call_before must be"),
    ],
)
def test_a_wrong_one_is_refused_where_it_is_given(make: Callable[[], Any], reason: str) -> None:
    with pytest.raises(WrongSetting, match=reason):
        make()


def test_the_reserved_keyword_can_be_taken_all_the_same() -> None:
    call = ct.DepsCall(scale, retval_keyword="files", override_reserved_retval_keys=True)

    assert call.retval_keyword == "files"


def test_a_requirements_file_is_read_with_those_that_it_includes(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("tqdm  # progress\n-c pins.txt\n")
    (tmp_path / "reqs.txt").write_text(
        "# a comment\nnumpy>=2 \\\n  ; python_version > '3'\n\n"
        "--requirement=more/base.txt\n-e ./own\n"
    )

    deps = ct.DepsPip(["ignored"], reqs_path=tmp_path / "reqs.txt")

    pins = tmp_path / "more" / "pins.txt"
    assert deps.packages == [
        "numpy>=2    ; python_version > '3'", "tqdm", f"-c {pins}", "-e ./own",
    ]  # fmt: skip


def test_electrons_take_what_they_do_not_say_from_their_lattice() -> None:
    def before() -> None: ...

    plain = ct.electron(scale)
    own = ct.electron(deps_bash="own", call_before=[])(scale)

    @ct.lattice(deps_bash="all", deps_pip="tqdm", call_before=before)
    def workflow() -> Any:
        return [plain(1) + 1, own(2)]

    of_plain, of_operator, of_own = preparations(workflow)

    assert [(step["kind"], step["label"]) for step in of_plain["before"]] == [
        ("DepsBash", "all"), ("DepsCall", "before"),
    ]  # fmt: skip
    assert [step["label"] for step in of_own["before"]] == ["own"]
    assert of_operator == {"packages": ["tqdm"], "before": [], "after": []}
    assert of_plain["packages"] == of_own["packages"] == ["tqdm"]


def test_many_electrons_share_one_description() -> None:
    prepared = ct.electron(call_before=print)(scale)
    manifest = build_manifest(ct.lattice(lambda: [prepared(n) for n in range(50)]), (), {})

    assert len(manifest["preparations"]) == 1


def test_a_sublattice_takes_them_over() -> None:
    inner = ct.electron(ct.lattice(source))

    @ct.lattice(deps_bash="outer", deps_pip="tqdm")
    def workflow() -> Any:
        return inner()

    manifest = build_manifest(workflow, (), {})
    [node] = manifest["nodes"]
    sent = loads(manifest["blobs"][manifest["functions"][node["function"]]["digest"]])

    assert sent.get_metadata("deps_bash").commands == ["outer"]
    assert inner.function.get_metadata("deps_bash") is None  # the user's own is as it was
    # its graph is built with the packages, but what runs beside electrons runs beside electrons
    assert manifest["preparations"] == [{"packages": ["tqdm"], "before": [], "after": []}]


def test_electrons_can_be_arguments_of_a_call() -> None:
    @ct.lattice
    def workflow() -> Any:
        value = source()
        call = ct.DepsCall(scale, [value], {"by": [value, 2]}, retval_keyword="x")
        return ct.electron(call_before=call)(scale)()

    manifest = build_manifest(workflow, (), {})
    assert (0, 1, "deps") in [tuple(edge) for edge in manifest["edges"]]


def test_an_electron_of_another_lattice_cannot() -> None:
    inner = ct.electron(ct.lattice(source))

    @ct.lattice
    def workflow() -> Any:
        inner.set_metadata("call_before", ct.DepsCall(scale, [source()]))
        return inner()

    with pytest.raises(ElectronMisuse, match="so it cannot be a part of the function of electron"):
        workflow.graph()


def test_an_argument_that_is_provided_need_not_be_given() -> None:
    provided = ct.electron(call_before=ct.DepsCall(source.function, retval_keyword="x"))(scale)
    wrong = ct.electron(call_before=ct.DepsCall(source.function, retval_keyword="y"))(scale)

    ct.lattice(lambda: provided(by=2)).graph()
    with pytest.raises(WrongArguments, match="unexpected keyword argument 'y'"):
        ct.lattice(lambda: wrong(1)).graph()
    with pytest.raises(WrongArguments, match="multiple values for argument 'x'"):
        ct.lattice(lambda: provided(1)).graph()


def test_outside_a_lattice_nothing_of_it_runs() -> None:
    def never() -> None:
        raise AssertionError

    assert ct.electron(call_before=never, deps_bash="exit 1")(scale)(2, by=2) == 4


def test_commands_run_in_their_order_and_stop_at_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "log"
    commands = [f"echo 1 >> {log}", f"echo 2 >> {log}; exit 3", f"echo 3 >> {log}"]

    with pytest.raises(DependencyFailed, match=r"the command 'echo 2 .* failed: exit status 3"):
        run_commands(commands)

    assert log.read_text().split() == ["1", "2"]


def test_packages_are_checked_where_the_environment_is_somebody_elses() -> None:
    check_packages(["numpy>=1", "-e ./own", "./own", "absent; python_version < '3'"])
    with pytest.raises(DependencyFailed, match="'absent-package' is missing: .* has none of it"):
        check_packages(["absent-package"])
    with pytest.raises(DependencyFailed, match=r"'numpy<1' is missing"):
        check_packages(["numpy<1"])

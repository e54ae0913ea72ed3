"""What is reused over programs, modules that change, and values that were lost."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import qcov as ct
from qcov.classical.engine.address import engine_at
from qcov.classical.manifest import build_manifest, code_of, environment
from qcov.config import data_dir
from qcov.errors import InvalidRequest, KeyTaken

pytestmark = pytest.mark.usefixtures("common_engine")

Counter = tuple[Callable[[str], None], Callable[[], list[str]]]

PROGRAM = """
import json, sys
import shapes
import qcov as ct

RATE = 2
RUN = "@"  # of this test alone: its engine is everybody's
TAGS = {"a", "b", "c", "d"}

class Mine:
    def __init__(self, x):
        self.x, self.tags = x, set(TAGS)
    def value(self):
        return self.x * RATE

@ct.electron(cache=True)
def make(x):
    return [shapes.Square(x), Mine(x), {"p", "q", "r", RUN}]

@ct.electron(cache=True)
def area(parts):
    return parts[0].area() + parts[1].value()

@ct.electron(cache=True)
def plain(x):
    return x + len(RUN) - len(RUN) + 1

@ct.lattice
def workflow(x):
    return area(make(x)), plain(x)

if len(sys.argv) > 1:
    started = ct.redispatch(sys.argv[1], reuse_previous_results=True)()
else:
    started = ct.dispatch(workflow)(3)
result = ct.get_result(started, wait=True)
nodes = result.get_all_node_results()
ran = sorted(n["node_name"] for n in nodes if n["node_name"][0] != ":" and not n["reused_from"])
print(json.dumps([result.dispatch_id, result.result, ran]))
"""
SHAPES = (
    "class Square:\n    def __init__(self, x): self.x = x\n    def area(self): return self.x * {}"
)


@pytest.fixture
def program(script: Any, common_engine: Path) -> Callable[..., tuple[str, Any, list[str]]]:
    script.write(SHAPES.format("self.x"), "shapes.py")
    script.write(PROGRAM.replace('@"', f'{script.folder}"'))

    def run(*args: str, seed: int = 0) -> Any:
        return json.loads(
            script.run(*args, env={**os.environ, "PYTHONHASHSEED": str(seed)}).splitlines()[-1]
        )

    return run


def test_other_programs_have_the_values(program: Any) -> None:
    _, value, ran = program()
    assert (value, ran) == ([15, 4], ["area", "make", "plain"])
    for seed in (1, 2):
        assert program(seed=seed)[1:] == [[15, 4], []]


def test_code_of_objects_that_are_passed_on(program: Any, script: Any) -> None:
    """`area` names no module of the user's: what it is given does."""
    first = program()[0]
    script.write(SHAPES.format("self.x + 1"), "shapes.py")
    again = program(first)
    assert again[1:] == [[16, 4], ["area", "make"]]
    assert program()[1:] == [[16, 4], []]


def test_an_edited_script(program: Any, script: Any) -> None:
    program()
    text = (script.folder / "script.py").read_text()
    script.write(f"# a comment\n{text}")
    assert program()[1:] == [[15, 4], []]
    script.write(text.replace("RATE = 2", "RATE = 5"))
    assert program()[1:] == [[24, 4], ["area", "make"]]  # `make` gives objects that use it


def test_a_dispatch_of_another_program_is_reused(program: Any) -> None:
    first = program()[0]
    with closing(sqlite3.connect(data_dir() / "qcov.sqlite")) as database, database:
        database.execute("DELETE FROM memo")
    assert program(first, seed=3)[1:] == [[15, 4], []]


WAITING = """
import os, sys
import edited
import qcov as ct

BEGUN, OPEN, NAME = {!r}, {!r}, {!r}

def pause():
    if os.path.exists(BEGUN):
        open(BEGUN, "w").close()
        open(OPEN).read()

@ct.electron
def first():
    pause()
    return NAME

@ct.electron(cache=True)
def kept(name):
    return edited.VALUE

@ct.electron(cache=True)
def slow(name):
    value = edited.VALUE
    pause()
    return value

nested = ct.electron(ct.lattice(lambda name: kept(name)), cache=True)

lattices = {
    "before": lambda: kept(first()),
    "within": lambda: nested(first()),
    "during": lambda: slow(NAME),
}
print(ct.dispatch_sync(ct.lattice(lattices[sys.argv[1]]))().result)
"""


@pytest.mark.usefixtures("common_engine")
@pytest.mark.parametrize("when", ["before", "within", "during"])
def test_code_that_is_edited_under_way_does_not_spoil_what_is_kept(
    script: Any, gate: Any, when: str
) -> None:
    """After the dispatch was made and before the electron starts; or while it runs."""
    script.write("VALUE = 1\n", "edited.py")
    places = map(repr, map(str, (gate.begun, gate.open, script.folder)))
    script.write(WAITING.replace("{!r}, {!r}, {!r}", ", ".join(places)))
    running = script.start(when)
    gate.wait()
    script.write("VALUE = 22\n", "edited.py")
    gate.let_go()
    running.communicate(timeout=60)
    gate.begun.unlink()

    assert script.run(when) == "22"
    script.write("VALUE = 1\n", "edited.py")
    assert script.run(when) == "1"
    script.write("VALUE = 22\n", "edited.py")
    assert script.run(when) == "22"


# -- values that are lost


def spoil(dispatch_id: str) -> None:
    """Lose the large payloads of a dispatch."""
    with closing(sqlite3.connect(data_dir() / "qcov.sqlite")) as database:
        rows = database.execute("SELECT output FROM nodes WHERE dispatch_id = ?", (dispatch_id,))
        for (digest,) in rows.fetchall():
            for path in (data_dir() / "blobs").rglob(f"*{digest[2:]}*"):
                path.write_bytes(b"lost")


def test_a_value_whose_parts_cannot_be_cut_is_computed_again(counter: Counter) -> None:
    note, lines = counter

    @ct.electron(cache=True)
    def much(x: int) -> list[bytes]:
        note("ran")
        return [b"x" * 300_000, bytes([x])]

    workflow = ct.lattice(lambda x: ct.electron(len)(much(x)[0]))
    first = ct.dispatch_sync(workflow)(1)
    assert first.result == 300_000
    spoil(first.dispatch_id)
    again = ct.dispatch_sync(workflow)(1)
    assert again.result == 300_000, again.error
    node = next(n for n in again.get_all_node_results() if n["node_name"] == "much")
    assert node["reused_from"] is None
    assert lines() == ["ran", "ran"]
    third = ct.dispatch_sync(workflow)(1)  # what is kept is whole again
    assert third.result == 300_000
    assert lines() == ["ran", "ran"]


def test_what_the_same_dispatch_has_computed_is_its_own(counter: Counter) -> None:
    note, lines = counter

    @ct.electron(cache=True)
    def square(x: int) -> int:
        note("ran")
        return x * x

    @ct.lattice
    def twice(x: int) -> tuple[int, int]:
        first = square(x)
        second = square(x)
        ct.wait(second, first)
        return first, second

    result = ct.dispatch_sync(twice)(3)
    assert result.result == (9, 9)
    assert {node["reused_from"] for node in result.get_all_node_results()} == {None}
    assert lines() == ["ran"]


# -- what counts besides code and arguments


def test_what_an_electron_is_prepared_with_counts(counter: Counter) -> None:
    note, lines = counter

    def once(**settings: Any) -> str | None:
        @ct.electron(cache=True, **settings)
        def task(x: int) -> int:
            note("ran")
            return x

        result = ct.dispatch_sync(ct.lattice(lambda: task(1)))()
        assert result.status == "COMPLETED", result.error
        return result.get_node_result(0)["reused_from"]

    def before(x: int) -> int:
        return x

    ways: list[dict[str, Any]] = [
        {},
        {"deps_bash": "true"},
        {"deps_bash": "true; true"},
        {"call_before": ct.DepsCall(before, [1])},
        {"call_before": ct.DepsCall(before, [2])},
        {"call_before": ct.DepsCall(abs, [1])},
        {"call_after": ct.DepsCall(before, [1])},
    ]
    assert [once(**way) for way in ways] == [None] * len(ways)
    assert None not in [once(**way) for way in ways]
    assert once(retries=2, time_limit=60.0, executor=ct.executor.LocalExecutor()) is not None
    assert len(lines()) == len(ways)


def test_the_order_of_keywords_counts_where_code_can_see_it() -> None:
    @ct.electron(cache=True)
    def names(**given: int) -> list[str]:
        return list(given)

    workflow = ct.lattice(lambda first, second: names(**{first: 1, second: 2}))
    assert ct.dispatch_sync(workflow)("a", "b").result == ["a", "b"]
    assert ct.dispatch_sync(workflow)("b", "a").result == ["b", "a"]


class Shy:
    """It can be sent, but not looked at while it is: each second time."""

    times = 0

    def __reduce__(self) -> Any:
        Shy.times += 1
        if Shy.times % 2 == 0:
            raise RuntimeError("not again")
        return Shy, ()


def test_what_cannot_be_told_runs_each_time_and_a_warning_says_why(counter: Counter) -> None:
    note, lines = counter

    @ct.electron(cache=True)
    def task(shy: Shy) -> int:
        note("ran")
        return 1

    for _ in range(2):
        Shy.times = 0
        with pytest.warns(UserWarning, match=r"'task' runs each time.*RuntimeError: not again"):
            manifest = build_manifest(ct.lattice(lambda: task(Shy())), (), {})
        described = {"id": str(uuid.uuid4()), "environment": environment(code_of(manifest))}
        dispatch_id = engine_at(None).submit({**manifest, **described})
        assert ct.get_result(dispatch_id, wait=True).result == 1
    assert lines() == ["ran", "ran"]


def test_nothing_is_said_of_what_is_not_kept() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Shy.times = 0
        build_manifest(ct.lattice(lambda: ct.electron(abs)(Shy())), (), {})


def test_an_output_that_cannot_be_told_makes_its_consumers_run(counter: Counter) -> None:
    note, lines = counter

    @ct.electron(cache=True)
    def make() -> Any:
        note("make")
        return Shy()

    @ct.electron(cache=True)
    def use(shy: Any) -> int:
        note("use")
        return 1

    workflow = ct.lattice(lambda: use(make()))
    assert [ct.dispatch_sync(workflow)().result for _ in range(2)] == [1, 1]
    assert sorted(lines()) == ["make", "use", "use"]


# -- requests


def test_a_key_is_of_one_way_to_run() -> None:
    @ct.electron
    def task(x: int) -> int:
        return x

    first = ct.dispatch(ct.lattice(task))(1)
    key = uuid.uuid4().hex
    again = ct.redispatch(first, reuse_previous_results=True, key=key)()
    assert ct.redispatch(first, reuse_previous_results=True, key=key)() == again
    with pytest.raises(KeyTaken):
        ct.redispatch(first, key=key)()
    with pytest.raises(KeyTaken):
        ct.redispatch(again, reuse_previous_results=True, key=key)()
    other = {"task": lambda x: x}
    with pytest.raises(KeyTaken):
        ct.redispatch(first, replace_electrons=other, reuse_previous_results=True, key=key)()


def drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    def damage(manifest: Any) -> None:
        for part in path[:-1]:
            manifest = manifest[part]
        del manifest[path[-1]]

    return damage


def put(value: Any, *path: Any) -> Callable[[dict[str, Any]], None]:
    def damage(manifest: Any) -> None:
        for part in path[:-1]:
            manifest = manifest[part]
        manifest[path[-1]] = value

    return damage


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize(
    "damage",
    [
        drop("nodes"), drop("name"), drop("functions"), drop("nodes", 0, "kind"),
        drop("nodes", 0, "function"), drop("inputs_repr"), put(7, "nodes", 0, "function"),
        put(7, "nodes", 0, "executor"), put(7, "nodes", 0, "preparation"),
        put([99], "nodes", 0, "args"), put("?", "nodes", 0, "kind"), put(5, "nodes", 0, "id"),
        put(1, "nodes", 0, "surprise"), put(3, "nodes"), put(None, "nodes", 0),
    ],
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused_and_not_stored(damage: Any, held: bool) -> None:
    task = ct.electron(abs)
    manifest = build_manifest(ct.lattice(task), (1,), {})
    sent = {"id": str(uuid.uuid4()), "environment": environment(code_of(manifest)), "held": held}
    manifest |= sent
    damage(manifest)
    with pytest.raises(InvalidRequest, match="describes no graph"):
        engine_at(None).submit(manifest)
    with closing(sqlite3.connect(data_dir() / "qcov.sqlite")) as database:
        stored = database.execute("SELECT * FROM dispatches WHERE id = ?", (sent["id"],))
        assert stored.fetchall() == []

"""Keys of code and values: equal for what does the same, in every process, and for nothing else."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import math
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcov.classical.code_key import Keys, NotKeyed
from qcov.classical.object_graph import Description, digest


def key(value: object) -> str:
    return Keys().of(value)


def made(code: str, name: str = "f") -> Any:
    """What a program calls `f`, as the program itself would have it."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(textwrap.dedent(code), space)
    return space[name]


# -- what does something else

#: Programs by name, in which one place, `<<this|that>>`, makes a difference to `f`.
MUTATIONS = dict(
    program.split("\n", 1)
    for program in (Path(__file__).parent / "mutations.txt").read_text().split("=== ")[1:]
)


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_does_something_else_has_another_key(name: str) -> None:
    one, other = (re.sub(r"<<(.*)\|(.*)>>", rf"\{it}", MUTATIONS[name]) for it in (1, 2))

    assert key(made(one)) != key(made(other))
    assert key(made(one)) == key(made(one))
    assert key(made(one)) == key(made("\n\n# moved\n" + textwrap.dedent(one)))


# -- what does the same

ELSEWHERE = """
import pickle, sys
from qcov.classical.code_key import Keys
for blob in pickle.load(sys.stdin.buffer):
    print(Keys().of(pickle.loads(blob)))
"""


@pytest.mark.process
def test_what_has_travelled_has_the_same_key() -> None:
    """In another process, where nobody knows the classes already."""
    sent = {name: made(re.sub(r"<<(.*)\|(.*)>>", r"\1", text)) for name, text in MUTATIONS.items()}
    ran = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=cloudpickle.dumps([cloudpickle.dumps(one) for one in sent.values()]),
        env={**os.environ, "PYTHONHASHSEED": "5", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr.decode()
    told = dict(zip(sent, ran.stdout.decode().split(), strict=True))
    lost = {"dataclass method"} if cloudpickle.__version__ < "3" else set[str]()
    changed = {name for name, one in sent.items() if key(one) != told[name]}
    assert changed == lost  # cloudpickle 2 sends dataclasses with slots without their values


#: A program that has some of everything.
PROGRAM = """
import abc, collections, dataclasses, enum, functools, sys
import numpy as np
import pennylane as qml
import pydantic
import qcov as ct
import sympy
import tools
from typing import Generic, NamedTuple, TypeVar
from qcov.classical.code_key import Keys

T = TypeVar("T")
WORDS = {"a", "b", "c", "delta"}
FROZEN = frozenset({"x", "y", ("z", 1), None})

class Colour(enum.Enum):
    RED = 1
    BLUE = "b"

class Flags(enum.Flag):
    A = enum.auto()
    B = enum.auto()

class Slotted:
    __slots__ = ("a", "b")
    def __init__(self):
        self.a, self.b = {"q", "w", "e"}, Colour.RED

class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...

class Box(Generic[T]):
    def put(self, what: T) -> T: return what

@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: float
    tags: frozenset = frozenset({"m", "n", "o"})

class Model(pydantic.BaseModel):
    n: int = 1
    names: set[str] = {"u", "v", "w"}
    @pydantic.field_validator("n")
    @classmethod
    def positive(cls, n): return abs(n)

class Row(NamedTuple):
    a: int
    b: str = "b"

class Bag(set): pass
class Table(dict): pass

@ct.qelectron
@qml.qnode(qml.device("default.qubit", wires=1, seed=7))
def circuit(x):
    qml.RX(x, wires=0)
    return qml.expval(qml.Z(0))

@qml.qnode(qml.device("default.qubit", wires=1, seed=7))
def plain(x):
    qml.RX(x, wires=0)
    return qml.expval(qml.Z(0))

x = sympy.Symbol("x")
KEPT = [
    Colour.BLUE, Flags.A | Flags.B, Slotted(), Box, Point(1.0), Model(), Row(1), Bag("abc"),
    Table(a={"s", "t"}), np.arange(3.0), np.random.default_rng(3), collections.Counter("aab"),
    sympy.lambdify(x, sympy.sin(x)), qml.adjoint(lambda: qml.S(0)), functools.partial(max, 1),
    sympy.sin(x), Model, lambda: WORDS, Shape, collections.OrderedDict(a=1), float("nan"),
]

@ct.electron
def task(x, kept=KEPT):
    return float(circuit(x)) + plain(x) + tools.offset() + len(WORDS | FROZEN)

keys = Keys()
told = [keys.of(one) for one in [task, ct.lattice(lambda x: task(x)), *KEPT, WORDS, FROZEN]]
task(0.1)
assert keys.of(task) == told[0]  # what QNodes remember of a call does not count
print(" ".join(told))
"""


def told(folder: Path, seed: str, *, piped: bool = False, elsewhere: Path | None = None) -> str:
    """What the program prints, in a process of its own."""
    program = folder / "program.py"
    ran = subprocess.run(
        [sys.executable, "-" if piped else str(program)],
        input=program.read_text() if piped else None,
        env={
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
            "PYTHONPYCACHEPREFIX": str(folder / "cache"),
            "PATH": "",
        },
        cwd=elsewhere or folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "tools.py").write_text("import deep\ndef offset(): return deep.ONE")
    (tmp_path / "deep.py").write_text("ONE = 1")
    return tmp_path


@pytest.mark.process
@pytest.mark.slow
def test_keys_are_the_same_in_every_process(program: Path, tmp_path_factory: Any) -> None:
    first = told(program, "0")
    assert {len(one) for one in first.split()} == {64}
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for seed in ("1", "2"):
        again = told(program, seed, piped=seed == "1", elsewhere=elsewhere)
        assert [
            number
            for number, pair in enumerate(zip(first.split(), again.split(), strict=True))
            if len(set(pair)) > 1
        ] == []
    (program / "deep.py").write_text("ONE = 2")
    changed = told(program, "0").split()
    assert [one == other for one, other in zip(first.split(), changed, strict=True)] == [
        False, False, *([True] * (len(changed) - 2)),
    ]  # fmt: skip


# -- the user's modules

#: Files of a user's, and a change of one of them that `pkg.work` can reach.
FILES = {
    "main_module.py": "from pkg.work import f",
    "pkg/__init__.py": "A = 1",
    "pkg/work.py": (
        "from . import near\nfrom .sub import far\nimport alone\n"
        "def f(x):\n    import late\n    return x"
    ),
    "pkg/near.py": "NEAR = 1",
    "pkg/sub/__init__.py": "",
    "pkg/sub/far.py": "from space.part import thing\nFAR = 1",
    "pkg/unnamed.py": "# nobody imports it by name",
    "space/part/thing.py": "from constants import RATE",
    "constants.py": "RATE = 1\nimport importlib\nimportlib.import_module('by_text')",
    "alone.py": "ALONE = 1",
    "late.py": "import json\ntry:\n    import optional\nexcept ImportError:\n    pass",
    "by_text.py": "",
    "optional.py": "",
    "unrelated.py": "",
}
REACHED = sorted(set(FILES) - {"unrelated.py", "main_module.py"})


@pytest.fixture
def user_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("name", REACHED)
@pytest.mark.parametrize("imported", [True, False], ids=["imported", "not imported"])
def test_files_that_the_users_code_may_import_count(
    user_files: Path, name: str, imported: bool
) -> None:
    if imported:
        import main_module  # pyright: ignore[reportMissingImports]

        function = main_module.f
    else:
        function = made("def f(x):\n  import main_module\n  return main_module.f(x)")
    before = key(function)
    assert key(function) == before
    with (user_files / name).open("a") as file:
        file.write("\n# another")
    assert key(function) != before


def later() -> int:
    """A time at which what has just been written was written long ago."""
    return time.time_ns() + 10**10


def remembered_key(value: object) -> str:
    """A key for which files need not be read that have been read for an earlier one."""
    return Keys(later).of(value)


def test_files_that_stay_are_not_read_again(user_files: Path) -> None:
    import constants  # pyright: ignore[reportMissingImports]

    from qcov.classical import code_origin

    before = remembered_key(constants), code_origin._known["constants"]
    assert (remembered_key(constants), code_origin._known["constants"]) == before
    assert Keys().of(constants) == before[0]


@pytest.mark.parametrize("name", REACHED)
def test_files_that_change_are_read_again(user_files: Path, name: str) -> None:
    import main_module  # pyright: ignore[reportMissingImports]

    before = remembered_key(main_module.f)
    with (user_files / name).open("a") as file:
        file.write("\n# another")
    after = remembered_key(main_module.f)
    assert after == key(main_module.f)
    assert after != before


def overwritten(file: Path) -> None:
    """Another content of the same length, and the time of the first one."""
    before = file.stat()
    file.write_text(file.read_text().replace("1", "2"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(file: Path) -> None:
    overwritten(Path(shutil.copy2(file, file.with_name("draft"))))
    file.with_name("draft").replace(file)


@pytest.mark.parametrize(
    "change",
    [
        overwritten, replaced, Path.unlink,
        lambda file: (file.parent / "new.py").touch(),
        lambda file: (file.parent / "sub" / "new.py").touch(),
        lambda file: (file.parent / "sub").rename(file.parent / "below"),
        lambda file: file.rename(file.with_name("far.py")),
        lambda file: shutil.copytree(file.parent, file.parents[1] / "alone"),
        lambda file: (file.parents[1] / "optional.py").unlink(),
        lambda file: sys.modules.__setitem__("alone", types.ModuleType("alone")),
        lambda file: sys.path.append(str(file.parents[1] / "space" / "part")),
    ],
    ids=["overwritten", "replaced", "removed", "one more", "one more below", "folder renamed",
         "renamed", "hidden", "import that fails", "module put there", "path"],
)  # fmt: skip
def test_whatever_changes_is_seen(
    user_files: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    function = made("def f(x):\n  import main_module, alone, optional, thing\n  return x")
    before = remembered_key(function)
    change(user_files / "pkg" / "near.py")
    after = remembered_key(function)
    assert after == Keys().of(function)
    assert after != before


def test_what_was_written_just_before_is_read_again(user_files: Path) -> None:
    """Written again within a tick of the file system's clock, it would look the same."""
    import constants  # pyright: ignore[reportMissingImports]

    from qcov.classical import code_origin

    remembered_key(constants)
    assert "constants" in code_origin._known
    (user_files / "constants.py").write_text("RATE = 2")
    key(constants)
    assert "constants" not in code_origin._known


def test_other_files_do_not(user_files: Path) -> None:
    import main_module  # pyright: ignore[reportMissingImports]

    before = key(main_module.f)
    (user_files / "unrelated.py").write_text("X = 1")
    (user_files / "pkg" / "notes.txt").write_text("data")
    assert key(main_module.f) == before


def test_a_module_counts_from_when_it_is_there(user_files: Path) -> None:
    (user_files / "late.py").write_text("try:\n    import newcomer\nexcept ImportError: pass")
    function = made("def f(x):\n  import late\n  return late")
    before = key(function)
    assert key(function) == before

    (user_files / "newcomer.py").write_text("")
    os.utime(user_files, (0, 0))  # clocks of file systems may be too coarse to tell
    present = key(function)
    assert present != before

    (user_files / "newcomer.py").unlink()
    os.utime(user_files, (1, 1))
    assert key(function) == before


@pytest.mark.parametrize(
    "of",
    ["pkg.work.f", "pkg.near", "pkg.work", "pkg.sub.far"],
)
def test_what_is_imported_counts_in_what_uses_it(user_files: Path, of: str) -> None:
    import main_module  # noqa: F401  # pyright: ignore[reportMissingImports]

    function = made(f"import pkg.work, pkg.near\nthing = {of}\ndef f(x): return thing")
    before = key(function)
    (user_files / "pkg" / "near.py").write_text("NEAR = 2")
    assert key(function) != before


def test_objects_count_with_the_code_of_their_modules(user_files: Path) -> None:
    (user_files / "shapes.py").write_text("class A:\n    def area(self): return 1")
    import shapes  # pyright: ignore[reportMissingImports]

    one = shapes.A()
    before = key([one])
    (user_files / "shapes.py").write_text("class A:\n    def area(self): return 2")
    assert key([one]) != before


def test_what_a_program_sets_in_a_module_stays_there(user_files: Path) -> None:
    """A worker imports the module anew."""
    import constants  # pyright: ignore[reportMissingImports]

    function = made("import constants\ndef f(x): return constants.RATE")
    before = key(function)
    constants.RATE = 3
    assert key(function) == before


def test_a_module_that_travels_by_value_counts_by_what_is_in_it(user_files: Path) -> None:
    import constants  # pyright: ignore[reportMissingImports]

    cloudpickle.register_pickle_by_value(constants)
    try:
        constants.rate = made("def rate(): return 1", "rate")
        function = made("import constants\ndef f(x): return constants.RATE")
        before = key(function)
        constants.RATE = 3
        assert key(function) != before
    finally:
        cloudpickle.unregister_pickle_by_value(constants)


@pytest.mark.parametrize("name", ["code.py", "late.py", "pkg/near.py", "constants.py"])
def test_a_file_counts_with_what_it_imports(user_files: Path, name: str) -> None:
    from qcov.classical.library_code import PythonFunction

    path = user_files / "code.py"
    path.write_text("import late, pkg.work\ndef f(x): return x")
    lepton = PythonFunction("f", str(path), "f")
    before = key(lepton)
    assert key(PythonFunction("f", str(path), "f")) == before
    with (user_files / name).open("a") as file:
        file.write("\n# another")
    assert key(lepton) != before
    before = key(lepton)
    (user_files / "unrelated.py").write_text("X = 1")
    assert key(lepton) == before


def test_a_module_under_a_computed_name_does_not_count(user_files: Path) -> None:
    computed = made("def f(x):\n  return __import__('la' + x)")
    named = made("def f(x):\n  return x or __import__('late')")
    before = key(computed), key(named)
    (user_files / "late.py").write_text("LATE = 2")
    assert [key(computed) == before[0], key(named) == before[1]] == [True, False]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import a", "a"), ("import a.b as c, d as e, f.g", "a d f"), ("from a.b import c", "a"),
        ("from . import a", ""), ("from .a import b", ""), ("from ...a import b\nimport c", "c"),
        ("if x: import a; import b", "a b"), ("def f():\n\tfrom a import (\n b,\n c)", "a"),
        ("import a, \\\n  b", "a b"), ("from a \\\n import b", "a"), ("import a . b , c", "a c"),
        ("\f import a", "a"), ("important = 1\nfrom_ = 2", ""), ("x = 'import a'", ""),
        ("'''\nimport a\n'''", "a"), ("import a\r\nimport b\rimport c", "a b c"),
        ("from a import*", "a"), ("from a.b import(c)", "a"), ("class A: import a", "a"),
        ("import \ufb01le", "file"), ("# -*- coding: latin-1 -*-\nimport \xe9t\xe9", "\xe9t\xe9"),
        ("import importlib\nimportlib.import_module('a.b')", "importlib a"),
        ('__import__("a")', "a"), ("x = 'a'", ""), ("def (", ""), ("\0", ""),
    ],
)  # fmt: skip
def test_imports_of_a_file(source: str, names: str) -> None:
    from qcov.classical import code_origin

    coding = "latin-1" if "latin-1" in source else "utf-8"
    assert code_origin._imports(source.encode(coding)) == set(names.split())


# -- what is installed


def test_what_is_installed_counts_by_version_and_by_what_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qcov.classical import code_origin, installed

    def install(version: str, record: str, needed: str = "1.0") -> None:
        (tmp_path / "thing.py").write_text("")
        for name, number in (("thing", version), ("needed", needed)):
            folder = tmp_path / f"{name}.dist-info"
            folder.mkdir(exist_ok=True)
            requires = "Requires-Dist: needed>=1\n" if name == "thing" else ""
            (folder / "METADATA").write_text(f"Name: {name}\nVersion: {number}\n{requires}")
            (folder / "RECORD").write_text(f"{name}.py,{record},1\n")
        (tmp_path / f"{version}{record}{needed}").touch()  # as pip does, it writes to the folder

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(installed, "_SITES", (str(tmp_path),))
    keys = set[str]()
    for told in (("1.0", "a"), ("1.1", "a"), ("1.1", "b"), ("1.1", "b", "1.2")):
        install(*told)
        keys.add(code_origin.Origins().of("thing"))
    assert len(keys) == 4
    (tmp_path / "thing.py").write_text("edited")
    assert code_origin.Origins().of("thing") in keys


def test_a_folder_beside_site_packages_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qcov.classical import code_origin, installed

    beside = tmp_path / "site-packages-mine"
    beside.mkdir()
    monkeypatch.setattr(installed, "_SITES", (str(tmp_path / "site-packages"),))
    monkeypatch.syspath_prepend(beside)
    (beside / "mine.py").write_text("A = 1")
    before = code_origin.Origins().of("mine")
    (beside / "mine.py").write_text("A = 2")
    assert code_origin.Origins().of("mine") != before


# -- closures of installed code are not what their names say


def remembered(value: Any) -> Any:
    @functools.wraps(math.sin)  # which gives it the module and the name of another function
    def inner(x: float) -> Any:
        return value

    return inner


def adjoint(by: float) -> Any:
    qml = pytest.importorskip("pennylane")
    return qml.adjoint(made(f"import pennylane as qml\ndef f(x): qml.RX({by}, x)"))


def gradient(by: float) -> Any:
    jax = pytest.importorskip("jax")
    return jax.grad(made(f"def f(x): return {by} * x"))


def compiled(by: float) -> Any:
    jax = pytest.importorskip("jax")
    return jax.jit(made(f"def f(x): return {by} * x"))


def symbolic(by: float) -> Any:
    sympy = pytest.importorskip("sympy")
    return sympy.lambdify(sympy.Symbol("x"), by * sympy.Symbol("x"))


def of_no_module(by: float) -> Any:
    function = made(f"def f(x): return {by}")
    function.__module__ = None
    return function


@pytest.mark.parametrize(
    "make", [remembered, adjoint, gradient, compiled, symbolic, of_no_module, lambda by: [by, abs]]
)
def test_code_under_another_name(make: Callable[[float], Any]) -> None:
    assert key(make(1.0)) == key(make(1.0))
    assert key(make(1.0)) != key(make(2.0))


# -- values

Trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inside: (
        st.lists(inside)
        | st.tuples(inside, inside)
        | st.dictionaries(st.text() | st.integers(), inside)
        | st.frozensets(st.integers() | st.text())
    ),
    max_leaves=12,
)


def shape(value: Any) -> Any:
    """What tells values apart, as something that can be compared."""
    if isinstance(value, dict):
        return ("dict", [(shape(name), shape(part)) for name, part in value.items()])
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, [shape(part) for part in value])
    if isinstance(value, frozenset):
        return ("frozenset", sorted(map(repr, value)))
    return (type(value).__name__, repr(value))


@given(Trees, Trees)
def test_values_have_equal_keys_exactly_if_they_are_the_same(one: Any, other: Any) -> None:
    assert (key(one) == key(other)) == (shape(one) == shape(other))
    assert key(cloudpickle.loads(cloudpickle.dumps(one))) == key(one)


@given(st.lists(st.integers() | st.text(), unique=True), st.randoms())
def test_the_order_of_a_set_does_not_count(items: list[Any], random: Any) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)
    assert key(set(items)) == key(set(shuffled))
    assert key([set(items)]) != key([frozenset(items)])


def test_one_object_twice_is_not_two_where_it_can_be_changed() -> None:
    for make in (lambda: [1, {2}], lambda: {"a": 1}, lambda: {2}, lambda: np.ones(3)):
        one: Any = make()
        again: Any = make()
        assert key([one, one]) != key([make(), make()])
        assert key([one, one]) == key([again, again])
    pair: Any = (1, frozenset({2}))
    assert key([pair, pair]) == key([(1, frozenset({2})), (1, frozenset({2}))])
    text = "".join(["a", "b"] * 10)
    assert key([text, text, {3}]) == key([text, "".join(["a", "b"] * 10), {3}])


def test_long_numbers_and_texts() -> None:
    assert key(10**5000) != key(10**5000 + 1)
    assert key([10**5000]) != key([10**5000 + 1])
    assert key("a" * 10_000) != key("a" * 10_001)
    assert key("\udc80") != key("\udc81")


class Slots:
    __slots__ = ("a",)

    def __init__(self, a: Any) -> None:
        self.a = a


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Point:
    x: Any


class Model(pydantic.BaseModel):
    x: Any


class Items(collections.UserList[Any]):
    pass


def tensor(value: float) -> Any:
    torch = pytest.importorskip("torch")
    return torch.tensor([value, 1.0], requires_grad=True)


def autograd_array(value: float) -> Any:
    pennylane = pytest.importorskip("pennylane")
    return pennylane.numpy.array([value, 1.0], requires_grad=False)


def jax_array(value: float) -> Any:
    jax = pytest.importorskip("jax")
    return jax.numpy.array([value, 1.0])


@pytest.mark.parametrize(
    "make",
    [
        Slots, Point, lambda v: Model(x=v), lambda v: Items([v]), lambda v: Colour(int(v)),
        lambda v: np.array([v, math.nan]), np.float32, np.array,
        lambda v: np.array(["a", v], object), lambda v: np.full((3, 4), v).T[1:, ::2],
        lambda v: np.array([int(v)], "datetime64[s]"),
        lambda v: np.asfortranarray(np.full((2, 3), v)), lambda v: np.random.default_rng(int(v)),
        lambda v: np.random.RandomState(int(v)),
        lambda v: bytearray([int(v)]), lambda v: complex(v, -0.0), lambda v: range(int(v)),
        slice, ValueError, lambda v: Path(str(v)), tensor, jax_array,
        lambda v: {"a": tensor(v)}, autograd_array, lambda v: np.full((3, 4), v)[:, ::2],
        lambda v: np.array([(1, v)], dtype=[("a", "i4"), ("b", "f8")]),
    ],
)  # fmt: skip
def test_values_of_many_kinds(make: Callable[[float], Any]) -> None:
    assert key(make(1.0)) == key(make(1.0))
    assert key(make(1.0)) != key(make(2.0))
    assert key(cloudpickle.loads(cloudpickle.dumps(make(1.0)))) == key(make(1.0))


def test_an_error_has_no_attributes_in_one_way_or_the_other() -> None:
    looked_at = ValueError(1.0)
    assert looked_at.__dict__ == {}

    assert key(looked_at) == key(ValueError(1.0))


def test_tensors_by_all_that_they_are() -> None:
    torch = pytest.importorskip("torch")
    ones = torch.ones(4)
    others = [
        ones.to(torch.float64), ones.reshape(2, 2), ones.clone().requires_grad_(),
        torch.nn.Parameter(ones.clone()), ones.to(torch.bfloat16), torch.zeros(4),
        (ones * 1j).conj(), ones * 1j, torch.ones(4, 2)[:, 0] * 3,
    ]  # fmt: skip
    assert len({key(one) for one in (ones, *others)}) == len(others) + 1
    assert key(torch.tensor(1.0)) == key(torch.tensor(1.0))


def test_large_arrays_are_not_copied() -> None:
    import tracemalloc

    array = np.ones(4_000_000)
    key([array])
    tracemalloc.start()
    try:
        key([array])
        assert tracemalloc.get_traced_memory()[1] < array.nbytes / 10
    finally:
        tracemalloc.stop()


def test_long_lists_and_deep_ones() -> None:
    deep: Any = []
    for _ in range(10_000):
        deep = [deep, {1}]
    assert len(key(deep)) == 64
    wide: Any = [1]
    for _ in range(60):
        wide = [wide, wide]
    assert len(key(wide)) == 64


def test_lists_in_themselves() -> None:
    one: list[Any] = [1]
    one.append(one)
    other: list[Any] = [1]
    other.append([1, other])
    assert key(one) == key(other)  # nothing that goes from part to part can tell them apart
    third: list[Any] = [1]
    third.append([2, third])
    assert key(one) != key(third)


# -- circles


def circle(edges: dict[str, list[str]], labels: dict[str, str]) -> str:
    return digest("a", lambda name: Description(labels[str(name)], edges[str(name)]))


def test_a_circle_is_told_from_one_that_leads_elsewhere() -> None:
    labels = {"a": "root", "r": "r", "s": "s", "x": "x", "y": "x"}
    one = {"a": ["r", "s"], "r": ["x"], "x": ["r"], "s": ["x"], "y": []}
    other = {"a": ["r", "s"], "r": ["x"], "x": ["r"], "s": ["y"], "y": ["s"]}
    assert circle(one, labels) != circle(other, labels)


def test_a_long_circle_is_told_from_a_longer_one() -> None:
    def ring(length: int) -> str:
        edges = {str(n): [str((n + 1) % length)] for n in range(length)} | {"a": ["0"]}
        return circle(edges, dict.fromkeys(edges, "-") | {"0": "start", "a": "a"})

    assert len({ring(length) for length in range(1, 40)}) == 39


# -- what has no key


class Raises:
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error("on purpose")


@pytest.mark.parametrize(
    "value",
    [
        threading.Lock(), Raises(ValueError), Raises(RecursionError), {"a": [Raises(KeyError)]},
        made("def f(x): return lock\nimport threading\nlock = threading.Lock()"),
        made("import sys\nmodule = sys.modules['__main__']\ndef f(x): return module"),
        (one for one in ()),
    ],
    ids=["lock", "raises", "recursion", "inside", "function", "__main__", "generator"],
)  # fmt: skip
def test_what_cannot_be_told_has_no_key(value: object) -> None:
    with pytest.raises(NotKeyed):
        key(value)


def test_interruptions_pass() -> None:
    with pytest.raises(KeyboardInterrupt):
        key(Raises(KeyboardInterrupt))


def test_what_only_says_how_often_an_electron_is_tried_does_not_count() -> None:
    def program(settings: str) -> str:
        return f"""
            import qcov as ct
            @ct.electron({settings})
            def g(x): return x
            f = ct.lattice(lambda x: g(x))
        """

    plain = key(made(program("")))
    assert key(made(program("retries=3, time_limit=2.0, retry_delay=1.0, cache=True"))) == plain
    workflow = made(program(""))
    workflow.build_graph(1)
    assert key(workflow) == plain

"""Keys of code: equal for what does the same, in every process; different for all else."""

from __future__ import annotations

import functools
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import qcov as ct
from qcov.classical.code_key import code_key

THRESHOLD = 3


def helper(x: int) -> int:
    return x + THRESHOLD


def uses_helper(x: int) -> int:
    return helper(x) * 2


def recursive(x: int) -> int:
    return x if x < 2 else recursive(x - 1)


def adder(by: Any) -> Callable[[Any], Any]:
    def add(x: Any) -> Any:
        return x + by

    return add


def compiled(code: str, **names: Any) -> Any:
    """The function `f` of some code, as a program of its own would have it."""
    space: dict[str, Any] = {"__name__": "__main__", **names}
    exec(textwrap.dedent(code), space)
    return space["f"]


PAIRS = [
    ("def f(x): return x + 1", "def f(x): return x + 2"),
    ("def f(x, y=1): return x", "def f(x, y=2): return x"),
    ("def f(x, *, y=1): return x", "def f(x, *, y=2): return x"),
    ("def f(x): return [y + 1 for y in x]", "def f(x): return [y + 2 for y in x]"),
    ("def f(x): return lambda: x + 1", "def f(x): return lambda: x + 2"),
    ("a = 1\ndef f(x): return x + a", "a = 2\ndef f(x): return x + a"),
    ("def g(x): return 1\ndef f(x): return g(x)", "def g(x): return 2\ndef f(x): return g(x)"),
    (
        "class A:\n  def m(self): return 1\ndef f(): return A().m()",
        "class A:\n  def m(self): return 2\ndef f(): return A().m()",
    ),
    (
        "class B: n = 1\nclass A(B): pass\ndef f(): return A.n",
        "class B: n = 2\nclass A(B): pass\ndef f(): return A.n",
    ),
    ("def f(x): return x in {'a', 'b'}", "def f(x): return x in {'a', 'c'}"),
    ("def f(x): return abs(x)", "def f(x): return len(x)"),
    ("import math as m\ndef f(x): return m.sin(x)", "import cmath as m\ndef f(x): return m.sin(x)"),
    ("def f(x):\n  import math\n  return x", "def f(x):\n  import cmath\n  return x"),
    ("d = {'a': [1]}\ndef f(): return d", "d = {'a': [2]}\ndef f(): return d"),
    ("def f(x):\n  try: return 1\n  except ValueError: return 2", "def f(x):\n  return 1"),
    ("def f(x): return 1", "def f(x): return 1.0"),
    ("def f(x): return True", "def f(x): return 1"),
    ("def f(x): return 0.0", "def f(x): return -0.0"),
    ("def f(x): return x.real", "def f(x): return x.imag"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_what_does_something_else_has_another_key(one: str, other: str) -> None:
    assert code_key(compiled(one)) != code_key(compiled(other))
    assert code_key(compiled(one)) == code_key(compiled("\n\n# moved\n" + textwrap.dedent(one)))
    assert code_key(compiled(one)) is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: adder(2),
        lambda: functools.partial(adder(2), 3),
        lambda: uses_helper,
        lambda: recursive,
        lambda: ct.electron(uses_helper),
        lambda: ct.lattice(adder(np.arange(3))),
        lambda: adder(np.arange(3.0)),
        lambda: adder({"a": {1, 2, 3}}),
        lambda: adder(np.random.default_rng(3)),
        lambda: "text".upper,
        lambda: print,
        lambda: np.sin,
        lambda: np.linalg.norm,
    ],
)
def test_keys_survive_a_journey(make: Callable[[], Any]) -> None:
    key = code_key(make())
    assert key is not None
    assert code_key(make()) == key
    assert code_key(cloudpickle.loads(cloudpickle.dumps(make()))) == key


def test_closures_count() -> None:
    assert code_key(adder(1)) != code_key(adder(2))
    assert code_key(adder(np.arange(3))) != code_key(adder(np.arange(4)))
    assert code_key(functools.partial(adder(1), 1)) != code_key(functools.partial(adder(1), 2))


def test_where_an_electron_runs_does_not_count() -> None:
    here, there = ct.electron(helper), ct.electron(helper, executor="local", retries=3)
    assert code_key(here) == code_key(there)


def test_what_cannot_be_compared_has_no_key() -> None:
    assert code_key(adder(threading.Lock())) is None


PROGRAM = """
import sys
import numpy as np
import pennylane as qml
import qcov as ct
import tools
from qcov.classical.code_key import code_key

WORDS = {"a", "b", "c"}

@ct.qelectron
@qml.qnode(qml.device("default.qubit", wires=1))
def circuit(x):
    qml.RX(x, wires=0)
    return qml.expval(qml.Z(0))

class Model:
    bias = np.ones(2)
    def __init__(self, scale):
        self.scale = scale
    def run(self, x):
        return float(circuit(x)) * self.scale + tools.offset() + len(WORDS)

@ct.electron
def task(x, model=Model(2)):
    return model.run(x)

before = code_key(task)
task(0.1)
assert code_key(task) == before  # what a QNode remembers of a call does not count
print(before)
"""


def test_keys_are_the_same_in_every_process_until_a_module_changes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "tools.py").write_text("import deep\ndef offset(): return deep.ONE")
    (tmp_path / "deep.py").write_text("ONE = 1")

    def key(seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-X", f"pycache_prefix={tmp_path}", "program.py"],
            env={"PYTHONHASHSEED": seed, "PATH": "", "PYTHONPATH": ":".join(sys.path)},
            cwd=tmp_path, check=True, capture_output=True, text=True, timeout=120,
        ).stdout.strip()  # fmt: skip

    first = key("1")
    assert len(first) == 64
    assert key("2") == first
    (tmp_path / "deep.py").write_text("ONE = 2  # another")
    assert key("1") != first

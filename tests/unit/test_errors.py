"""The exception tree: drawn at the top of its module, picklable, and sent over channels whole."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from qcov import errors
from qcov.classical.engine.channel import pack, pack_error, unpack_error
from qcov.errors import EngineError, QcovError, suggest

KINDS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, QcovError) and kind.__module__ == "qcov.errors"
]
LEAVES = [kind for kind in KINDS if kind.__init__ is not QcovError.__init__]

_SAMPLES = {"int": 3, "float": 1.5, "str": "text", "str | None": None, "int | None": 4}


def make(kind: type[QcovError]) -> QcovError:
    if kind not in LEAVES:
        return kind("text")
    parameters = inspect.signature(kind).parameters.values()
    return kind(**{each.name: _SAMPLES.get(each.annotation, ["a", "b"]) for each in parameters})


def drawn_tree() -> dict[str, str]:
    """Each drawn class with its parent."""
    tree: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"([│├└─ ]*)([A-Z]\w+)( |$)", line):
            depth = len(found[1]) // 4
            if depth or found[2] == "QcovError":
                path[depth:] = [found[2]]
                tree[found[2]] = path[depth - 1] if depth else ""
    return tree


def test_the_drawing_shows_every_class_under_its_parent() -> None:
    real = {
        kind.__name__: next((base.__name__ for base in kind.__mro__[1:] if base in KINDS), "")
        for kind in KINDS
    }
    assert drawn_tree() == real


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_survive_pickling(kind: type[QcovError]) -> None:
    error = make(kind)

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is kind
    assert (str(again), vars(again)) == (str(error), vars(error))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_travel_over_a_channel(kind: type[QcovError]) -> None:
    error = make(kind)
    message = pack_error(error)
    pack(message)

    again = unpack_error(message)

    assert type(again) is kind
    assert str(again) == str(error)
    plain = {name: value for name, value in vars(error).items() if not isinstance(value, tuple)}
    assert {name: vars(again)[name] for name in plain if name in vars(again)} == {
        name: value for name, value in plain.items() if not isinstance(value, list)
    }


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_messages_name_what_they_are_about(kind: type[QcovError]) -> None:
    error = make(kind)

    assert str(error)
    assert all(name in vars(error) for name in inspect.signature(kind).parameters)


def test_an_unknown_kind_of_error_is_an_engine_error() -> None:
    error = unpack_error({"type": "FromTheFuture", "message": "new trouble", "about": {}})

    assert type(error) is EngineError
    assert str(error) == "new trouble"


@pytest.mark.parametrize("name", ["suggest", "Any", "__name__", "Iterable"])
def test_a_message_cannot_make_anything_but_our_errors(name: str) -> None:
    error = unpack_error({"type": name, "message": "odd", "about": {}})

    assert isinstance(error, QcovError)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("locla", "Did you mean 'local'? Known: dask, local."),
        ("zzz", "Known: dask, local."),
    ],
)
def test_suggestions(name: str, expected: str) -> None:
    assert suggest(name, ["local", "dask"]) == expected


@pytest.mark.parametrize(
    "kind",
    [
        errors.CircuitError,
        errors.CircuitRejected,
        errors.TransientFailure,
        errors.QuotaExceeded,
        errors.ExecutorOffline,
    ],
)
def test_what_executors_raise_takes_a_plain_message(kind: type[errors.CircuitError]) -> None:
    error = kind("later")
    again = pickle.loads(pickle.dumps(error))
    for one in (error, again):
        assert str(one) == "the executor could not run the circuit: later"
        assert (one.executor, one.reason) == ("the executor", "later")
    assert str(kind(executor="Mine", reason="later")) == "Mine could not run the circuit: later"
    assert str(kind()) == "the executor could not run the circuit: it did not say why"

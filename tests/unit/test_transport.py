"""Blobs: versioned, content-addressed, sealed, and checked before anything is loaded."""

from __future__ import annotations

import gc
import json
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcov.errors import IntegrityError, SerializationError, VersionMismatch
from qcov.transport import (
    TransportableObject,
    address,
    check_seal,
    dumps,
    fingerprint,
    loads,
    seal,
    shorten,
)

KEY = b"k" * 32


class Canary:
    """Its pickle writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("not today")


def with_header(pickled: bytes, **header: object) -> bytes:
    text = json.dumps(header).encode()
    return b"QCOV" + len(text).to_bytes(2, "big") + text + pickled


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
        | st.binary() | st.complex_numbers(allow_nan=False),
        lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts) | st.tuples(parts, parts),
    )
)  # fmt: skip
def test_values_come_back_as_they_were(value: object) -> None:
    blob = dumps(value, what="it")
    again = loads(blob, digest=address(blob))

    assert (type(again), again) == (type(value), value)


def test_functions_of_the_main_program_travel() -> None:
    offset = 3
    assert loads(dumps(lambda x: x + offset, what="it"))(4) == 7


def test_subclasses_of_plain_types_stay_what_they_are() -> None:
    class Count(int):
        pass

    assert type(loads(dumps(Count(3), what="it"))).__name__ == "Count"


def test_arrays_come_back_equal() -> None:
    array = np.arange(10_000.0)
    np.testing.assert_array_equal(loads(dumps(array, what="it")), array)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (threading.Lock, "cannot pickle '_thread.lock' object"),
        (lambda: (n for n in range(3)), "cannot pickle 'generator' object"),
        (Unpicklable, "RuntimeError: not today"),
    ],
    ids=["lock", "generator", "the user's own __reduce__"],
)
def test_what_cannot_travel_is_named_with_its_reason(
    make: Callable[[], object], reason: str
) -> None:
    with pytest.raises(SerializationError, match="argument 'x' of electron 'f'") as caught:
        dumps(make(), what="argument 'x' of electron 'f'")

    assert reason in str(caught.value)
    assert caught.value.__cause__ is not None


# -- nothing is loaded before it was checked


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda blob: blob[:-1], id="cut short"),
        pytest.param(lambda blob: blob + b".", id="longer"),
        pytest.param(lambda blob: blob[:-5] + b"XXXXX", id="altered"),
        pytest.param(lambda blob: b"", id="empty"),
    ],
)
def test_bytes_that_do_not_match_their_digest_are_refused(
    spoil: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    blob = dumps(Canary(tmp_path / "canary"), what="it")

    with pytest.raises(IntegrityError, match="does not match its digest"):
        loads(spoil(blob), digest=address(blob))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("header", "error", "match"),
    [
        ({"schema": 1, "python": "2.7"}, VersionMismatch, "on Python 2.7, but this is qcov schema"),
        ({"schema": 99, "python": "3.11"}, VersionMismatch, "was made by qcov schema 99"),
        ({"schema": 1}, IntegrityError, "its header is damaged"),
        ({}, IntegrityError, "its header is damaged"),
    ],
    ids=["other Python", "other qcov", "half a header", "empty header"],
)
def test_the_header_is_checked_first(
    header: dict[str, object], error: type[Exception], match: str, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    blob = with_header(pickle.dumps(Canary(canary)), **header)

    with pytest.raises(error, match=match):
        loads(blob)
    assert not canary.exists()


@pytest.mark.parametrize("start", [b"", b"QCO", b"QCOV", b"QCOV\x00\x09[1, 2, 3]", b"QCOV\xff\xff"])
def test_bytes_without_our_header_are_refused(start: bytes, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    with pytest.raises(IntegrityError):
        loads(start + pickle.dumps(Canary(canary)))
    assert not canary.exists()


def test_a_bare_canary_would_have_sung(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Canary(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


def test_loading_leaves_the_collector_as_it_was() -> None:
    blob = dumps([1], what="it")
    loads(blob)
    assert gc.isenabled()

    gc.disable()
    try:
        loads(blob)
        assert not gc.isenabled()
    finally:
        gc.enable()


# -- seals


def test_a_seal_holds_for_its_key_content_and_place() -> None:
    made = seal(KEY, "digest", "dispatch", 3)

    check_seal(KEY, made, "digest", "dispatch", 3)


@pytest.mark.parametrize(
    ("key", "made", "digest", "place"),
    [
        (b"other" * 7, seal(KEY, "digest", "dispatch", 3), "digest", ("dispatch", 3)),
        (KEY, seal(KEY, "digest", "dispatch", 3), "digesT", ("dispatch", 3)),
        (KEY, seal(KEY, "digest", "dispatch", 3), "digest", ("dispatch", 4)),
        (KEY, seal(KEY, "digest", "dispatch", 3), "digest", ("dispatc", "h3")),
        (KEY, seal(KEY, "digest", "dispatch", 3), "digest", ("dispatch",)),
        (KEY, None, "digest", ("dispatch", 3)),
        (KEY, "", "digest", ("dispatch", 3)),
    ],
    ids=["key", "content", "node", "split elsewhere", "fewer parts", "missing", "empty"],
)
def test_any_other_seal_is_refused(
    key: bytes, made: str | None, digest: str, place: tuple[object, ...]
) -> None:
    with pytest.raises(IntegrityError, match="its seal is missing or was made elsewhere"):
        check_seal(key, made, digest, *place)


# -- TransportableObject


def test_it_equals_what_it_carries() -> None:
    sent = TransportableObject([1, 2])

    assert sent == [1, 2]
    assert sent == TransportableObject([1, 2])
    assert sent != [1, 3]
    assert sent != TransportableObject([1, 3])
    assert (str(sent), repr(sent)) == ("[1, 2]", "TransportableObject([1, 2])")


def test_it_survives_serialising_and_pickling() -> None:
    sent = TransportableObject({"a": 1})

    for again in (
        TransportableObject.deserialize(sent.serialize()),
        pickle.loads(pickle.dumps(sent)),
        TransportableObject.make_transportable(sent),
    ):
        assert again.get_deserialized() == {"a": 1}
        assert again.object_string == "{'a': 1}"
        assert again.python_version == sent.python_version


# -- what people see


class BadRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, "a"], "[1, 'a']"),
        (BadRepr(), "<BadRepr whose repr raised RuntimeError>"),
        ([BadRepr()], "<list whose repr raised RuntimeError>"),
        ("x" * 5000, "'" + "x" * 96 + "..."),
    ],
    ids=["plain", "bad repr", "bad repr inside", "long"],
)
def test_shorten(value: object, expected: str) -> None:
    assert shorten(value, limit=100) == expected


@given(st.lists(st.integers()) | st.dictionaries(st.text(), st.text()), st.integers(10, 200))
def test_shortened_text_is_never_longer_than_its_limit(value: object, limit: int) -> None:
    assert len(shorten(value, limit=limit)) <= limit


def test_a_huge_container_is_not_written_out_whole() -> None:
    class Counted:
        count = 0

        def __repr__(self) -> str:
            Counted.count += 1
            return "c"

    shorten([Counted()] * 100_000)
    assert Counted.count <= 1000


# -- fingerprints


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        ([np.arange(3.0), [1, (2, "x")]], [np.arange(3.0), [1, (2, "x")]]),
        (object(), object()),
        ([object(), 1], [object(), 1]),
        (float("nan"), float("nan")),
    ],
)
def test_equal_data_share_a_fingerprint(one: object, other: object) -> None:
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        ("1", 1),
        ([1, 2], [2, 1]),
        ([1], (1,)),
        ([[1], 2], [1, [2]]),
        (list(range(1000)), [*range(999), -1]),
        (np.arange(3), np.arange(3.0)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        ([np.zeros(3)], [np.ones(3)]),
        (object(), Exception()),
        ({"a": [1]}, {"a": [2]}),
    ],
)
def test_other_data_have_another_fingerprint(one: object, other: object) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_a_fingerprint_of_a_circle() -> None:
    circle: list[object] = []
    circle.append([circle])
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]

    assert fingerprint(circle)
    assert fingerprint(deep)


def test_code_keeps_the_name_of_its_file() -> None:
    """Newer versions of cloudpickle leave it out, and tracebacks would not say where."""

    def outer() -> Any:
        return lambda: 1

    copied = loads(dumps(outer, what="a function"))

    assert copied.__code__.co_filename == copied().__code__.co_filename == __file__
    assert dumps(copied, what="a copy") == dumps(outer, what="a function")

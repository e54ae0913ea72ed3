"""What is secret is told to nobody, and found where it was said to be."""

from __future__ import annotations

import copy
import json
import pickle
import stat
import sys
import traceback
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

from qcov.credentials import Credential
from qcov.errors import CredentialMissing
from qcov.executor import FakeQPU

SECRET = "canary-2f9c"


class Holder(BaseModel):
    token: Credential


def test_references_are_resolved_when_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    by_name, by_path = Credential("env:MY_TOKEN"), Credential(f"file:{file}")
    monkeypatch.setenv("MY_TOKEN", f" {SECRET}\n")
    file.write_text(f"{SECRET}\n")

    assert by_name.reveal() == by_path.reveal() == SECRET
    assert repr(by_name) == "Credential('env:MY_TOKEN')"


def test_a_keyring_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = ModuleType("keyring")
    keyring.get_password = lambda service, user: (
        SECRET if (service, user) == ("ibm", "me") else None
    )  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)

    assert Credential("keyring:ibm/me").reveal() == SECRET
    with pytest.raises(CredentialMissing, match="nothing for the service 'ibm' and the user 'you'"):
        Credential("keyring:ibm/you").reveal()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("env:NOBODY_HAS_SET_THIS", "set the environment variable NOBODY_HAS_SET_THIS"),
        ("file:/nowhere/token", "the file cannot be read: No such file"),
        ("kept:0123", "was given on another machine"),
    ],
)
def test_what_is_not_there_is_said(source: str, message: str, data_folder: Path) -> None:
    with pytest.raises(CredentialMissing, match=message):
        Credential(source).reveal()


@pytest.mark.parametrize("value", ["", None, 5, b"x", "env:", "file:"])
def test_what_is_no_credential_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be text"):
        Holder(token=value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be text"):
        Credential(value)  # type: ignore[arg-type]


def test_a_literal_travels_as_a_reference(data_folder: Path) -> None:
    holder = Holder(token=SECRET)  # type: ignore[arg-type]

    told = [
        repr(holder), str(holder.token), f"{holder.token}", repr(copy.deepcopy(holder)),
        holder.model_dump_json(), repr(holder.model_dump()), repr(pickle.dumps(holder)),
    ]  # fmt: skip

    assert not [text for text in told if SECRET in text]
    for travelled in (pickle.loads(pickle.dumps(holder)), Holder(**json.loads(told[4]))):
        assert travelled.token.reveal() == SECRET
    kept = data_folder / "credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert len(json.loads(kept.read_text())) == 1  # the same one is kept once


def test_a_literal_is_in_no_traceback(data_folder: Path) -> None:
    (data_folder).mkdir()
    (data_folder / "credentials.json").write_text("{broken")
    try:
        pickle.dumps(Credential(SECRET))
    except CredentialMissing:
        assert SECRET not in traceback.format_exc()
    else:
        pytest.fail("a broken file was overwritten")
    assert (data_folder / "credentials.json").read_text() == "{broken"


def test_equal_secrets_are_equal() -> None:
    assert Credential(SECRET) == Credential(SECRET)
    assert Credential(SECRET) != Credential("env:X")
    assert hash(Credential(SECRET)) == hash(Credential(SECRET))


def test_a_copy_writes_nothing(data_folder: Path) -> None:
    assert copy.deepcopy(Credential(SECRET)).reveal() == SECRET
    assert not data_folder.exists()


@pytest.mark.parametrize("value", [SECRET.encode(), [SECRET], {"token": SECRET}, "with another"])
def test_a_wrong_token_is_not_told(value: object) -> None:
    """Such as what `open(path, "rb").read()` gives, or a right one beside what is wrong."""
    settings = {"token": SECRET, "retries": "many"} if value == "with another" else {"token": value}
    for make in (FakeQPU, FakeQPU.model_validate):
        try:
            make(**settings) if make is FakeQPU else make(settings)
        except ValueError as error:
            told = "".join(traceback.format_exception(error))
            assert SECRET not in told
        else:
            pytest.fail("it was taken")

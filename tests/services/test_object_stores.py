"""S3 as moto plays it, and the wire of Google's and Azure's storage."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

import qcov as ct
from qcov.errors import TransferFailed
from qcov.fs import File, FileTransfer, Folder, TransferFromRemote, TransferToRemote
from qcov.fs_strategies import S3, Blob, FileTransferStrategy, GCloud
from tests.services.conftest import module

for name in ("boto3", "moto", "google.cloud.storage", "azure.storage.blob", "azure.identity"):
    module(name)
from tests.services.clouds import Azure, Cloud, Google, serving  # noqa: E402  # needs them

ODD = "sp ace é'+%20&=#?.txt"


@dataclass(frozen=True)
class Store:
    """A store with one bucket."""

    url: Callable[[str], str]
    strategy: FileTransferStrategy | None  #: None where the URL says it
    put: Callable[[str, bytes], None]
    objects: Callable[[], dict[str, bytes]]

    def there(self, name: str) -> File:
        return File(self.url(name))


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    import boto3

    settings = {"AWS_ENDPOINT_URL": moto, "AWS_DEFAULT_REGION": "us-east-1"}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        settings[name] = "testing"
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    client = boto3.client("s3")
    client.create_bucket(Bucket="bkt")

    def objects() -> dict[str, bytes]:
        found = client.list_objects_v2(Bucket="bkt").get("Contents", [])
        read = {one["Key"]: client.get_object(Bucket="bkt", Key=one["Key"]) for one in found}
        return {name: answer["Body"].read() for name, answer in read.items()}

    yield Store(
        lambda name: f"s3://bkt/{name}",
        None,
        lambda name, data: client.put_object(Bucket="bkt", Key=name, Body=data),
        objects,
    )
    for name in objects():
        client.delete_object(Bucket="bkt", Key=name)
    client.delete_bucket(Bucket="bkt")


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, type[Cloud]]]:
    with serving(Google) as (address, cloud):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        yield (
            Store(
                lambda name: f"gs://bkt/{name}",
                None,
                cloud.objects.__setitem__,
                cloud.objects.copy,
            ),
            cloud,
        )


@pytest.fixture
def gs(google: tuple[Store, type[Cloud]]) -> Store:
    return google[0]


@pytest.fixture
def azure() -> Iterator[Store]:
    with serving(Azure) as (address, cloud):
        yield Store(
            lambda name: f"{address}/lab/bkt/{quote(name)}?sv=2024-11-04&sig=secret",
            Blob(),
            cloud.objects.__setitem__,
            cloud.objects.copy,
        )


@pytest.fixture(params=["s3", "gs", "azure"])
def store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is brought."""
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    for name in ("a.txt", ODD, "deep/er/b.txt", "deep/empty"):
        (folder / name).write_text("" if name.endswith("empty") else f"in {name}")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", ["a.txt", ODD, "deep/empty"])
def test_a_file_goes_there_and_comes_back(store: Store, folder: Path, name: str) -> None:
    back = folder.parent / "new" / "folder" / "back"

    TransferToRemote(store.there(f"up/{name}"), folder / name, store.strategy).run()
    TransferFromRemote(store.there(f"up/{name}"), back, store.strategy).run()

    assert store.objects() == {f"up/{name}": (folder / name).read_bytes()}
    assert tree(back.parent) == {"back": (folder / name).read_bytes()}


def test_large_files_go_in_pieces(store: Store, tmp_path: Path) -> None:
    large, back = tmp_path / "large", tmp_path / "back"
    with large.open("wb") as file:  # more than any library sends in one piece
        for number in range(70):
            file.write(number.to_bytes() * (1 << 20))

    TransferToRemote(store.there("large"), large, store.strategy).run()
    TransferFromRemote(store.there("large"), back, store.strategy).run()

    assert subprocess.run(["cmp", large, back], check=False).returncode == 0


@pytest.mark.parametrize("whole", [False, True])
def test_a_folder_goes_there_and_comes_back(store: Store, folder: Path, whole: bool) -> None:
    sent, back = Folder(folder, include_folder=whole), folder.parent / "back"
    prefix = "up/folder/" if whole else "up/"
    store.put("upper.txt", b"not in the folder")

    TransferToRemote(store.there("up/"), sent, store.strategy).run()
    TransferFromRemote(store.there(prefix), back, store.strategy).run()

    expected = {f"{prefix}{name}": data for name, data in tree(folder).items()}
    assert store.objects() == expected | {"upper.txt": b"not in the folder"}
    assert tree(back) == tree(folder)


def test_a_whole_bucket_comes(store: Store, folder: Path) -> None:
    for name, data in tree(folder).items():
        store.put(name, data)
    target = folder.parent / "target"

    TransferFromRemote(store.there(""), target, store.strategy).run()

    assert tree(target) == tree(folder)


def test_a_mark_of_a_folder_is_no_file(store: Store, tmp_path: Path) -> None:
    store.put("up/", b"")
    store.put("up/deep/", b"")
    store.put("up/deep/a", b"1")

    TransferFromRemote(store.there("up/"), tmp_path / "target", store.strategy).run()

    assert tree(tmp_path / "target") == {"deep/a": b"1"}


def test_objects_are_copied(store: Store, tmp_path: Path) -> None:
    store.put("one/a", b"1")
    store.put("one/b/c", b"2")

    FileTransfer(store.there("one/a"), store.there("two"), strategy=store.strategy).run()
    FileTransfer(store.there("one/"), store.there("three/"), strategy=store.strategy).run()

    copies = {"two": b"1", "three/a": b"1", "three/b/c": b"2"}
    assert store.objects() == {"one/a": b"1", "one/b/c": b"2", **copies}


@pytest.mark.parametrize("name", ["missing", "missing/"])
def test_what_is_not_there_leaves_nothing(store: Store, tmp_path: Path, name: str) -> None:
    target = tmp_path / "here" / "target"
    target.parent.mkdir()
    if not name.endswith("/"):
        target.write_text("before")

    with pytest.raises(TransferFailed) as failed:
        TransferFromRemote(store.there(name), target, store.strategy).run()

    assert f"{name} could not be transferred to {target}" in str(failed.value)
    assert "secret" not in str(failed.value)
    assert tree(target.parent) == ({} if name.endswith("/") else {"target": b"before"})


def test_an_object_cannot_leave_its_folder(store: Store, tmp_path: Path) -> None:
    store.put("up/../../escaped", b"bad")
    store.put("up/good", b"good")

    with pytest.raises(TransferFailed, match="'../../escaped' would lie outside the folder"):
        TransferFromRemote(store.there("up/"), tmp_path / "a" / "b", store.strategy).run()

    assert tree(tmp_path) == {}


@pytest.mark.process
def test_an_electron_works_on_objects(store: Store, tmp_path: Path) -> None:
    store.put("in.txt", b"hello")

    @ct.electron(
        files=[
            TransferFromRemote(store.there("in.txt"), strategy=store.strategy),
            TransferToRemote(store.there("out.txt"), tmp_path / "out", strategy=store.strategy),
        ]
    )
    def shout(files: list[tuple[str, str]]) -> str:
        (_, here), (out, _) = files
        text = Path(here).read_text()
        Path(out).write_text(text.upper())
        Path(here).unlink()
        return text

    result = ct.dispatch_sync(ct.lattice(shout))()

    assert (result.status, result.result) == ("COMPLETED", "hello"), result.error
    assert store.objects() == {"in.txt": b"hello", "out.txt": b"HELLO"}


@pytest.mark.parametrize(
    ("make", "used"),
    [
        (lambda path: S3(credentials=path), "FIRST/"),
        (lambda path: S3(credentials=path, profile="second", region_name="eu-west-3"), "SECOND/"),
        (lambda _: S3(region_name="eu-west-3"), "testing/"),
    ],
    ids=["file", "profile", "environment"],
)
def test_s3_uses_the_credentials_that_it_is_given(
    s3: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[str], S3],
    used: str,
) -> None:
    path = tmp_path / "credentials"
    path.write_text(
        "[default]\naws_access_key_id=FIRST\naws_secret_access_key=x\n"
        "[second]\naws_access_key_id=SECOND\naws_secret_access_key=x\n"
    )
    strategy = make(str(path))
    with serving(Google) as (address, cloud):  # whatever it is, it sees who asks
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(TransferFailed):
            strategy.download("s3://bkt/a", str(tmp_path / "a"))()

    sent = cloud.seen["HEAD /bkt/a"]
    assert f"Credential={used}" in sent
    assert f"/{strategy.region_name or 'us-east-1'}/s3/" in sent


def test_a_credentials_file_that_is_missing_is_not_replaced(s3: Store, tmp_path: Path) -> None:
    with pytest.raises(TransferFailed, match="No such file or directory"):
        S3(credentials=str(tmp_path / "nowhere")).download("s3://bkt/a", str(tmp_path / "a"))()


@pytest.mark.parametrize("as_text", [False, True])
def test_google_uses_a_service_account(
    google: tuple[Store, type[Cloud]], tmp_path: Path, as_text: bool
) -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    store, cloud = google
    key = generate_private_key(65537, 2048)
    account = {
        "type": "service_account",
        "project_id": "lab",
        "client_email": "a@lab.example",
        "token_uri": f"{os.environ['STORAGE_EMULATOR_HOST']}/token",
        "private_key": key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ).decode(),
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account))
    store.put("a", b"1")

    strategy = GCloud(path.read_text() if as_text else str(path), project_id="lab")
    strategy.download("gs://bkt/a", str(tmp_path / "a"))()

    assert (tmp_path / "a").read_bytes() == b"1"
    assert cloud.seen["GET /download/storage/v1/b/bkt/o/a"] == "Bearer granted"
    assert "private_key" not in repr(strategy)


def test_azure_refuses_a_wrong_signature(azure: Store, tmp_path: Path) -> None:
    azure.put("a", b"1")
    wrong = azure.url("a").replace("sig=secret", "sig=wrong")

    with pytest.raises(TransferFailed, match="AuthenticationFailed") as failed:
        TransferFromRemote(wrong, tmp_path / "a", strategy=Blob()).run()

    assert "sig=" not in str(failed.value)


def test_azure_logs_in_as_a_service_principal() -> None:
    from azure.identity import ClientSecretCredential

    credential = Blob(client_id="1", client_secret="2", tenant_id="3")._credential()

    assert isinstance(credential, ClientSecretCredential)

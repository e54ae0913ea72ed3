"""Payloads in a bucket: what is sent, and what is said when that fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qcov.errors import IntegrityError, StoreUnavailable
from qcov.store.blobs import INLINE_LIMIT, Payloads, open_payloads
from qcov.store.store import Store
from qcov.transport import address
from tests.services.s3 import Bucket
from tests.unit.store.conftest import Put

SMALL = b"s" * 100_000
LARGE = b"l" * 2_000_000
HUGE = os.urandom(1 << 20) * 101  # more than s3fs sends with one request


@pytest.fixture
def payloads(bucket: Bucket) -> Payloads:
    return open_payloads(bucket.url)


def refused(use: Callable[[], object]) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        use()
    assert "testing-secret" not in str(caught.value)
    assert caught.value.__cause__ is not None
    return caught.value


pytestmark = pytest.mark.services


@pytest.mark.parametrize("data", [SMALL, LARGE, HUGE], ids=["small", "large", "huge"])
def test_objects_are_named_as_files_are(payloads: Payloads, bucket: Bucket, data: bytes) -> None:
    payloads.write(address(data), data)

    assert payloads.read(address(data)) == data
    assert bucket.payloads == {address(data)}


def test_what_was_sent_lately_is_not_sent_again(payloads: Payloads, bucket: Bucket) -> None:
    payloads.write(address(LARGE), LARGE)
    first = payloads.ages([address(LARGE)])
    bucket.alter(address(LARGE), b"x" * len(LARGE))
    payloads.write(address(LARGE), LARGE)
    assert payloads.read(address(LARGE))[:1] == b"x"

    bucket.age()  # `qcov prune` would take it: it is needed again
    payloads.write(address(LARGE), LARGE)
    assert payloads.read(address(LARGE)) == LARGE
    assert payloads.ages([address(LARGE)])[address(LARGE)] >= first[address(LARGE)]


def test_one_of_another_size_is_replaced(payloads: Payloads, bucket: Bucket) -> None:
    payloads.write(address(LARGE), LARGE)
    bucket.alter(address(LARGE), LARGE[:-1])
    payloads.write(address(LARGE), LARGE)

    assert payloads.read(address(LARGE)) == LARGE


def test_many_are_removed_at_once(payloads: Payloads, bucket: Bucket) -> None:
    many = {address(data): data for data in (b"%d" % number * 40_000 for number in range(30))}
    for digest, data in many.items():
        payloads.write(digest, data)
    assert payloads.ages(many).keys() == bucket.payloads == set(many)

    kept, *removed = many
    payloads.remove([*removed, "0" * 64])

    assert bucket.payloads == {kept}


def test_a_bucket_that_does_not_exist_is_named(bucket: Bucket) -> None:
    wrong = open_payloads("s3://no-such-bucket/prefix")
    for use in (wrong.check, lambda: wrong.write(address(LARGE), LARGE),
                lambda: wrong.read(address(LARGE))):  # fmt: skip
        told = refused(use)
        assert "the object store s3://no-such-bucket/prefix cannot be used" in str(told)
        assert "bucket does not exist" in told.reason
        assert "Make the bucket" in told.advice
        assert not wrong.passes(told)


def test_a_server_that_is_away_comes_back(payloads: Payloads, bucket: Bucket) -> None:
    payloads.write(address(LARGE), LARGE)
    bucket.server.stop()
    try:
        for use in (payloads.check, lambda: payloads.write(address(SMALL), SMALL),
                    lambda: payloads.read(address(LARGE))):  # fmt: skip
            told = refused(use)
            assert "Is the server up" in told.advice
            assert payloads.passes(told)
    finally:
        bucket.server.start()

    assert payloads.read(address(LARGE)) == LARGE


def test_credentials_that_are_missing_are_looked_for_again(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    payloads = open_payloads(bucket.url)
    with monkeypatch.context() as without:
        without.delenv("AWS_ACCESS_KEY_ID")
        without.delenv("AWS_SECRET_ACCESS_KEY")
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            without.setenv(name, str(tmp_path / "none"))
        without.setenv("AWS_EC2_METADATA_DISABLED", "true")
        told = refused(payloads.check)
        assert "credentials" in told.reason
        assert not payloads.passes(told)

    payloads.check()


def test_the_variables_of_the_start_hold(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """An electron may change them before the first payload is written."""
    payloads = open_payloads(bucket.url, variables=dict(os.environ))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    changed = dict(os.environ)
    payloads.write(address(SMALL), SMALL)

    assert bucket.payloads == {address(SMALL)}
    assert dict(os.environ) == changed


def test_fsspec_s_own_settings_are_heeded(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("FSSPEC_S3", '{"key": "given-by-fsspec", "secret": "testing-secret"}')
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    payloads = open_payloads(bucket.url)
    payloads.write(address(SMALL), SMALL)
    assert bucket.payloads == {address(SMALL)}

    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", "http://127.0.0.1:1/?sig=testing-secret")
    told = refused(open_payloads(bucket.url).check)
    assert "127.0.0.1:1" in told.reason


@pytest.mark.parametrize(
    ("url", "module", "said"),
    [
        ("s3://bucket", "s3fs", r"pip install 'qcov\[aws\]'"),
        ("gs://bucket", "gcsfs", r"pip install 'qcov\[gcp\]'"),
        ("abfs://box", "adlfs", r"pip install 'qcov\[azure\]'"),
        ("s3://bucket", "fsspec", r"pip install 'qcov\[aws\]'"),
        ("nothing-known://host/a", "", "Protocol not known: nothing-known"),
    ],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, url: str, module: str, said: str
) -> None:
    import_registry_afresh(monkeypatch)
    if module:
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(StoreUnavailable, match=said):
        open_payloads(url).check()


def import_registry_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget which file systems were loaded before."""
    registry = pytest.importorskip("fsspec.registry")
    monkeypatch.setattr(registry, "_registry", {})
    monkeypatch.setattr(registry, "registry", {})


# -- where names are not whole objects


@pytest.fixture
def drive(tmp_path: Path) -> Payloads:
    """A file system of which nothing is known: this machine's, under another name."""
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.local import LocalFileSystem

    class Drive(LocalFileSystem):
        protocol = "drive"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return super()._strip_protocol(str(path).replace("drive://", "/"))

        def pipe_file(self, path: str, value: bytes, **more: object) -> None:
            if value == SMALL:
                Path(path).write_bytes(value[:7])
                raise OSError(28, "No space left on device")
            super().pipe_file(path, value, **more)

    fsspec.register_implementation("drive", Drive, clobber=True)
    return open_payloads(f"drive:/{tmp_path}/payloads")


def test_elsewhere_a_draft_is_renamed(drive: Payloads, tmp_path: Path) -> None:
    drive.check()
    drive.write(address(LARGE), LARGE)
    told = refused(lambda: drive.write(address(SMALL), SMALL))

    assert "No space left" in told.reason
    assert drive.passes(told)
    assert drive.read(address(LARGE)) == LARGE
    assert drive.ages([address(LARGE), address(SMALL)]).keys() == {address(LARGE)}
    with pytest.raises(IntegrityError, match="is gone"):
        drive.read(address(SMALL))
    drive.remove([address(LARGE)])
    assert not (tmp_path / "payloads" / address(LARGE)[:2] / address(LARGE)).exists()


# -- in a store


@pytest.fixture
def payloads_at(bucket: Bucket) -> str:
    return bucket.url


@pytest.fixture
def database_url() -> str:
    return ""


def test_only_large_ones_are_objects(store: Store, put: Put, bucket: Bucket) -> None:
    small, large = b"x" * INLINE_LIMIT, b"x" * (INLINE_LIMIT + 1)
    put({"blob": [store.blob_row(address(data), data) for data in (small, large)]})

    assert bucket.payloads == {address(large)}
    assert [store.blob(address(data)) for data in (small, large)] == [small, large]
    assert [store.inline_blob(address(data)) for data in (small, large)] == [small, None]


def test_one_that_was_altered_is_refused(store: Store, put: Put, bucket: Bucket) -> None:
    put({"blob": [store.blob_row(address(LARGE), LARGE)]})
    bucket.alter(address(LARGE), b"y" * len(LARGE))

    with pytest.raises(IntegrityError, match="does not match its digest"):
        store.blob(address(LARGE))


def test_a_store_does_not_open_where_nothing_can_be_written(
    bucket: Bucket, data_folder: Path
) -> None:
    with pytest.raises(StoreUnavailable, match="Make the bucket"):
        Store(data_folder, payloads="s3://no-such-bucket")

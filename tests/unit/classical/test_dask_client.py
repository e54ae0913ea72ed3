"""What a cluster is refused for: versions, certificates, modules that its workers lack."""

from __future__ import annotations

import os
import signal
import socket
import sys
import types
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from qcov.classical.executors import dask_client, dask_surroundings
from qcov.classical.executors.base import RaisedElsewhere
from qcov.classical.executors.dask import DaskExecutor
from qcov.classical.executors.dask_surroundings import fetched, offered
from qcov.classical.executors.dask_worker import _NOTHING, run_electron
from qcov.classical.executors.registry import executor_dict, executor_from, executor_of
from qcov.config import set_config
from qcov.errors import ClusterUnavailable, ConfigError, EngineError, WorkerLost
from qcov.transport import TransportableObject
from qcov.wire import pack, unpack

distributed = pytest.importorskip("distributed", reason="needs the extra `dask`")
pytest.importorskip("cryptography")

METADATA = {"dispatch_id": "some dispatch", "node_id": 3, "results_dir": ""}


def run(address: str, function: Any, *args: Any) -> Any:
    """What a function returns on a cluster."""
    value = DaskExecutor(address).run(function, args, {}, METADATA)
    assert isinstance(value, TransportableObject)
    return value.get_deserialized()


# -- without a cluster


def test_an_executor_as_data_is_the_same_executor() -> None:
    executor = DaskExecutor("tcp://10.0.0.1:8786", retries=2, time_limit=5, log_stdout="out")

    assert executor_from(executor_dict(executor)) == executor


def test_it_is_known_by_name_with_the_settings_of_its_section() -> None:
    set_config("executors.dask.log_stdout", "elsewhere.log")

    executor = executor_of("dask")

    assert isinstance(executor, DaskExecutor)
    assert (executor.log_stdout, executor.scheduler_address) == ("elsewhere.log", "")


def said(python: str = "", cloudpickle: str = "", qcov: str | None = "") -> dict[str, Any]:
    """What Dask says of a scheduler or worker; what is left out is as here."""
    mine = dask_client.versions()
    return {
        "host": {"python": python or f"{mine['python']}.9.final.0"},
        "packages": {
            "cloudpickle": cloudpickle or f"{mine['cloudpickle']}.7.1",
            "qcov": mine["qcov"] if qcov == "" else qcov,
        },
    }


def test_equal_versions_fit_whatever_their_last_digits() -> None:
    dask_client._check_versions("tcp://a:1", {"scheduler": said(), "workers": {"w": said()}})


@pytest.mark.parametrize(
    ("worker", "told"),
    [
        (said(python="3.9.2.final.0"), "its tcp://w:2 has python 3.9, this program has python 3."),
        (said(cloudpickle="1.6.0"), "has cloudpickle 1, this program has cloudpickle"),
        (said(qcov="0.0.7"), "has qcov 0.0.7, this program has qcov"),
        (said(qcov=None), "has no qcov, this program has qcov"),
    ],
)
def test_other_versions_are_named_on_both_sides(worker: dict[str, Any], told: str) -> None:
    found = {"scheduler": said(), "workers": {"tcp://v:1": said(), "tcp://w:2": worker}}

    with pytest.raises(ClusterUnavailable, match="tcp://a:1") as caught:
        dask_client._check_versions("tcp://a:1", found)

    assert told in str(caught.value)


def test_a_worker_that_came_later_refuses_what_does_not_fit() -> None:
    mine = dask_client.versions()

    answer = unpack(run_electron(pack({"versions": {**mine, "python": "3.9"}})))

    assert answer["did"] == "refused"
    assert "python 3.9" in answer["reason"]
    assert f"python {mine['python']}" in answer["reason"]


def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_client, "_CONNECTS", 0.3)

    with pytest.raises(ClusterUnavailable, match=r"tcp://127.0.0.1:9 cannot be used: it cannot be"):
        run("tcp://127.0.0.1:9", abs, -1)


@pytest.mark.parametrize("address", ["nonsense://127.0.0.1:9", "tls://127.0.0.1:9"])
def test_an_address_that_cannot_be_used(address: str) -> None:
    with pytest.raises(ClusterUnavailable, match=f"{address} cannot be used"):
        run(address, abs, -1)


# -- on a cluster


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    cluster = distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=50,
    )
    with cluster:
        yield cluster.scheduler_address


@pytest.mark.process
def test_large_values_go_and_come(address: str) -> None:
    assert run(address, lambda data: data * 2, b"x" * 5_000_000) == b"x" * 10_000_000


@pytest.mark.process
def test_modules_that_workers_lack_are_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("only_here")
    exec("def f(): return 1", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)

    with pytest.raises(ClusterUnavailable, match="its workers cannot import only_here"):
        run(address, vars(module)["f"])


@pytest.mark.process
def test_what_cannot_be_sent_back_is_an_error_of_the_electron(address: str) -> None:
    with pytest.raises(RaisedElsewhere, match="value that electron '<lambda>' returned"):
        run(address, lambda: (number for number in range(3)))


@pytest.mark.process
@pytest.mark.parametrize("answer", [b"\x93\x01", 3, pack({"did": 7}), pack([1])])
def test_answers_that_are_none_are_refused(
    answer: object, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qcov.classical.executors.dask.run_electron", lambda _asked: answer)

    with pytest.raises(EngineError, match="gave no answer of qcov's"):
        run(address, abs, -1)


@pytest.mark.process
def test_variables_are_there_on_this_machine_and_in_nothing_that_is_sent(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_PROGRAM", "a secret")
    assert run(address, os.getenv, "OF_THE_PROGRAM") == "a secret"

    def told(asked: bytes) -> bytes:  # what a worker gets behind a tunnel, say
        return pack({**_NOTHING, "did": "raised", "reason": repr(asked)})

    monkeypatch.setattr("qcov.classical.executors.dask.run_electron", told)
    with pytest.raises(RaisedElsewhere) as caught:
        run(address, abs, -1)

    assert "abs" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert str(Path.cwd()) not in str(caught.value)


def test_what_is_around_an_electron_is_found_as_long_as_it_runs() -> None:
    with offered({"cwd": "/here"}) as place:
        assert fetched(place) == {"cwd": "/here"}
        assert fetched(place) == {"cwd": "/here"}
        assert Path(place["path"]).parent.stat().st_mode & 0o777 == 0o700
    assert not Path(place["path"]).parent.exists()
    assert fetched(place) is None


def refusing(folder: Path) -> str:
    """The path of a socket of the file system at which nobody listens, as on another machine."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "around"))
    return str(folder / "around")


@pytest.mark.process
def test_electrons_run_where_another_machine_has_the_socket_of_their_program(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = {"machine": "another", "path": refusing(tmp_path)}
    monkeypatch.setattr("qcov.classical.executors.dask.offered", lambda _: nullcontext(place))
    monkeypatch.setenv("OF_THE_PROGRAM", "a secret")

    assert run(address, os.getenv, "OF_THE_PROGRAM", "nothing") == "nothing"


@pytest.mark.process
def test_electrons_of_a_program_that_is_gone_are_lost(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with offered({}) as place:
        here = {**place, "path": refusing(tmp_path)}
    monkeypatch.setattr("qcov.classical.executors.dask.offered", lambda _: nullcontext(here))

    with pytest.raises(WorkerLost, match="the program that gave it to Dask is gone"):
        run(address, abs, -1)


def test_what_is_around_an_electron_goes_though_a_child_of_the_program_stays() -> None:
    with offered({}) as place:
        child = os.fork()
        if not child:
            signal.pause()
    try:
        assert not Path(place["path"]).exists()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_what_another_user_answers_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    with offered({"executable": "/theirs"}) as place:
        monkeypatch.setattr(dask_surroundings, "is_ours", lambda _: False)
        assert fetched(place) is None


# -- with certificates


def certificates(folder: Path) -> dict[str, str]:
    """Files of a new authority, whose certificate is that of all sides."""
    folder.mkdir()
    security = distributed.Security.temporary()
    texts = {
        "tls_ca_file": security.tls_ca_file,
        "tls_cert": security.tls_client_cert,
        "tls_key": security.tls_client_key,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return {name: str(folder / name) for name in texts}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A cluster that only answers to those with its certificates, and their files."""
    files = certificates(tmp_path_factory.mktemp("tls") / "right")
    sides = {
        f"tls_{side}_{kind}": files[f"tls_{kind}"]
        for side in ("scheduler", "worker", "client")
        for kind in ("cert", "key")
    }
    security = distributed.Security(
        tls_ca_file=files["tls_ca_file"], require_encryption=True, **sides
    )
    cluster = distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        host="127.0.0.1",
        protocol="tls://",
        security=security,
        dashboard_address=None,
        silence_logs=50,
    )
    with cluster:
        yield cluster.scheduler_address, files


@pytest.mark.process
def test_the_right_certificates_let_in(secured: tuple[str, dict[str, str]]) -> None:
    address, files = secured
    set_config({f"dask.{name}": path for name, path in files.items()})

    assert run(address, max, 1, 3) == 3


@pytest.mark.process
def test_other_certificates_are_a_clear_error(
    secured: tuple[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_client, "_CONNECTS", 1.0)
    files = certificates(tmp_path / "wrong")
    set_config({f"dask.{name}": path for name, path in files.items()})

    with pytest.raises(ClusterUnavailable, match="certificates of the settings") as caught:
        run(secured[0], max, 1, 3)

    assert "dask.tls_ca_file" in str(caught.value)


@pytest.mark.process
def test_no_certificates_are_a_clear_error(secured: tuple[str, dict[str, str]]) -> None:
    with pytest.raises(ClusterUnavailable, match=r"dask\.tls_ca_file"):
        run(secured[0], max, 1, 3)


def test_a_file_of_certificates_that_is_not_there(tmp_path: Path) -> None:
    set_config("dask.tls_ca_file", str(tmp_path / "none.pem"))

    with pytest.raises(ConfigError, match=r"dask\.tls_ca_file.*none\.pem"):
        run("tls://127.0.0.1:9", max, 1, 3)

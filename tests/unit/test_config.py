from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import qcov as ct
from qcov.config import config_file, data_dir, get_config, reload_config, set_config
from qcov.errors import ConfigError, EnvironmentMismatch


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("QCOV_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("QCOV_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("QCOV_DATA_DIR", str(tmp_path / "data"))
    reload_config()
    return tmp_path / "config" / "qcov.conf"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_defaults_need_no_file_and_write_none(config: Path) -> None:
    assert get_config("dispatcher.port") == 48008
    assert get_config("engine.idle_timeout") == 300.0
    assert get_config("executors.dask.log_stdout") == "stdout.log"
    assert not config.parent.exists()


def test_each_layer_stands_above_the_one_before(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(config, "[dispatcher]\nport = 5000\n")
    assert get_config("dispatcher.port") == 5000

    monkeypatch.setenv("QCOV_DISPATCHER_PORT", "6000")
    assert get_config("dispatcher.port") == 6000


def test_a_change_of_the_file_is_seen(config: Path) -> None:
    write(config, "[dispatcher]\nport = 5000\n")
    assert get_config("dispatcher.port") == 5000

    write(config, "[dispatcher]\nport = 50001\n")
    assert get_config("dispatcher.port") == 50001


def test_sections_lists_and_everything(config: Path) -> None:
    write(config, '[executors.ssh]\nusername = "ada"\n')

    assert get_config("executors.ssh") == {"username": "ada"}
    assert get_config(["dispatcher.port", "sdk.log_level"]) == {
        "dispatcher.port": 48008,
        "sdk.log_level": "warning",
    }
    assert get_config(["dispatcher.port"]) == 48008
    assert get_config()["executors"]["ssh"]["username"] == "ada"


def test_what_is_returned_may_be_changed_without_harm() -> None:
    get_config()["dispatcher"]["port"] = 1
    get_config("dispatcher")["port"] = 1

    assert get_config("dispatcher.port") == 48008


@pytest.mark.parametrize(
    ("text", "line", "match"),
    [
        ("[dispatcher]\n# the port\nprt = 1\n", 3, "Did you mean 'port'"),
        ("[dispatcher]\nport = 'x'\n", 2, "must be a port between 0 and 65535, not 'x'"),
        ("[dispatcher]\nport = 70000\n", 2, "must be a port"),
        ("[dispatcher]\nport = true\n", 2, "must be a port"),
        ("\n[dispacher]\nport = 1\n", 3, "Did you mean 'dispatcher'"),
        ("dispatcher.prt = 1\n", 1, "Did you mean 'port'"),
        ("[engine]\nworkers = -1\n", 2, "must be a whole number"),
        ("[engine]\nidle_timeout = 'soon'\n", 2, "must be a number"),
        ("[engine]\nidle_timeout = nan\n", 2, "must be a number"),
        ("[engine]\nlease = 0\n", 2, "must be at least 1, not 0"),
        ("[sdk]\nenable_logging = 'maybe'\n", 2, "must be true or false"),
        ("[sdk]\nlog_level = 'loud'\n", 2, "must be one of debug, info"),
        ("[dispatcher]\naddress = '<address>'\n", 2, "still the placeholder '<address>'"),
        ("[dispatcher]\naddress = 7\n", 2, "must be text in quotes"),
        ("[dispatcher]\naddress = '0.0.0.0'\n", 2, "only loopback .*: localhost, 127.0.0.1, ::1"),
        ("[workflow_data]\nseal_key = 's3://b'\n", 2, "must be a folder or a file"),
        ("[workflow_data]\nbase_dir = 'memory://b'\n", 2, "memory://, which no two processes"),
        ("[workflow_data]\nbase_dir = 's3:///b'\n", 2, "such as s3://bucket/prefix"),
        ("[workflow_data]\nbase_dir = 'file://b/c'\n", 2, "file:///path/of/the/folder"),
        ("[workflow_data]\nbase_dir = 'gs://b/c?x=1'\n", 2, r"a URL without '\?'"),
        ("[workflow_data]\nbase_dir = 'zip://a::s3://b'\n", 2, "a URL without '::'"),
        ("[dask]\nmem_per_worker = false\n", 2, "must be text such as '1GB'"),
        ("port = 1\n", 1, "in no known section"),
        ("dispatcher = 1\n", 1, r"is a section.*Write \[dispatcher\]"),
        ("executors = 1\n", 1, "is a section"),
        ("[dispatcher]\nport = \n", 2, "not valid TOML"),
        ("[dispatcher\nport = 1\n", 1, "not valid TOML"),
        ('[sdk]\nlog_dir = "abc\n', 2, "not valid TOML"),
    ],
)
def test_a_mistake_is_reported_with_file_and_line(
    config: Path, text: str, line: int, match: str
) -> None:
    write(config, text)

    with pytest.raises(ConfigError, match=match) as caught:
        get_config("engine.workers")

    assert caught.value.line == line
    assert f"{config}, line {line}" in str(caught.value)


def test_bytes_that_are_not_text_are_reported(config: Path) -> None:
    config.parent.mkdir()
    config.write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="cannot be read"):
        get_config()


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCOV_ENGINE_WORKERS", "many")

    with pytest.raises(ConfigError, match="environment variable QCOV_ENGINE_WORKERS"):
        get_config("dispatcher.port")


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("QCOV_ENGINE_WRKERS", "QCOV_ENGINE_WORKERS"),
        ("QCOV_WORKFLOW_DATA_DBURL", "QCOV_WORKFLOW_DATA_DB_URL"),
        ("QCOV_SDK_LOGLEVEL", "QCOV_SDK_LOG_LEVEL"),
    ],
)
def test_a_misspelt_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, misspelt: str, meant: str
) -> None:
    monkeypatch.setenv(misspelt, "1")

    with pytest.raises(ConfigError, match=f"'{misspelt}' is not .* Did you mean '{meant}'"):
        get_config("dispatcher.port")


def test_other_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QCOV_TOKEN", "QCOV_ENGINE", "QCOV_EXECUTORS_SSH_USERNAME", "QCOV_MINE"):
        monkeypatch.setenv(name, "1")

    assert get_config("dispatcher.port") == 48008


VERBS: dict[str, Callable[[], object]] = {
    "dispatch": lambda: ct.dispatch(ct.lattice(abs))(1),
    "dispatch to a server": lambda: ct.dispatch(ct.lattice(abs), "localhost:1")(1),
    "get_result": lambda: ct.get_result("id"),
    "watch": lambda: next(ct.watch("id")),
    "cancel": lambda: ct.cancel("id"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("mistake", ["file", "variable"])
def test_every_verb_reports_a_mistake(
    config: Path, monkeypatch: pytest.MonkeyPatch, mistake: str, verb: str
) -> None:
    if mistake == "file":
        write(config, "[dispatcher]\nport = 'abc'\n")
    else:
        monkeypatch.setenv("QCOV_DISPATCHER_PORT", "abc")

    with pytest.raises(ConfigError, match="'dispatcher.port' must be a port .*, not 'abc'"):
        VERBS[verb]()

    assert not data_dir().exists()


@pytest.mark.parametrize(
    ("key", "match"),
    [
        ("dispatcher.prt", "Did you mean 'port'"),
        ("nowhere.port", "no known section"),
        ("executors.ssh.username", "not set, and has no default"),
        ("dispatcher.port.number", "not set, and has no default"),
    ],
)
def test_an_unknown_key_suggests_the_nearest(key: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        get_config(key)


def test_the_seed_s_own_file_is_understood(config: Path) -> None:
    write(
        config,
        """
[sdk]
log_dir = "~/cache"
enable_logging = "false"
[dask]
mem_per_worker = "auto"
scheduler_address = "tcp://127.0.0.1:60690"
process_info = "<DaskCluster name='LocalDaskCluster' parent=80903 started>"
pid = 80924
admin_port = 60682
[workflow_data]
storage_type = "local"
[executors.slurm]
options = {qos = "regular", time = "00:10:00"}
""",
    )

    assert get_config("sdk.enable_logging") is False
    assert get_config("sdk.log_dir") == str(Path.home() / "cache")
    assert get_config("dask.pid") == 80924
    assert get_config("executors.slurm.options") == {"qos": "regular", "time": "00:10:00"}


def test_payloads_may_be_at_a_url(config: Path) -> None:
    for written, read in [
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("abfs://box@account.dfs.core.windows.net/a", "abfs://box@account.dfs.core.windows.net/a"),
        ("file:///data/payloads", "/data/payloads"),
        ("~/payloads", str(Path.home() / "payloads")),
    ]:
        set_config("workflow_data.base_dir", written)
        assert get_config("workflow_data.base_dir") == read


def test_a_password_in_a_url_is_refused_and_not_shown(config: Path) -> None:
    with pytest.raises(ConfigError, match="has a password") as caught:
        set_config("workflow_data.base_dir", "sftp://ada:hidden@host/payloads")

    assert "hidden" not in str(caught.value)


def test_a_blank_in_an_executor_s_section_harms_only_who_reads_it(config: Path) -> None:
    write(config, '[executors.awsbatch]\nvcpu = 2\ns3_bucket_name = "<bucket name>"\n')

    assert get_config("executors.awsbatch.vcpu") == 2
    for key in ("executors.awsbatch", "executors.awsbatch.s3_bucket_name"):
        with pytest.raises(ConfigError, match="s3_bucket_name.*placeholder") as caught:
            get_config(key)
        assert caught.value.line == 3


def test_setting_keeps_comments_and_is_private(config: Path) -> None:
    write(config, "# mine\n[dispatcher]\nport = 5000  # chosen with care\n")

    set_config("dispatcher.port", 6000)
    set_config({"engine.workers": 3, "executors.ssh.username": "ada", "sdk": {"log_level": "info"}})

    text = config.read_text()
    assert text.startswith("# mine\n[dispatcher]\nport = 6000  # chosen with care\n")
    assert "[executors.ssh]" in text
    assert "[executors]\n" not in text
    assert get_config("engine.workers") == 3
    assert get_config("executors.ssh.username") == "ada"
    assert get_config("sdk.log_level") == "info"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_setting_a_path_writes_text(config: Path, tmp_path: Path) -> None:
    set_config("sdk.log_dir", tmp_path / "logs")

    assert get_config("sdk.log_dir") == str(tmp_path / "logs")


@pytest.mark.parametrize(
    "changes",
    [
        {"dispatcher.prt": 1},
        {"dispatcher.port": "x"},
        {"dispatcher.port": None},
        {"dispatcher.address": "0.0.0.0"},
        {"dispatcher.port.deep": 1},
        {"executors.ssh.key": object()},
        {"executors.ssh": 3, "engine.workers": -1},
        {"executors..x": 1},
        {"dispatcher": 1},
    ],
)
def test_bad_input_changes_nothing(config: Path, changes: dict[str, object]) -> None:
    text = "# mine\n[dispatcher]\nport = 5000\n"
    write(config, text)

    with pytest.raises(ConfigError):
        set_config(changes)

    assert config.read_text() == text
    assert [path.name for path in config.parent.iterdir() if "lock" not in path.name] == [
        "qcov.conf"
    ]


def test_a_broken_file_is_not_overwritten(config: Path) -> None:
    write(config, "[dispatcher\n")

    with pytest.raises(ConfigError, match="line 1"):
        set_config("dispatcher.port", 1)

    assert config.read_text() == "[dispatcher\n"


def test_a_link_stays_a_link(config: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.conf"
    target.write_text("# mine\n")
    config.parent.mkdir()
    config.symlink_to(target)

    set_config("engine.workers", 1)

    assert config.is_symlink()
    assert target.read_text().startswith("# mine\n")


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QCOV_CONFIG_DIR", str(tmp_path / "file" / "below"))

    with pytest.raises(ConfigError, match="cannot be"):
        set_config("engine.workers", 1)


def _write_many(name: str) -> None:
    for number in range(10):
        set_config(f"executors.{name}.key{number}", number)


def test_writers_at_the_same_time_lose_nothing(config: Path) -> None:
    names = ["a", "b", "c"]
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(name,)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    for name in names:
        assert get_config(f"executors.{name}") == {f"key{n}": n for n in range(10)}


def test_folders_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_dir() == tmp_path / "data"
    assert config_file() == tmp_path / "config" / "qcov.conf"

    for name in ("QCOV_CONFIG_DIR", "QCOV_DATA_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_dir() == tmp_path / ".local" / "share" / "qcov"
    assert config_file() == tmp_path / ".config" / "qcov" / "qcov.conf"


@pytest.mark.parametrize("variable", ["QCOV_DATA_DIR", "XDG_DATA_HOME"])
def test_a_folder_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv("QCOV_DATA_DIR")
    monkeypatch.setenv(variable, "~no.such.user/data")

    with pytest.raises(ConfigError, match=f"{variable}: '~no.such.user/data' does not lead"):
        data_dir()


def test_a_folder_within_one_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter_deleted_folder(tmp_path, monkeypatch)
    monkeypatch.setenv("QCOV_DATA_DIR", "data")

    with pytest.raises(ConfigError, match="QCOV_DATA_DIR: 'data' does not lead anywhere"):
        data_dir()


def test_a_program_in_a_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_deleted_folder(tmp_path, monkeypatch)

    with pytest.raises(EnvironmentMismatch, match="runs in is gone.*Change to a folder"):
        ct.dispatch(ct.lattice(abs))(1)

    assert not data_dir().exists()


def enter_deleted_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()


def test_reading_loads_nothing_heavy() -> None:
    code = (
        "import sys, qcov.config as c; c.get_config();"
        "print([m for m in ('tomlkit', 'pydantic', 'numpy', 'typer') if m in sys.modules])"
    )

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert printed.stdout == "[]\n", printed.stderr

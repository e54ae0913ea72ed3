"""Which settings exist: their kinds, defaults and conversions.

Every key of the closed sections is listed in `SETTINGS`. The sections in `OPEN_SECTIONS` belong to
executors, plugins included, which know their keys best: anything may stand there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from qcov.errors import ConfigError

Kind = Literal[
    "text", "path", "place", "loopback", "url", "flag", "whole", "number", "port", "amount"
]

#: Sections whose keys are defined by executors.
OPEN_SECTIONS = ("executors", "qelectron")

#: What a server may be asked to listen to, and the address that it takes: nothing encrypts what is
#: carried there.
LOOPBACK = {"localhost": "127.0.0.1", "127.0.0.1": "127.0.0.1", "::1": "::1"}

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_SECRET = re.compile(
    r"(?i)token|secret|passw|passphrase|credential|(api|access|private|account)_?key$"
)
_IN_ADDRESS = re.compile(r"(?<=//)[^/@\s]+@")
HIDDEN = "hidden"  #: what is shown for a setting that may be a secret
_PLACEHOLDER = re.compile(r"<[\w .-]+>")
_LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One known key."""

    kind: Kind
    default: Any  #: a value, or a function that makes it when it is asked for
    choices: tuple[str, ...] = ()
    least: float | None = None  #: of a number

    def read(self, value: object) -> Any:
        """The value in the setting's own type.

        Raises:
            ValueError: with a reason that completes the sentence "'key' ...".

        >>> Setting(kind="flag", default=False).read("false")
        False
        """
        if is_placeholder(value):
            raise ValueError(f"is still the placeholder {value!r}: put your own value there")
        converted = _READERS[self.kind](value)
        if self.choices and str(converted).lower() not in self.choices:
            raise ValueError(f"must be one of {', '.join(self.choices)}, not {value!r}")
        if self.least is not None and converted < self.least:
            raise ValueError(f"must be at least {self.least:g}, not {value!r}")
        return converted

    def make_default(self) -> Any:
        """The value when nobody set one."""
        return self.default() if callable(self.default) else self.default


def is_placeholder(value: object) -> bool:
    """Whether a value is a blank that was never filled in, such as `<name>`.

    >>> is_placeholder("<your token>"), is_placeholder("<DaskCluster name='a' started>")
    (True, False)
    """
    return isinstance(value, str) and _PLACEHOLDER.fullmatch(value) is not None


def is_secret(key: str) -> bool:
    """Whether the value of a setting of that name should be shown to nobody.

    >>> is_secret("qelectron.QiskitExecutor.ibmqx_token"), is_secret("workflow_data.seal_key")
    (True, False)
    """
    return _SECRET.search(key.rpartition(".")[2]) is not None


def with_secrets_hidden(value: Any) -> Any:
    """What was told in settings, for others to see: mappings and lists of them in each other.

    >>> with_secrets_hidden({"token": "abc", "url": "https://me:abc@qpu.org", "shots": [100]})
    {'token': 'hidden', 'url': 'https://qpu.org', 'shots': [100]}
    """
    if isinstance(value, str):
        return _IN_ADDRESS.sub("", value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        return {
            str(name): HIDDEN if item and is_secret(str(name)) else with_secrets_hidden(item)
            for name, item in pairs
        }
    if isinstance(value, list | tuple):
        return [with_secrets_hidden(item) for item in cast("Sequence[Any]", value)]
    return value


def data_dir() -> Path:
    """Where dispatches, blobs and keys live: `$QCOV_DATA_DIR` or `~/.local/share/qcov`."""
    return _folder("QCOV_DATA_DIR", "XDG_DATA_HOME", Path(".local", "share"))


def config_file() -> Path:
    """Where settings live: `$QCOV_CONFIG_DIR/qcov.conf` or `~/.config/qcov/qcov.conf`."""
    return _folder("QCOV_CONFIG_DIR", "XDG_CONFIG_HOME", Path(".config")) / "qcov.conf"


def _folder(own: str, shared: str, below_home: Path) -> Path:
    if os.environ.get(own):
        return _absolute(own)
    if os.environ.get(shared):
        return _absolute(shared) / "qcov"
    return Path.home() / below_home / "qcov"


def _absolute(variable: str) -> Path:
    value = os.environ[variable]
    try:
        return Path(value).expanduser().absolute()
    except (OSError, RuntimeError) as error:  # the folder that we are in is gone; no such user
        raise ConfigError(
            key=value,
            reason=f"does not lead anywhere ({error}). Give it the whole path of a folder.",
            source=f"environment variable {variable}",
        ) from error


# -- conversions -------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text in quotes, not {value!r}")
    return value


def _path(value: object) -> str:
    text = _text(value)
    if "://" in text:  # as a path it would be a folder called `s3:`
        raise ValueError(f"must be a folder or a file that this machine has, not {value!r}")
    return str(Path(text).expanduser())


def _place(value: object) -> str:
    """A folder, or a URL of fsspec's that all processes reach; what may be secret is not quoted."""
    scheme, separator, rest = _text(value).partition("://")
    if not separator:
        return _path(value)
    host, slash, path = rest.partition("/")
    if scheme in ("file", "local"):
        if host or not path:
            raise ValueError("must name a folder of this machine: file:///path/of/the/folder")
        return slash + path
    if scheme == "memory":
        raise ValueError("cannot be memory://, which no two processes share")
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) or not host:
        raise ValueError("must be a folder, or a URL such as s3://bucket/prefix")
    if ":" in host.rpartition("@")[0]:
        raise ValueError("has a password, which is read by others: give it to fsspec's settings")
    if odd := re.search(r"[?#*\[\]\s]|::", rest):
        raise ValueError(f"must be a URL without {odd.group()!r}; options go to fsspec's settings")
    return f"{scheme}://{rest}"


def _loopback(value: object) -> str:
    if _text(value) not in LOOPBACK:
        known = ", ".join(LOOPBACK)
        raise ValueError(
            f"is {value!r}, but only loopback addresses are served: {known}. Use an SSH tunnel"
        )
    return _text(value)


def _url(value: object) -> str:
    text = _text(value)
    if text and not re.fullmatch(r"https?://[^\s/@]+(?:/\S*)?", text):
        raise ValueError(
            "must be a URL without a password, such as http://localhost:4318/v1/traces"
        )
    return text


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if isinstance(value, str | int) and word in (*_TRUE, *_FALSE):
        return word in _TRUE
    raise ValueError(f"must be true or false, not {value!r}")


def _whole(value: object) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"must be a whole number, 0 or more, not {value!r}")


def _number(value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) else float("nan")
    except ValueError:
        number = float("nan")
    if isinstance(value, bool) or not 0 <= number < float("inf"):
        raise ValueError(f"must be a number, 0 or more, not {value!r}")
    return number


def _port(value: object) -> int:
    try:
        port = _whole(value)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise ValueError(f"must be a port between 0 and 65535, not {value!r}")
    return port


def _amount(value: object) -> str | int | float:
    """Memory: a number of bytes, or text such as "1GB" or "auto"."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    raise ValueError(f"must be text such as '1GB', or a number of bytes, not {value!r}")


_READERS: Mapping[Kind, Callable[[object], Any]] = {
    "text": _text,
    "path": _path,
    "place": _place,
    "loopback": _loopback,
    "url": _url,
    "flag": _flag,
    "whole": _whole,
    "number": _number,
    "port": _port,
    "amount": _amount,
}


# -- the table ---------------------------------------------------------------------------------


def _within(*parts: str) -> Callable[[], str]:
    return lambda: str(data_dir().joinpath(*parts))


def _cache() -> Setting:
    return Setting(kind="path", default=_within("cache"))


def _logs() -> Setting:
    return Setting(kind="path", default=_within("logs"))


def _words(default: str = "") -> Setting:
    return Setting(kind="text", default=default)


#: Every key of the closed sections, and the keys of open ones that have a default.
SETTINGS: Mapping[str, Setting] = {
    "sdk.log_dir": _logs(),
    "sdk.log_level": Setting(kind="text", default="warning", choices=_LOG_LEVELS),
    "sdk.enable_logging": Setting(kind="flag", default=False),
    "sdk.progress": Setting(kind="flag", default=True),
    "sdk.no_cluster": Setting(kind="flag", default=False),
    "sdk.executor_dir": Setting(
        kind="path", default=lambda: str(config_file().with_name("executor_plugins"))
    ),
    "dispatcher.address": Setting(kind="loopback", default="localhost"),
    "dispatcher.port": Setting(kind="port", default=48008),
    "dispatcher.cache_dir": _cache(),
    "dispatcher.results_dir": Setting(kind="path", default="results"),
    "dispatcher.log_dir": _logs(),
    # How long the engine stays without work or server, how many electrons run at once (no workers
    # means one for each core), and how long one of the commands that install packages may take.
    "engine.idle_timeout": Setting(kind="number", default=300.0),
    "engine.workers": Setting(kind="whole", default=0),
    "engine.install_limit": Setting(kind="number", default=900.0),
    # Where spans go, by OpenTelemetry's protocol over HTTP; nowhere if it is empty.
    "tracing.endpoint": Setting(kind="url", default=""),
    "dask.cache_dir": _cache(),
    "dask.log_dir": _logs(),
    "dask.mem_per_worker": Setting(kind="amount", default="auto"),
    "dask.threads_per_worker": Setting(kind="whole", default=1),
    "dask.num_workers": Setting(kind="whole", default=lambda: os.cpu_count() or 1),
    # The cluster of `qcov start` grows and shrinks between these; it does not where they are zero.
    "dask.adaptive_min": Setting(kind="whole", default=0),
    "dask.adaptive_max": Setting(kind="whole", default=0),
    # Dask's pages have no token: everybody on the machine, and web sites in a browser, see them.
    "dask.dashboard": Setting(kind="flag", default=False),
    # Files to reach a scheduler at "tls://..." with.
    "dask.tls_ca_file": _words(),
    "dask.tls_cert": _words(),
    "dask.tls_key": _words(),
    # The rest of this section is what Covalent's servers write; nothing reads it.
    "dask.scheduler_address": _words(),
    "dask.dashboard_link": _words(),
    "dask.process_info": _words(),
    "dask.pid": Setting(kind="whole", default=0),
    "dask.admin_host": _words(),
    "dask.admin_port": Setting(kind="port", default=0),
    "workflow_data.db_path": Setting(kind="path", default=_within("qcov.sqlite")),
    "workflow_data.db_url": _words(),  # no database: the file in the data folder
    "workflow_data.seal_key": Setting(kind="path", default=_within("seal.key")),
    "costs.prices": Setting(
        kind="path", default=lambda: str(config_file().with_name("prices.toml"))
    ),
    # For how many seconds an engine has its dispatches, where several share a database.
    "engine.lease": Setting(kind="number", default=30.0, least=1),
    "workflow_data.storage_type": Setting(kind="text", default="local", choices=("local",)),
    "workflow_data.base_dir": Setting(kind="place", default=_within("blobs")),
    "user_interface.address": _words("localhost"),
    "user_interface.port": Setting(kind="port", default=48008),
    "user_interface.log_dir": _logs(),
    "user_interface.dispatch_db": Setting(kind="path", default=_within("qcov.sqlite")),
    "executors.local.log_stdout": _words(),  # no file: what electrons print is stored
    "executors.local.log_stderr": _words(),
    "executors.local.cache_dir": _cache(),
    "executors.dask.log_stdout": _words("stdout.log"),
    "executors.dask.log_stderr": _words("stderr.log"),
    "executors.dask.cache_dir": _cache(),
}

#: The names of the closed sections.
CLOSED_SECTIONS = frozenset(key.partition(".")[0] for key in SETTINGS) - set(OPEN_SECTIONS)

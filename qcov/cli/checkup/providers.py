"""Credentials of providers: whether they are there and from where, never what they are."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from qcov.cli.checkup.finding import Finding, ok, problem, warning
from qcov.config import config_file, get_config
from qcov.credentials import Credential
from qcov.errors import CredentialMissing
from qcov.logs import without_secrets
from qcov.settings import OPEN_SECTIONS

_REFERENCE = re.compile(r"(env|file|keyring|kept):.+")
_SECRET = re.compile(r"(?i)token|secret|password|passwd|api_?key")
_PATIENCE = 30.0  # seconds

#: Where providers' own programs look: variables, and files below the home folder.
_WHERE: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "IBM Quantum": (("QISKIT_IBM_TOKEN",), (".qiskit/qiskit-ibm.json",)),
    "AWS": (
        ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        (".aws/credentials", ".aws/config"),
    ),
    "Google Cloud": (
        ("GOOGLE_APPLICATION_CREDENTIALS",),
        (".config/gcloud/application_default_credentials.json",),
    ),
    "Azure": (("AZURE_CLIENT_ID", "AZURE_STORAGE_CONNECTION_STRING"), (".azure",)),
}


def in_settings() -> Iterator[Finding]:
    """Whether what the settings refer to is there, and secrets that stand there in the open."""
    for key, value in _leaves({name: get_config(name) for name in OPEN_SECTIONS}):
        if not isinstance(value, str) or not value:
            continue
        if _REFERENCE.fullmatch(value):
            yield _referred(key, value)
        elif _SECRET.search(key.rpartition(".")[2]):
            advice = "Refer to it instead: env:NAME, file:PATH or keyring:SERVICE/USER."
            yield warning("credentials", f"{key} stands in {config_file()} itself", advice)


def _referred(key: str, reference: str) -> Finding:
    try:
        Credential(reference).reveal()
    except CredentialMissing as error:
        return problem("credentials", f"{key}: {error}")
    return ok("credentials", f"{key}: there ({reference})")


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        key = f"{above}.{name}".lstrip(".")
        if isinstance(value, dict):
            yield from _leaves(cast("dict[str, Any]", value), key)
        else:
            yield key, value


def at_home() -> Iterator[Finding]:
    """What the providers' own programs would find."""
    for provider, (variables, files) in _WHERE.items():
        found = [f"variable {name}" for name in variables if os.environ.get(name)]
        found += [f"~/{name}" for name in files if _says_something(Path.home() / name)]
        yield ok(provider, f"credentials: {', '.join(found) or 'none'}")


# -- asking them -------------------------------------------------------------------------------


def _says_something(path: Path) -> bool:
    """False for a file that is not there, or has nothing but the brackets of its JSON."""
    return path.is_dir() or (path.is_file() and path.stat().st_size > len("{}\n"))


def online() -> Iterator[Finding]:
    """Ask the providers whose packages and credentials are here."""
    found = {finding.about: finding for finding in at_home()}
    asked = {"IBM Quantum": ("qiskit_ibm_runtime", _ask_ibm), "AWS": ("boto3", _ask_aws)}
    for provider, (package, ask) in asked.items():
        if importlib.util.find_spec(package) is None:
            yield ok(provider, f"not asked: {package} is not here")
        elif found[provider].said.endswith("none"):
            yield ok(provider, "not asked: no credentials are here")
        else:
            yield _answer(provider, ask)


def _answer(provider: str, ask: Callable[[], str]) -> Finding:
    """What a provider says; it is not waited for for ever."""
    said: list[Finding] = []

    def work() -> None:
        try:
            said.append(ok(provider, f"it answers: {ask()}"))
        except Exception as error:  # noqa: BLE001  # whatever an SDK raises
            told = without_secrets(str(error))
            said.append(problem(provider, f"it refuses: {told}", "Renew the credentials."))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    silent = problem(provider, f"it did not answer in {_PATIENCE:g} s", "Is there a network?")
    return said[0] if said else silent


def _ask_ibm() -> str:
    account: Any = importlib.import_module("qcov.qexecutors.ibm_account").Account()
    return f"{len(account.connect().backends())} backends"


def _ask_aws() -> str:
    boto3: Any = importlib.import_module("boto3")
    config: Any = importlib.import_module("botocore.config")
    quick = config.Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 1})
    session = boto3.Session()
    asking = session.client("sts", config=quick, region_name=session.region_name or "us-east-1")
    account = str(asking.get_caller_identity()["Account"])
    return f"account ...{account[-4:]}, region {session.region_name or 'not set'}"

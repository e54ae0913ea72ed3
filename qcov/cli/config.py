"""`config`: look at settings and change them."""

from __future__ import annotations

import tomllib
from typing import Any, cast

import typer

from qcov.cli.completing import settings
from qcov.cli.output import fail, say, say_json
from qcov.config import config_file, get_config, set_config
from qcov.errors import ConfigError
from qcov.settings import is_secret

#: How a value begins that only says where a secret is.
_REFERENCES = ("env:", "file:", "keyring:")


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    # a value may begin with a minus
    app.command(context_settings={"ignore_unknown_options": True})(config)


def config(
    key: str | None = typer.Argument(
        None, help="A key such as `dispatcher.port`, or a section.", autocompletion=settings
    ),
    value: str | None = typer.Argument(None, help="Its new value, written to the file."),
    path: bool = typer.Option(False, "--path", help="Say where the file is."),
    as_json: bool = typer.Option(False, "--json", help="As JSON."),
) -> None:
    """Show settings, or set one."""
    if path:
        say(str(config_file()))
    elif key == "":
        fail("a key cannot be empty; without one all settings are shown", code=2)
    elif key and value is not None:
        set_config(key, _parsed(value))
    elif as_json:
        say_json(_masked(key or "", get_config(key)))
    else:
        _show(key or "", _masked(key or "", get_config(key)))


def _parsed(text: str) -> Any:
    """A number, flag or list as TOML writes it; everything else is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if text.startswith(("[", "{")):
            fail(f"{text!r} is neither a TOML list nor a TOML table", code=2)
        return text


def _masked(key: str, value: Any) -> Any:
    """The same without the password of the database, and without tokens and the like."""
    if isinstance(value, dict):
        below = cast("dict[str, Any]", value)
        return {name: _masked(f"{key}.{name}".lstrip("."), each) for name, each in below.items()}
    if value and is_secret(key) and not str(value).startswith(_REFERENCES):
        return "***"
    if key != "workflow_data.db_url" or not value:
        return value
    from qcov.store.postgresql import masked

    try:
        return masked(value)
    except ConfigError:  # it is no URL: who knows where a password is
        return "***"


def _show(key: str, value: Any) -> None:
    if not isinstance(value, dict):
        say(f"{value}" if key else "")
        return
    for name, below in cast("dict[str, Any]", value).items():
        full = f"{key}.{name}" if key else name
        if isinstance(below, dict):
            _show(full, below)
        else:
            say(f"{full} = {below!r}")

"""`executor-test`: whether an executor does what qcov expects of it."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from qcov.cli.output import fail, note, say_json, say_table
from qcov.errors import QcovError

if TYPE_CHECKING:
    from qcov.conformance import CheckResult
    from qcov.qexecutors.base import BaseQExecutor

_COLORS = {"passed": "green", "failed": "red", "skipped": "yellow"}


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    app.command("executor-test")(executor_test)


def executor_test(
    target: str = typer.Argument(metavar="MODULE:CLASS", help="The executor's class."),
    option: list[str] = typer.Option(
        [], "--option", "-o", metavar="NAME=VALUE", help="A setting; may be given several times."
    ),
    tolerance: float = typer.Option(
        1e-5, min=0.0, help="How far values may be off besides what shots explain."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON for programs."),
) -> None:
    """Run the conformance suite on an executor of circuits."""
    from qcov.conformance import check_executor

    executor = _make(_load(target), _settings(option))
    progress = None if as_json else _tell
    report = check_executor(executor, tolerance=tolerance, progress=progress)
    if as_json:
        say_json({**asdict(report), "passed": report.passed})
    else:
        say_table(("check", "outcome", "what it promises, or why not"), _rows(report.results))
    if not report.passed:
        raise typer.Exit(1)


def _tell(result: CheckResult) -> None:
    if sys.stderr.isatty():
        note(f"{result.check}: {result.outcome}")


def _rows(results: tuple[CheckResult, ...]) -> list[list[str | Text]]:
    return [
        [one.check, Text(one.outcome, style=_COLORS[one.outcome]), one.reason or one.promise]
        for one in results
    ]


def _load(target: str) -> type[BaseQExecutor]:
    from qcov.qexecutors.base import BaseQExecutor

    module, _, name = target.partition(":")
    if not module or not name:
        raise typer.BadParameter(f"{target!r} is not MODULE:CLASS, such as my_package.runs:Mine")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a file in this folder is a module too
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        fail(f"{target}: {error}")
    if not (isinstance(found, type) and issubclass(found, BaseQExecutor)):
        fail(f"{target} is not a class of executors: derive it from qcov.executor.BaseQExecutor")
    return found


def _settings(options: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{option!r} is not NAME=VALUE, such as shots=1000")
        settings[name] = _value(value)
    return settings


def _value(text: str) -> Any:
    """What JSON makes of it; the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _make(kind: type[BaseQExecutor], settings: dict[str, Any]) -> BaseQExecutor:
    try:
        return kind(**settings)
    except QcovError:
        raise  # which says it all
    except Exception as error:  # noqa: BLE001  # constructors raise what they like
        fail(f"{kind.__name__} cannot be made: {type(error).__name__}: {error}")

"""`demo`: the main job, end to end."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

import qcov
from qcov.cli.output import fail

_SCRIPT = "h2_dissociation.py"


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    # Options are the script's, its --help too.
    settings: dict[str, Any] = {"ignore_unknown_options": True, "help_option_names": []}
    app.command(context_settings=settings)(demo)


def demo(
    arguments: list[str] = typer.Argument(None, help="What the script takes; see --help."),
) -> None:
    """Compute the dissociation curve of H2 with a hybrid VQE."""
    sys.argv = ["qcov demo", *(arguments or ())]  # its --help says what was typed
    _load(_find_script()).main()


def _load(script: Path) -> ModuleType:
    """Run the script as a module that nobody can import, so that its functions travel whole."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _find_script() -> Path:
    """In an installed package, or beside it in a checkout."""
    package = Path(qcov.__file__).parent
    for folder in (package / "examples", package.parent / "examples"):
        if (script := folder / _SCRIPT).is_file():
            return script
    return fail(f"{_SCRIPT} is not part of this installation")

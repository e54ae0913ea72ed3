"""`bench`: qcov against its yardsticks."""

from __future__ import annotations

from typing import Any

import typer


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    # Options are the benchmarks', their --help too.
    settings: dict[str, Any] = {"ignore_unknown_options": True, "help_option_names": []}
    app.command(context_settings=settings)(bench)


def bench(
    arguments: list[str] = typer.Argument(None, help="Suites and their options; see --help."),
) -> None:
    """Measure qcov, side by side with its yardsticks; or backends (`backends`, `compare`)."""
    from qcov_bench.__main__ import main

    main(arguments or [], prog="qcov bench")

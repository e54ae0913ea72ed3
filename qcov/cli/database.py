"""`db`: the database that dispatches are kept in."""

from __future__ import annotations

import typer

from qcov.cli.output import say, say_json
from qcov.config import data_dir, get_config

db = typer.Typer(help="The database that dispatches are kept in.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Give the application these verbs."""
    app.add_typer(db, name="db")


@db.command()
def migrate(as_json: bool = typer.Option(False, "--json", help="As JSON.")) -> None:
    """Bring the database to the schema of this qcov, as each engine does when it starts."""
    from qcov.store.maintenance import upgrade

    before, now = upgrade(data_dir(), get_config("workflow_data.db_url"))
    if as_json:
        return say_json({"before": before, "now": now})
    if before == now:
        return say(f"The database is up to date (schema {now}).")
    return say(f"The database has schema {now} now; it had {before or 'none'}.")


@db.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "help_option_names": [],
    }
)
def alembic(context: typer.Context) -> None:
    """Run Alembic's own command line on the database: `qcov db alembic history`."""
    from qcov.store.maintenance import alembic as run

    run(data_dir(), get_config("workflow_data.db_url"), context.args)

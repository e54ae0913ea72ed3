"""`run`: dispatch a lattice of a script."""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from qcov.cli.dispatches import AS_JSON
from qcov.cli.output import fail, note, say, say_json
from qcov.errors import suggest
from qcov.inert import inert

if TYPE_CHECKING:
    from collections.abc import Generator

    from qcov.classical.lattice import Lattice

_OURS = ("--no-wait", "--watch", "--json")


def add_to(app: typer.Typer) -> None:
    """Give the application this verb."""
    # What follows the lattice's name belongs to the lattice, its --help too.
    settings: dict[str, Any] = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command(context_settings=settings)(run)


def run(
    target: str = typer.Argument(metavar="SCRIPT:LATTICE", help="Such as `script.py:workflow`."),
    arguments: list[str] = typer.Argument(
        None, metavar="[ARGUMENTS]", help="The lattice's, as JSON or text: `--x 1 --y '[1,2]'`."
    ),
    no_wait: bool = typer.Option(False, "--no-wait", help="Print the id, and do not wait."),
    live: bool = typer.Option(False, "--watch", help="Show how it goes on, as `qcov watch` does."),
    as_json: bool = AS_JSON,
) -> None:
    """Dispatch a lattice of a script, wait, and print its result; exits with 1 if it failed.

    The script runs as a module: what stands below `if __name__ == "__main__"` does not.
    """
    script, name = _parts(target)
    lattice = _lattice(_load(script), name, script)
    takes = inspect.signature(lattice.workflow_function)
    given = _read(arguments or [], takes, lattice)
    no_wait, live = no_wait or "--no-wait" in given.ours, live or "--watch" in given.ours
    as_json = as_json or "--json" in given.ours
    if no_wait and live:
        fail("--no-wait, --watch: give one of them", code=2)
    _check(takes, given, lattice)
    dispatch_id = _dispatch(lattice, given)
    if no_wait:
        say_json({"id": dispatch_id}) if as_json else say(dispatch_id)
    else:
        note(f"dispatch {dispatch_id}")
        _wait(dispatch_id, live=live, as_json=as_json)


def _wait(dispatch_id: str, *, live: bool, as_json: bool) -> None:
    from qcov.cli.results import tell_result
    from qcov.cli.watching import end_with, follow

    if not live:
        return tell_result(dispatch_id, wait=True, as_json=as_json)
    return end_with(follow(dispatch_id, as_json=as_json))


# -- the script --------------------------------------------------------------------------------


def _parts(target: str) -> tuple[Path, str]:
    file, colon, name = target.rpartition(":")
    if not colon:
        file, name = target, ""
    script = Path(file).expanduser().absolute()
    if not script.is_file():
        fail(f"{target!r}: there is no file {script}", code=2)
    return script, name


def _load(script: Path) -> ModuleType:
    """Run a script as a module that nobody can import, so that its functions travel whole."""
    name = script.stem
    spec = importlib.util.spec_from_file_location(name, script)
    if spec is None or spec.loader is None:
        fail(f"{script} is no Python script: its name has to end with .py", code=2)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(script.parent))  # it finds what lies beside it, as when it is run
    sys.argv = [str(script)]
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look their module up while they are made
    try:
        with _users_errors():
            spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
    return module


@contextmanager
def _users_errors() -> Generator[None, None, None]:
    """Show an error of the user's code as they know it."""
    from qcov.classical.engine.telling import describe
    from qcov.errors import QcovError

    try:
        yield
    except QcovError:
        raise
    except Exception as error:  # noqa: BLE001  # it may be any
        typer.echo(inert(describe(error)), err=True)
        sys.exit(1)


def _lattice(module: ModuleType, name: str, script: Path) -> Lattice:
    from qcov.classical.lattice import Lattice

    known = {key: value for key, value in vars(module).items() if isinstance(value, Lattice)}
    if not known:
        fail(f"{script} has no lattice: decorate a function with @ct.lattice", code=2)
    if not name and len(known) > 1:
        fail(f"say which lattice: {', '.join(f'{script.name}:{key}' for key in known)}", code=2)
    if name and name not in known:
        fail(f"{script} has no lattice {name!r}. {suggest(name, known)}", code=2)
    return known[name] if name else next(iter(known.values()))


# -- its arguments -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What stands behind the lattice's name."""

    positional: Sequence[Any]
    named: Mapping[str, Any]
    ours: Sequence[str]  #: options of this verb that stand there


def _read(words: Sequence[str], takes: inspect.Signature, lattice: Lattice) -> _Given:
    positional, named, ours = list[Any](), dict[str, Any](), list[str]()
    rest = iter(words)
    for word in rest:
        name, equals, text = word.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if not word.startswith("--"):
            positional.append(_value(word))
        elif word in _OURS and name not in takes.parameters:
            ours.append(word)
        elif name in {"help", "h"} and name not in takes.parameters:
            _explain(lattice, takes)
        else:
            value = text if equals else next(rest, None)
            if value is None or (not equals and value.startswith("--")):
                fail(f"--{name}: it has no value", code=2)
            named[name] = _value(value)
    return _Given(positional=positional, named=named, ours=ours)


def _value(text: str) -> Any:
    """What JSON makes of it; everything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _check(takes: inspect.Signature, given: _Given, lattice: Lattice) -> None:
    known = takes.parameters
    if not any(one.kind is one.VAR_KEYWORD for one in known.values()):
        for name in given.named.keys() - known.keys():
            fail(f"{lattice.name} takes no {name!r}. {suggest(name, known)}", code=2)
    try:
        takes.bind(*given.positional, **given.named)
    except TypeError as error:
        fail(f"{lattice.name}{takes}: {error}", code=2)


def _explain(lattice: Lattice, takes: inspect.Signature) -> NoReturn:
    say(f"{lattice.name}{takes}")
    if text := inspect.getdoc(lattice.workflow_function):
        say(f"\n{inert(text)}")
    raise typer.Exit


def _dispatch(lattice: Lattice, given: _Given) -> str:
    from qcov.classical.dispatch import dispatch

    start: Callable[..., str] = dispatch(lattice)
    with _users_errors():
        return start(*given.positional, **given.named)

"""The user's verbs: dispatch, wait, cancel, get results.

They ask the engine of the configured data folder, which is started by the first one that needs it,
or the server at `dispatcher_addr`.
"""

from __future__ import annotations

import contextlib
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, overload

from qcov.classical.checks import check_id, check_setting
from qcov.classical.electron import Electron
from qcov.classical.engine.address import Engine, engine_at
from qcov.classical.lattice import Lattice
from qcov.classical.manifest import Manifest, build_manifest, code_of, environment
from qcov.classical.result import Result
from qcov.classical.status import Status
from qcov.classical.triggers import BaseTrigger, stop_triggers
from qcov.context import get_context
from qcov.errors import NotALattice, QcovError, StillRunning, WrongSetting
from qcov.progress import shown
from qcov.tracing import current
from qcov.transport import fingerprint

_MOST = 1000  # dispatches in one list


def dispatch(
    orig_lattice: Lattice,
    dispatcher_addr: str | None = None,
    disable_run: bool = False,
    *,
    key: str | None = None,
) -> Callable[..., str]:
    """Run a lattice; returns a function that takes its arguments and returns the dispatch's id.

    When that returns, the dispatch is on disk: it goes on whatever happens to this program. A
    lattice that has triggers is only stored; the first trigger starts it, and each later one runs
    it once more.

    Args:
        orig_lattice: What to run.
        dispatcher_addr: The address of a server; by default the engine of this user's data folder.
        disable_run: Only store it; `redispatch(..., is_pending=True)` starts it.
        key: Makes the dispatch idempotent: while one with this key runs or has completed, its id is
            returned and nothing new starts. A program that was killed and is run again goes on.
            After a failure or a cancellation the key starts a new one. One that was only stored
            under this key starts.

    Raises:
        NotALattice: `orig_lattice` is something else.
        WrongSetting: `key` is not a text that can be read.
        TriggerFailed: a trigger of the lattice ends at once; the dispatch is cancelled.
        KeyTaken: the dispatch that has this key is another lattice's, or was given other arguments
            (numbers, text, containers and arrays are compared; of other objects, their types).
        SerializationError: an argument cannot be sent to another process.
        EngineUnavailable: there is no engine, and none can be started.
        EnvironmentMismatch: the folder that this program runs in is gone.
        StoreUnavailable: the data folder cannot be written.
        ConfigError: a setting is wrong.
    """
    if not isinstance(cast("object", orig_lattice), Lattice):
        raise _no_lattice(orig_lattice)
    check_setting("key", key)

    def wrapper(*args: Any, **kwargs: Any) -> str:
        engine = engine_at(dispatcher_addr)
        triggers = cast("list[BaseTrigger]", orig_lattice.get_metadata("triggers") or [])
        held = disable_run or bool(triggers)
        request = _request(orig_lattice, args, kwargs, key=key, held=held)
        dispatch_id = engine.submit(request)
        try:
            for place, trigger in enumerate(triggers):
                trigger.register_with(dispatch_id, place, dispatcher_addr)
        except QcovError:
            if dispatch_id == request["id"]:  # nobody else knows of it
                _withdraw(engine, dispatch_id, triggers)
            raise
        return dispatch_id

    return wrapper


def _no_lattice(got: object) -> NotALattice:
    advice = "Decorate it with @ct.lattice."
    if isinstance(got, Electron) and isinstance(got.function, Lattice):
        advice = "It runs in other lattices: dispatch the lattice that it was made of."
    return NotALattice(got=f"{got!r} ({type(got).__name__})", advice=advice)


def _withdraw(engine: Engine, dispatch_id: str, triggers: Sequence[BaseTrigger]) -> None:
    """Give a dispatch up, one of whose triggers does not watch."""
    for address in {trigger.triggers_server_addr for trigger in triggers} - {None}:
        with contextlib.suppress(QcovError):  # maybe it has none of them
            stop_triggers(dispatch_id, address)
    with contextlib.suppress(QcovError):  # the first error is the one to be told
        engine.call("stop_triggers", dispatch_ids=[dispatch_id])
        engine.call("cancel", dispatch_id=dispatch_id, node_ids=None)


def redispatch(
    dispatch_id: str,
    dispatcher_addr: str | None = None,
    replace_electrons: Mapping[str, Callable[..., Any]] | None = None,
    reuse_previous_results: bool = False,
    is_pending: bool = False,
    *,
    key: str | None = None,
) -> Callable[..., str]:
    """Run a dispatch's lattice anew; returns a function that returns the new dispatch's id.

    That function takes new arguments for the lattice; without any, those of the earlier dispatch
    are taken.

    Args:
        dispatch_id: The earlier one, in whatever state it is.
        dispatcher_addr: The address of the server that it was sent to; the new one goes there too.
        replace_electrons: Electrons that run instead of others, by the name of those; sublattices
            are searched too, and may or may not call them.
        reuse_previous_results: Take over what an electron with the same code and the same inputs
            has returned in the earlier dispatch, and run the others.
        is_pending: Start the earlier dispatch itself, which was stored with `disable_run=True`.
            Its id is returned; it runs with the arguments that it was stored with. A warning says
            so if it has ended already.
        key: As for `dispatch`.

    Raises:
        DispatchNotFound: there is no such dispatch.
        WrongSetting: the lattice calls no electron of a name in `replace_electrons` and has no
            sublattice that may; what is given there is no function; or other settings or arguments
            are given along with `is_pending`.

    All errors of `dispatch` may come too.
    """
    check_id(dispatch_id)
    check_setting("key", key)
    electrons = _replacements(replace_electrons or {})
    if is_pending and (electrons or reuse_previous_results or key):
        raise WrongSetting(setting="is_pending", got="given with others", expected=_ALONE)

    def wrapper(*args: Any, **kwargs: Any) -> str:
        engine = engine_at(dispatcher_addr)
        if is_pending:
            if args or kwargs:
                raise WrongSetting(setting="is_pending", got="given arguments", expected=_ALONE)
            _tell_if_over(dispatch_id, engine)
            return engine.start(dispatch_id)
        earlier = Result.fetch(dispatch_id, engine)
        if not args and not kwargs:
            given = earlier.inputs
            args, kwargs = tuple(given["args"]), given["kwargs"]
        lattice = earlier.lattice.replacing(electrons)
        reused = dispatch_id if reuse_previous_results else None
        replaced = sorted(electrons)
        request = _request(lattice, args, kwargs, key=key, replaced=replaced, reused=reused)
        return engine.submit(request)

    return wrapper


def _tell_if_over(dispatch_id: str, engine: Engine) -> None:
    """It may be started again and again, but what has ended does not run anew."""
    status = engine.call("dispatch", dispatch_id=dispatch_id)["status"]
    if Status.is_terminal(status):
        warnings.warn(
            f"dispatch {dispatch_id} is {status} already, so nothing was started. "
            "Leave is_pending out to run its lattice anew.",
            stacklevel=3,
        )


_ALONE = "given alone: that dispatch starts as it was stored"


def _replacements(given: Mapping[str, Callable[..., Any]]) -> dict[str, Electron]:
    if not isinstance(cast("object", given), Mapping):
        expected = "a dict of electrons by the names of those that they replace"
        raise WrongSetting(setting="replace_electrons", got=repr(given), expected=expected)
    for name, function in given.items():
        if not callable(function):
            setting = f"replace_electrons[{name!r}]"
            raise WrongSetting(setting=setting, got=repr(function), expected="an electron")
    return {
        name: function if isinstance(function, Electron) else Electron(function)
        for name, function in given.items()
    }


def _request(
    lattice: Lattice,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    key: str | None,
    held: bool = False,
    replaced: Sequence[str] = (),
    reused: str | None = None,
) -> Manifest:
    """What an engine is asked for: the graph, and how to run it."""
    manifest = build_manifest(lattice, args, kwargs)
    # The id is made here, so that the same request may be sent twice.
    described: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "environment": environment(code_of(manifest)),
    }
    if (traceparent := current()) is not None:
        described["traceparent"] = traceparent
    if key is not None:
        request = [args, kwargs, *replaced, *([{"reuses": reused}] if reused else [])]
        described |= {"key": key, "fingerprint": fingerprint(request)}
    if held:
        described["held"] = True
    if reused is not None:
        described["reuses"] = reused
    return {**manifest, **described}


def dispatch_sync(
    lattice: Lattice,
    dispatcher_addr: str | None = None,
    *,
    key: str | None = None,
    progress: bool | None = None,
) -> Callable[..., Result]:
    """Run a lattice and wait; returns a function that takes its arguments and returns the `Result`.

    Args and errors are those of `dispatch`. A failed dispatch is returned too: see `Result.status`.
    `progress` says whether to show a bar in a terminal or a notebook, after a second; by default
    `sdk.progress` does. With a key, one that runs already is waited for without a bar.
    """
    start = dispatch(lattice, dispatcher_addr, key=key)

    def wrapper(*args: Any, **kwargs: Any) -> Result:
        if lattice.get_metadata("triggers"):  # it waits for one of them
            return get_result(start(*args, **kwargs), wait=True, dispatcher_addr=dispatcher_addr)
        engine = engine_at(dispatcher_addr)
        request = _request(lattice, args, kwargs, key=key)
        with shown(lattice.name, lambda: _counted(request["id"], engine), progress):
            return _ended(engine, engine.run(request, _inside()))

    return wrapper


def _counted(dispatch_id: str, engine: Engine) -> Iterator[tuple[int, int]]:
    """How many of its electrons are done, of how many, whenever something has happened."""
    seen, ended = 0, False
    while not ended:
        state = engine.progress(dispatch_id, seen, None)
        seen, ended = state["seq"], Status.is_terminal(state["status"])
        yield state["done"], state["total"]


@overload
def get_result(
    dispatch_id: str,
    wait: bool = False,
    dispatcher_addr: str | None = None,
    status_only: Literal[False] = False,
    *,
    timeout: float | None = None,
) -> Result: ...


@overload
def get_result(
    dispatch_id: str,
    wait: bool = False,
    dispatcher_addr: str | None = None,
    *,
    status_only: Literal[True],
    timeout: float | None = None,
) -> Status: ...


def get_result(
    dispatch_id: str,
    wait: bool = False,
    dispatcher_addr: str | None = None,
    status_only: bool = False,
    *,
    timeout: float | None = None,
) -> Result | Status:
    """The result of a dispatch as it stands, or as it ends.

    Args:
        dispatch_id: Which one.
        wait: Return only when it has ended. The engine wakes this program up.
        dispatcher_addr: The address of the server that it was sent to.
        status_only: Return the status instead of the result.
        timeout: How many seconds to wait at most; for ever by default.

    Raises:
        DispatchNotFound: there is no such dispatch.
        StillRunning: it has not ended in that time; a TimeoutError. It goes on.
        EngineUnavailable: the engine has not answered 5 seconds after that time: it is busy, or
            was paused.
        WrongSetting: `timeout` is not a number of seconds, or nothing is waited for.
    """
    check_id(dispatch_id)
    check_setting("timeout", timeout)
    if timeout is not None and not wait:
        raise WrongSetting(setting="timeout", got="alone", expected="given along with wait=True")
    engine = engine_at(dispatcher_addr)
    if not wait:
        result = Result.fetch(dispatch_id, engine)
    else:
        result = _ended(engine, engine.outcome(dispatch_id, _inside(), timeout))
    if timeout is not None and not result.status.terminal:
        raise StillRunning(dispatch_id=dispatch_id, status=result.status.value, seconds=timeout)
    return result.status if status_only else result


def list_dispatches(
    limit: int = 100,
    *,
    status: Status | str | None = None,
    search: str | None = None,
    dispatcher_addr: str | None = None,
) -> list[Result]:
    """The newest dispatches, newest first, as they stand; large parts are fetched when read.

    Args:
        limit: How many, at most 1000.
        status: Only those with this status.
        search: Only those with this in their name, or with an id that begins so; sublattices
            are found too.
        dispatcher_addr: The address of the server that they were sent to.

    Raises:
        WrongSetting: `limit` or `status` cannot be.
    """
    if type(limit) is not int or not 0 < limit <= _MOST:
        expected = f"a whole number from 1 to {_MOST}"
        raise WrongSetting(setting="limit", got=repr(limit), expected=expected)
    if status is not None and str(status).upper() not in Status.__members__:
        raise WrongSetting(
            setting="status", got=repr(status), expected=f"one of {', '.join(Status)}"
        )
    if search is not None and not isinstance(cast("object", search), str):
        raise WrongSetting(setting="search", got=repr(search), expected="text")
    wanted = None if status is None else Status[str(status).upper()].value
    engine = engine_at(dispatcher_addr)
    found = engine.call(
        "dispatches", limit=limit, status=wanted, search=search, root_only=not search
    )
    return [Result(row, engine) for row in found["dispatches"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a dispatch is."""

    status: Status
    done: int  #: electrons that have ended, those of sublattices included
    total: int  #: electrons that are known; sublattices add theirs when they start


def watch(dispatch_id: str, dispatcher_addr: str | None = None) -> Iterator[Progress]:
    """Follow a dispatch: yields its progress whenever something has happened, until it has ended.

    Raises:
        DispatchNotFound: there is no such dispatch.
    """
    check_id(dispatch_id)
    engine, seen = engine_at(dispatcher_addr), 0
    while True:
        state = engine.progress(dispatch_id, seen, _inside())
        seen, status = state["seq"], Status(state["status"])
        yield Progress(status=status, done=state["done"], total=state["total"])
        if status.terminal:
            return


def cancel(
    dispatch_id: str,
    task_ids: int | Sequence[int] | None = None,
    dispatcher_addr: str | None = None,
) -> str:
    """Cancel a dispatch with its sublattices, or some of its nodes; says what was done.

    What runs is stopped, with all processes that it has started and that have not left for a
    session of their own. Triggers go on (`stop_triggers` stops them), but for those that a dispatch
    waits for to be started: they are stopped along with it.

    Raises:
        DispatchNotFound: there is no such dispatch.
        NodeNotFound: it has no such node.
        WrongSetting: `task_ids` are not numbers of nodes, or there is none among them; or the
            dispatch was only stored, so that there is all of it to cancel, or nothing.
    """
    check_id(dispatch_id)
    nodes = [task_ids] if isinstance(task_ids, int) else task_ids
    numbers = None if nodes is None else list(nodes)
    if numbers is not None and (not numbers or any(type(node) is not int for node in numbers)):
        expected = "the number of a node, or several; leave it out for the whole dispatch"
        raise WrongSetting(setting="task_ids", got=repr(task_ids), expected=expected)
    return engine_at(dispatcher_addr).call("cancel", dispatch_id=dispatch_id, node_ids=numbers)


def _ended(engine: Engine, outcome: Mapping[str, Any]) -> Result:
    return Result(outcome["dispatch"], engine, outcome["result"])


def _inside() -> tuple[str, int] | None:
    """The electron that we are in, which waits now."""
    context = get_context()
    if context is None:
        return None
    context.waits()
    return context.dispatch_id, context.node_id

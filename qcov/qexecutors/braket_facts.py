"""What Amazon Braket says of a device: what it runs, when, how much of it, and at what price."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

_OPENQASM = "braket.ir.openqasm.program"
_PROGRAM_SET = "braket.ir.openqasm.program_set"
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When a device runs tasks, in UTC. One whose end is before its start ends on the next day."""

    days: frozenset[int]  #: 0 for Monday
    start: dt.time
    end: dt.time

    def holds(self, moment: dt.datetime) -> bool:
        """Whether a moment is in it."""
        day, time = moment.weekday(), moment.time()
        if self.start <= self.end:
            return day in self.days and self.start <= time <= self.end
        return (day in self.days and time >= self.start) or (
            (day - 1) % 7 in self.days and time <= self.end
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """A device, as `GetDevice` describes it.

    Args:
        arn: Its name.
        is_simulator: Whether it is a simulator.
        status: ONLINE, OFFLINE or RETIRED.
        operations: What it calls the gates that it runs.
        results: Which result types it gives without shots.
        pragmas: What else its OpenQASM may say.
        measures_all: Whether programs must measure all of their qubits.
        qubits: How many it has.
        least_shots: Of one program; 0 if it runs without shots too.
        most_shots: Of one program.
        set_programs: How many programs a program set has at most; None if it takes no sets.
        set_shots: How many shots they have together at most.
        windows: When it runs tasks.
        shot_price: US dollars for a shot, if it says so.
        minute_price: US dollars for a minute, if it says so.
        queue: How many tasks wait.
    """

    arn: str
    is_simulator: bool
    status: str
    operations: frozenset[str]
    results: frozenset[str]
    pragmas: frozenset[str]
    measures_all: bool
    qubits: int | None
    least_shots: int
    most_shots: int | None
    set_programs: int | None
    set_shots: int | None
    windows: tuple[Window, ...]
    shot_price: float | None
    minute_price: float | None
    queue: int | None

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any]) -> DeviceFacts:
        """The facts in an answer of `GetDevice`."""
        properties: dict[str, Any] = json.loads(answer.get("deviceCapabilities") or "{}")
        service, actions = below(properties, "service"), below(properties, "action")
        program, programs = below(actions, _OPENQASM), below(actions, _PROGRAM_SET)
        least, most = (*(service.get("shotsRange") or ()), None, None)[:2]
        cost = below(service, "deviceCost")
        windows: list[dict[str, str]] = service.get("executionWindows") or []
        results: list[dict[str, Any]] = program.get("supportedResultTypes") or []
        return cls(
            arn=answer["deviceArn"],
            is_simulator=answer.get("deviceType") == "SIMULATOR",
            status=answer.get("deviceStatus", "OFFLINE"),
            operations=frozenset(map(str.lower, program.get("supportedOperations") or [])),
            results=frozenset(one["name"] for one in results if not one.get("minShots")),
            pragmas=frozenset(map(str.lower, program.get("supportedPragmas") or [])),
            measures_all=bool(program.get("requiresAllQubitsMeasurement")),
            qubits=below(properties, "paradigm").get("qubitCount"),
            least_shots=least or 0,
            most_shots=most,
            set_programs=programs.get("maximumExecutables"),
            set_shots=programs.get("maximumTotalShots"),
            windows=tuple(_window(one) for one in windows),
            shot_price=cost.get("price") if cost.get("unit") == "shot" else None,
            minute_price=cost.get("price") if cost.get("unit") == "minute" else None,
            queue=_waiting(answer.get("deviceQueueInfo") or []),
        )

    @property
    def runs_circuits(self) -> bool:
        """Whether it runs circuits of gates."""
        return bool(self.operations)

    def runs_at(self, moment: dt.datetime) -> bool:
        """Whether it runs tasks at a moment, which is in UTC."""
        if self.status != "ONLINE":
            return False
        return not self.windows or any(window.holds(moment) for window in self.windows)


def below(said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under a key of a JSON object; an empty one if there is none."""
    found = said.get(key)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def _window(said: Mapping[str, str]) -> Window:
    start, end = (dt.time.fromisoformat(said[f"window{one}Hour"]) for one in ("Start", "End"))
    return Window(days=_days(said["executionDay"].lower()), start=start, end=end)


def _days(name: str) -> frozenset[int]:
    if name in _DAYS:
        return frozenset({_DAYS.index(name)})
    named = {"weekdays": range(5), "weekend": range(5, 7)}
    return frozenset(named.get(name, range(7)))


def _waiting(queues: Sequence[Mapping[str, str]]) -> int | None:
    """How many tasks wait; a queue that is long may be called ">4000"."""
    sizes = [
        int(found[0])
        for queue in queues
        if queue.get("queue") == "QUANTUM_TASKS_QUEUE"
        and (found := re.search(r"\d+", queue.get("queueSize", "")))
    ]
    return sum(sizes) if sizes else None

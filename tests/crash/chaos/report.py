"""What many rounds have shown, for people."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

from chaos.rounds import Outcome

_HEAD = """\
# What crashes have shown

Written by `pytest tests/crash/test_rounds.py --crash-rounds={rounds} --crash-report=PATH`.

In each round a program dispatches three workflows, about 200 electrons in chains, fans,
sublattices, elements, payloads above 64 kB, failures, retries and a cancellation. One to three
times SIGKILL ends the engine, a worker, the zygote, the program, or all of them: at a named point
(such as between a transaction's statements and its commit) or at any moment. The program is started
again if it died.

For eight such rounds there is one in which two engines share a database of PostgreSQL's. Its server
is ended at once and started again, as well, and a program that is started again asks the other
engine.

At the end, every dispatch must have ended and nothing may still run. Everything that was committed,
or that a program was told, must be there and be the same. No electron whose end was recorded may
have run again. Every node must have come to what it comes to when nothing is killed, unless its
worker was. All payloads must match their digests, SQLite must find its file whole, and no process
may be left.
What two engines share may run again when a lease has ended, until it has been recorded.

SIGKILL shows what processes lose, not what a power cut takes from the disk.
"""


def markdown(outcomes: Sequence[Outcome], *, rounds: int) -> str:
    """A page about these rounds, so many of which with one engine were asked for."""
    kills = [kill for outcome in outcomes for kill in outcome.kills]
    seeds = [outcome.seed for outcome in outcomes]
    numbers = {
        "rounds": len(outcomes),
        "of these, with two engines and PostgreSQL": sum(outcome.shared for outcome in outcomes),
        "seeds": f"{min(seeds)} to {max(seeds)}",
        "processes killed": len(kills),
        "rounds in which all that was to be killed had ended before": sum(
            not outcome.kills for outcome in outcomes
        ),
        "dispatches, sublattices included": sum(outcome.dispatches for outcome in outcomes),
        "electrons begun": sum(outcome.electrons for outcome in outcomes),
        "of these, begun again (retries, and what ran when it was killed)": sum(
            outcome.again for outcome in outcomes
        ),
        "engines started": sum(outcome.engines for outcome in outcomes),
        "programs started": sum(outcome.clients for outcome in outcomes),
        "longest round": f"{max(outcome.seconds for outcome in outcomes):.1f} s",
        "**violations**": sum(len(outcome.violations) for outcome in outcomes),
    }
    here = (
        f"{platform.system()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores."
    )
    return "\n".join(
        [
            _HEAD.format(rounds=rounds),
            here,
            "",
            *_table(("what", "how many"), numbers.items()),
            "",
            "## Who was killed, and where",
            "",
            *_table(("process", "point", "kills"), _counted(kills)),
            *_violations(outcomes),
            "",
        ]
    )


def _counted(kills: Iterable[tuple[str, str]]) -> list[tuple[object, ...]]:
    return [(*kill, count) for kill, count in sorted(Counter(kills).items())]


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def _violations(outcomes: Sequence[Outcome]) -> list[str]:
    bad = [outcome for outcome in outcomes if outcome.violations]
    if not bad:
        return []
    rows = [(outcome.seed, "; ".join(outcome.violations)[:500]) for outcome in bad]
    return ["", "## Violations", "", *_table(("seed", "what"), rows)]

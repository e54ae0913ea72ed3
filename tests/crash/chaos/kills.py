"""Who is to die in a round, and when: drawn from the round's seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from chaos import points

VICTIMS = ("engine", "engine", "worker", "zygote", "client", "all of them")
SERVER = "server"
_RUNS = 190  # electrons that begin in an undisturbed round, roughly


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Who dies, and when: at a point, or some time after so many electrons have begun."""

    victim: str
    point: str | None = None
    count: int = 1
    begun: int = 0
    later: float = 0.0


def plan(seed: int, *, server: bool = False) -> list[Kill]:
    """One to three kills, more than half of them at points; or of the database's server."""
    chance = random.Random(seed)
    kills = [_kill(chance) for _ in range(chance.randint(1, 3))]
    if server:
        later = chance.uniform(0, 0.02)
        kills.append(Kill(victim=SERVER, begun=chance.randrange(_RUNS), later=later))
        chance.shuffle(kills)
    return kills


def _kill(chance: random.Random) -> Kill:
    if chance.random() < 0.6:
        point = chance.choice(sorted(points.POINTS))
        victim, often = points.POINTS[point]
        return Kill(victim=victim, point=point, count=round(often ** chance.random()))
    begun = 0 if chance.random() < 0.2 else chance.randrange(_RUNS)
    later = chance.uniform(0, 0.02) if begun else chance.uniform(0, 1.0)
    return Kill(victim=chance.choice(VICTIMS), begun=begun, later=later)

"""Whether others than slots wait for a thread of the cluster's workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from qcov.classical.engine.cluster_queue import key_of, others_wait


def _tasks(keys: str) -> list[Any]:
    names = {"s": key_of("1f"), "o": ("other", 0)}
    return [SimpleNamespace(key=names[key]) for key in keys]


@pytest.mark.parametrize(
    ("queued", "processing", "long", "waits"),
    [
        ("", "", 0, False),
        ("s", "ss", 0, False),  # one of ours waits
        ("o", "ss", 0, True),
        ("", "so", 0, False),  # both have a thread
        ("", "sso", 0, True),
        ("", "sso", 1, False),  # one has given its thread back
    ],
)
def test_others_wait(queued: str, processing: str, long: int, waits: bool) -> None:
    held, given_back = _tasks(processing), _tasks("s" * long)
    worker = SimpleNamespace(processing=held, long_running=given_back, nthreads=2)
    scheduler = SimpleNamespace(queued=_tasks(queued), workers={"tcp://1": worker})

    assert others_wait(scheduler) is waits

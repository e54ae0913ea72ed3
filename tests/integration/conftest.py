"""What the tests of whole programs share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Programs that the test starts heed Ctrl-C, even where the tests were told to ignore it.

    A shell starts a job in the background with SIGINT ignored, which every child inherits.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)

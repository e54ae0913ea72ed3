"""What people are told of an error."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path
from typing import cast

from qcov.classical.executors.base import RaisedElsewhere

#: Frames from here stand between the worker and the user's code.
_NOT_THE_USERS = (
    "<frozen importlib.",
    *(
        str(Path(cast("str", importlib.import_module(name).__file__)).parent)
        for name in ("qcov", "asyncio", "cloudpickle")
    ),
)
_LONGEST = 65_536  # characters of an error


def describe(error: BaseException) -> str:
    """An error with the user's own frames, without those that led to them."""
    if isinstance(error, RaisedElsewhere):  # described where it was raised
        return str(error)
    told = traceback.TracebackException.from_exception(error)
    _forget_our_frames(told)
    text = "".join(told.format()).rstrip()
    return (
        text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}\n...\n{text[-_LONGEST // 2 :]}"
    )


def _forget_our_frames(told: traceback.TracebackException) -> None:
    frames = told.stack
    while frames and frames[0].filename.startswith(_NOT_THE_USERS):
        del frames[0]
    for linked in (told.__cause__, told.__context__):
        if linked is not None:
            _forget_our_frames(linked)

"""The states of a dispatch and of a node."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """A state; equal to its name as a string.

    >>> Status.COMPLETED == "COMPLETED", Status.CANCELED is Status.CANCELLED, str(Status.NEW_OBJ)
    (True, True, 'NEW_OBJECT')
    """

    NEW_OBJECT = "NEW_OBJECT"  #: waits for its inputs; stays so if one of them failed
    PENDING = "PENDING"  #: saved, not started
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELING = "CANCELING"
    CANCELLED = "CANCELLED"

    # Covalent's other spellings
    NEW_OBJ = NEW_OBJECT
    CANCELED = CANCELLED

    @property
    def terminal(self) -> bool:
        """True for the states that never change again."""
        return self in _TERMINAL

    @classmethod
    def is_terminal(cls, status: str) -> bool:
        """True if `status` never changes again."""
        return cls(status).terminal


_TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

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


#: How people read the status of a node that never began in a dispatch that has ended.
NOT_RUN = "NOT_RUN"


def node_status(status: str, dispatch_status: str) -> str:
    """How a node stands, as people read it.

    >>> node_status("NEW_OBJECT", "RUNNING"), node_status("NEW_OBJECT", "FAILED")
    ('NEW_OBJECT', 'NOT_RUN')
    """
    waits = status in (Status.NEW_OBJECT, Status.PENDING)
    return NOT_RUN if waits and Status.is_terminal(dispatch_status) else status


_TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

"""What every executor of electrons has."""

from __future__ import annotations

from typing import Any, Self


class BaseExecutor:
    """Says where and how an electron runs.

    Args:
        time_limit: Seconds after which an electron is stopped; None for no limit.
        retries: How often an electron is tried again after a failure.
    """

    #: The short name under which `executor="..."` finds the class.
    short_name: str = ""

    def __init__(self, *, time_limit: float | None = None, retries: int = 0) -> None:
        self.time_limit = time_limit
        self.retries = retries

    def to_dict(self) -> dict[str, Any]:
        """The executor as JSON: its short name and its attributes."""
        return {"type": self.short_name, "attributes": dict(vars(self))}

    def from_dict(self, object_dict: dict[str, Any]) -> Self:
        """Take over the attributes of a dict that `to_dict` made; returns itself."""
        vars(self).update(object_dict["attributes"])
        return self

    def __repr__(self) -> str:
        attributes = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({attributes})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = object.__hash__

"""What every executor of electrons has, and how one is described to the engine."""

from __future__ import annotations

from typing import Any, Self, cast

from qcov.errors import InvalidExecutor, suggest

_known: dict[str, type[BaseExecutor]] = {}


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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.short_name:
            _known[cls.short_name] = cls

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


def executor_dict(executor: object) -> dict[str, Any]:
    """Describe an executor, given as a name or an object, to the engine."""
    if isinstance(executor, str):
        return executor_class(executor)().to_dict()
    if isinstance(executor, BaseExecutor) and executor.short_name in _known:
        return executor.to_dict()
    kind = cast("type", executor if isinstance(executor, type) else type(executor))
    call = " Call it to make one." if isinstance(executor, type) else ""
    raise InvalidExecutor(
        got=f"{executor!r} ({kind.__name__})",
        advice=f"Give a name ({', '.join(sorted(_load()))}) or an executor object.{call}",
    )


def executor_class(name: str) -> type[BaseExecutor]:
    """The executor class with this short name."""
    known = _load()
    if name not in known:
        raise InvalidExecutor(got=repr(name), advice=suggest(name, known))
    return known[name]


def _load() -> dict[str, type[BaseExecutor]]:
    import qcov.classical.executors.local  # noqa: F401  # registers itself

    return _known

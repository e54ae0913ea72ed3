"""The `files` of an electron, as what runs before and after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from qcov.classical.deps import FILES, Deps, shown
from qcov.classical.files.transfer import FileTransfer, Order
from qcov.errors import WrongSetting


class Transfers(Deps):
    """Transfers that are made one after the other, before an electron or after it."""

    short_name = "files"

    def __init__(
        self,
        function: Callable[..., Any],
        transfers: Sequence[FileTransfer],
        retval_keyword: str = "",
    ) -> None:
        super().__init__(function, [list(transfers)], retval_keyword=retval_keyword)

    @property
    def label(self) -> str:
        """Between which files."""
        return ", ".join(f"{one.from_file} -> {one.to_file}" for one in self.apply_args[0])


def as_transfers(value: object) -> list[FileTransfer] | None:
    """`files` as a list; a single transfer is accepted as it is."""
    if value is None:
        return None
    several = cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else [value]
    for one in several:
        if not isinstance(one, FileTransfer):
            raise WrongSetting(
                setting="files",
                got=shown(one),
                expected="a FileTransfer or a list of them (see ct.fs)",
            )
    return cast("list[FileTransfer]", list(several))


def before(transfers: Sequence[FileTransfer], *, wanted: bool) -> list[Deps]:
    """What runs before an electron: transfers, and where it is `wanted`, the paths of all."""
    if not wanted and all(one.order is Order.AFTER for one in transfers):
        return []
    return [Transfers(bring, transfers, FILES if wanted else "")]


def after(transfers: Sequence[FileTransfer]) -> list[Deps]:
    """What runs after an electron."""
    late = [one for one in transfers if one.order is Order.AFTER]
    return [Transfers(take_away, late)] if late else []


def bring(transfers: Sequence[FileTransfer]) -> list[tuple[str, str]]:
    """Transfer what comes before an electron; return the paths of all its transfers."""
    for one in transfers:
        if one.order is Order.BEFORE:
            one.run()
    return [one.paths for one in transfers]


def take_away(transfers: Sequence[FileTransfer]) -> None:
    """Transfer what comes after an electron."""
    for one in transfers:
        one.run()

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from qcov.cli import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process."""

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["qcov", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        said = capsys.readouterr()
        return Ran(code=code if isinstance(code, int) else 0, out=said.out, err=said.err)

    return run

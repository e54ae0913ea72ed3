"""The commands that make an environment: each in a session of its own, with a limit.

What such a command starts, pip's builds of packages above all, ends with it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

from qcov.classical.engine.spawn import Environment, kill_group
from qcov.config import get_config
from qcov.errors import DependencyFailed

_TOLD = 2000  # characters of what pip says, in an error


class Installing:
    """Runs commands in the folder of a user's program, with its variables.

    Args:
        user: The program's environment.
        packages: What is installed.
    """

    def __init__(self, user: Environment, packages: tuple[str, ...]) -> None:
        self._user, self._packages = user, packages
        self._limit: float = get_config("engine.install_limit")

    async def run(self, *command: str) -> str:
        """Run a command; return what it prints.

        Raises `DependencyFailed` if it fails, or takes longer than it may.
        """
        with tempfile.TemporaryFile() as output:  # a pipe could be held open by what it has left
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self._user.cwd,
                env=_variables(self._user.variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(self._limit or None):
                    await process.wait()
            except TimeoutError:
                reason = f"{_named(command)} was stopped after {self._limit:g} s"
                advice = "Raise the setting engine.install_limit, or see whether the package index"
                raise self._failed(reason, advice, _all_of(output)) from None
            finally:
                kill_group(process.pid)
            if process.returncode != 0:
                reason = f"{_named(command)} ended with {process.returncode}"
                advice = "Correct deps_pip, or see whether the package index"
                raise self._failed(reason, advice, _all_of(output))
            return _all_of(output)

    def _failed(self, reason: str, advice: str, said: str) -> DependencyFailed:
        told = f"It said:\n{said.strip()[-_TOLD:]}" if said.strip() else "It said nothing."
        return DependencyFailed(
            what=f"the packages {', '.join(self._packages)} could not be installed",
            reason=reason,
            advice=f"{advice} can be reached. {told}",
        )


def _named(command: tuple[str, ...]) -> str:
    return f"`python {' '.join(command[1:3])}`"


def _all_of(output: Any) -> str:
    output.seek(0)
    return output.read().decode(errors="replace")


def _variables(variables: Mapping[str, Any]) -> dict[str, str]:
    """The program's variables; those are not known any more after a restart of the engine."""
    return dict(variables or os.environ) | {"PIP_USER": "0"}

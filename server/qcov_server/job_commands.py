"""`qcov jobs ...` in a process of its own: the server imports no provider's SDK.

It runs in the server's environment, where the credentials may be missing that a program has. Then
what the command says is the answer, and where to run it instead.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from starlette.exceptions import HTTPException

from qcov.classical.engine.spawn import kill_group

_LIMIT = 90.0  # seconds
#: Our own package comes last on the path: an installed one wins.
_BOOT = "import sys; sys.path.append(sys.argv.pop(1)); from qcov.cli import main; main()"
_ROOT = str(Path(__file__).parents[2])


async def run_jobs(*arguments: str) -> str:
    """What `qcov jobs` with these arguments says; a conflict (409) if it fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", _BOOT, _ROOT, "jobs", *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    command = f"`qcov jobs {' '.join(arguments)}`"
    try:
        async with asyncio.timeout(_LIMIT):
            said, complained = await process.communicate()
    except TimeoutError as error:
        detail = f"{command} has not ended within {_LIMIT:g} s; run it in a terminal."
        raise HTTPException(409, detail) from error
    finally:
        kill_group(process.pid)
    if process.returncode != 0:
        why = complained.decode(errors="replace").strip().removeprefix("error: ")
        detail = f"{why or 'It failed.'} Where the program's credentials are, run {command}."
        raise HTTPException(409, detail)
    return said.decode(errors="replace")

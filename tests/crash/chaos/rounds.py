"""One round: a workflow runs, processes are killed, others go on; then everything is checked."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

from chaos import checks, database, journal, points
from chaos.kills import SERVER, Kill, plan

_HERE = str(Path(__file__).parents[1])
_PROGRAM = f"import sys; sys.path.insert(0, {_HERE!r}); from chaos.workflow import main; main()"
_ENGINE = f"import sys; sys.path.insert(0, {_HERE!r}); from chaos.workflow import ready; ready()"
_LEASE = 6.0  # seconds: some times what a loaded machine makes a beat late
_DEADLINE = 90.0  # seconds that only a round which hangs reaches
_GONE_WITHIN = 20.0  # seconds, as above
_LOOK = 0.002  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a round has shown."""

    seed: int
    shared: bool  #: whether two engines shared a database
    kills: list[tuple[str, str]]  #: who, and where
    dispatches: int
    electrons: int  #: that began, in all tries
    again: int  #: of them, tries of one that had begun before
    clients: int  #: programs that were started, one after the other
    engines: int
    seconds: float
    violations: list[str] = field(default_factory=list[str])


class Server(Protocol):
    """A database server of the test's own."""

    def create(self) -> str:
        """A new, empty database; returns its URL."""
        ...

    def drop(self, url: str) -> None:
        """Remove a database."""
        ...

    def stop(self) -> None:
        """End it at once, as a crash would."""
        ...

    def start(self) -> None:
        """Let it serve; return when it does."""
        ...


class Round:
    """A store of its own, and the processes that use it.

    Args:
        folder: Where all of its files are.
        seed: Decides what is left to chance.
        cancel: Whether one of the dispatches is cancelled.
        server: Has the database, which two engines share; without it, it is a file of one engine's.
        more: Environment variables.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        cancel: bool = True,
        server: Server | None = None,
        **more: str,
    ) -> None:
        self.folder, self.seed = folder, seed
        self.data = folder / "data"
        self.journal = folder / "journal"
        self._server = server
        self._folders = [self.data]
        self._url, self._payloads = "", folder / "blobs"  # of a server's
        self._chance = random.Random(seed)
        folder.mkdir(parents=True)
        if server is not None:
            more |= self._share(server)
        pages = random.Random(seed).choice([4, 64, 8192])  # how often SQLite copies its log back
        self._environment = {
            **os.environ,
            journal.FOLDER: str(folder),
            "QCOV_CONFIG_DIR": str(folder / "config"),
            "QCOV_ENGINE_WORKERS": "2",
            "QCOV_CHAOS_PAGES": str(pages),
            **more,
        }
        if cancel:
            self._environment["QCOV_CHAOS_CANCEL"] = "1"
        self._client: subprocess.Popen[bytes] | None = None
        self._clients = 0
        self._others: list[subprocess.Popen[bytes]] = []  # programs that only start an engine
        self._began = time.monotonic()
        self._wrong: list[str] = []

    def run(self, kills: list[Kill], reference: Mapping[Any, Any] | None) -> Outcome:
        """Run the workflow to its end while `kills` happen."""
        try:
            self._start_client()
            for kill in kills:
                self._perform(kill)
                self._go_on()
            self._finish()
        finally:
            self._stop()
        return self._outcome(reference)

    def contents(self) -> database.Contents | None:
        if self._server is None:
            return database.read_folder(self.data)
        return database.read(self._url, self._payloads)

    def remove(self) -> None:
        """Remove all that it has made."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._server is not None:
            self._server.drop(self._url)

    def _share(self, server: Server) -> dict[str, str]:
        """Have the database at a server, and two engines that share all of it."""
        url = server.create()
        self._folders.append(self.folder / "other")
        self._url = url.replace("postgresql:", "postgresql+psycopg:")
        return {
            "QCOV_WORKFLOW_DATA_DB_URL": url,
            "QCOV_WORKFLOW_DATA_BASE_DIR": str(self._payloads),
            "QCOV_WORKFLOW_DATA_SEAL_KEY": str(self.folder / "seal.key"),
            "QCOV_ENGINE_LEASE": str(_LEASE),
        }

    # -- the program

    def _start_client(self) -> None:
        """Start the program at one engine, and let the others be there too."""
        at = self._folders[self._clients % len(self._folders)]
        self._clients += 1
        self._client = self._start(_PROGRAM, at)
        for other in self._folders:
            if other != at:
                self._others.append(self._start(_ENGINE, other))

    def _start(self, program: str, folder: Path) -> subprocess.Popen[bytes]:
        with open(self.folder / "client.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", program],
                env={**self._environment, "QCOV_DATA_DIR": str(folder)},
                cwd=self.folder, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def _client_lives(self) -> bool:
        return self._client is not None and self._client.poll() is None

    @property
    def _said(self) -> bool:
        return (self.folder / "said").exists()

    def _go_on(self) -> None:
        """Start the program again if it was killed, or was told that there is no engine."""
        if not self._client_lives and not self._said:
            self._start_client()

    def _finish(self) -> None:
        """Let the program come to its end."""
        (self.folder / "order").unlink(missing_ok=True)
        for _ in range(4):
            self._until(lambda: not self._client_lives)
            if self._said or self._client_lives:
                break
            self._start_client()
        if not self._said:
            log = (self.folder / "client.log").read_text()[-2000:]
            self._wrong.append(f"the workflow did not end, or the program failed: {log}")

    def _until(self, holds: Callable[[], bool], seconds: float = _DEADLINE) -> bool:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK)
        return True

    # -- killing

    def _perform(self, kill: Kill) -> None:
        if kill.point is not None:
            points.order(self.folder, kill.point, kill.count)
            order = self.folder / "order"
            self._until(lambda: not order.exists() or not self._client_lives)
            order.unlink(missing_ok=True)
            if kill.victim == "client":
                self._until(lambda: not self._client_lives)
        else:
            self._until(lambda: not self._client_lives or self._begun() >= kill.begun)
            time.sleep(kill.later)
            self._strike(kill.victim)
        self._note_completed()

    def _begun(self) -> int:
        return sum(entry[0] == "ran" for entry in journal.entries(self.journal))

    def _strike(self, victim: str) -> None:
        if victim == SERVER:
            assert self._server is not None
            self._note("killed", SERVER, "any moment")
            self._server.stop()
            return self._server.start()
        found = self._processes()
        chosen = [name for name in found if found[name]] if victim == "all of them" else [victim]
        for name in chosen:
            struck = found[name]
            if victim != "all of them":
                struck = self._chance.sample(struck, k=min(1, len(struck)))
            for process in struck:
                with contextlib.suppress(psutil.NoSuchProcess):
                    # noted first: what comes of it must not come before it
                    self._note("killed", name, "any moment")
                    process.kill()
        if victim in ("client", "all of them") and self._client is not None:
            self._client.wait()
        return None

    def _processes(self) -> dict[str, list[psutil.Process]]:
        found: dict[str, list[psutil.Process]] = {
            "client": [], "engine": [], "zygote": [], "worker": []
        }  # fmt: skip
        if self._client is not None and self._client.poll() is None:
            found["client"] = [psutil.Process(self._client.pid)]
        for folder in self._folders:
            with contextlib.suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess):
                pid = json.loads((folder / "engine.json").read_text())["pid"]
                engine = psutil.Process(pid)
                if engine.environ().get(journal.FOLDER) == str(self.folder):
                    zygotes = engine.children()
                    found["engine"].append(engine)
                    found["zygote"] += zygotes
                    found["worker"] += [one for zygote in zygotes for one in zygote.children()]
        return found

    def _note(self, *entry: Any) -> None:
        line = json.dumps(entry).encode() + b"\n"
        descriptor = os.open(self.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, line)
        os.close(descriptor)

    def _note_completed(self) -> None:
        """Note what is on disk: an engine may have died before it could."""
        contents = self.contents()
        for (dispatch_id, node), row in (contents.nodes if contents else {}).items():
            if row["status"] == "COMPLETED" and row["kind"] in ("electron", "sublattice"):
                self._note("ended", dispatch_id, node, "COMPLETED", row["output"])

    # -- the end

    def _stop(self) -> None:
        """Stop the engine politely; nothing may be left of it."""
        if self._client_lives and self._client is not None:
            self._client.kill()
        for program in (self._client, *self._others):
            if program is not None:
                program.wait()
        for engine in self._processes()["engine"]:
            engine.terminate()
        self._until(lambda: not self._left(), _GONE_WITHIN)
        for process in self._left():
            with contextlib.suppress(psutil.NoSuchProcess):
                self._wrong.append(f"process {process.pid} is left: {process.cmdline()[:4]}")
                process.kill()

    def _left(self) -> list[psutil.Process]:
        return list(processes_of(self.folder))

    def _outcome(self, reference: Mapping[Any, Any] | None) -> Outcome:
        entries = journal.entries(self.journal)
        contents = self.contents()
        wrong = list(self._wrong)
        if contents is None:
            wrong.append("there is no database")
        elif reference is not None:
            wrong += checks.violations(entries, contents, reference)
        ran = [tuple(about) for what, *about in entries if what == "ran"]
        return Outcome(
            seed=self.seed,
            shared=self._server is not None,
            kills=[(about[0], about[1]) for what, *about in entries if what == "killed"],
            dispatches=len(contents.dispatches) if contents else 0,
            electrons=len(ran),
            again=len(ran) - len(set(ran)),
            clients=self._clients,
            engines=sum(what == "engine" for what, *_ in entries),
            seconds=time.monotonic() - self._began,
            violations=wrong,
        )


def processes_of(folder: Path) -> Iterator[psutil.Process]:
    """All processes that a round has started, however they are related to it by now."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(journal.FOLDER) == str(folder):
                yield process


def reference_of(folder: Path) -> dict[tuple[Any, ...], Any]:
    """What the workflow comes to when nothing is killed."""
    quiet = Round(folder, seed=0, cancel=False)
    outcome = quiet.run([], None)
    contents = quiet.contents()
    assert not outcome.violations, outcome.violations
    assert contents is not None
    return {path: row for tree in contents.trees().values() for path, row in tree.items()}


def play(
    folder: Path, seed: int, reference: Mapping[Any, Any], server: Server | None = None
) -> Outcome:
    """Run the round of this seed; what it has made goes if nothing is wrong."""
    this = Round(folder, seed, server=server)
    outcome = this.run(plan(seed, server=server is not None), reference)
    if not outcome.violations:
        this.remove()
    return outcome

"""Every kind of program that a user may dispatch from."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import venv
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

import qcov as ct
from qcov.classical.engine.client import call
from qcov.errors import DispatchNotFound
from tests.integration.classical.test_deps import wheel
from tests.waiting import until

PROGRAM = """
import sys
import qcov as ct
from qcov.errors import DispatchNotFound

@ct.electron
def double(x):
    return 2 * x

@ct.lattice
def workflow(x):
    return double(double(x))

print(ct.dispatch_sync(workflow)(int(sys.argv[1]) if len(sys.argv) > 1 else 3).result)
"""


def test_a_script_without_a_guard(script: Any) -> None:
    script.write(PROGRAM)

    assert script.run() == "12"


def test_a_program_on_standard_input(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-"], input=PROGRAM, capture_output=True, text=True, timeout=60,
        cwd=tmp_path,
    )  # fmt: skip
    assert ran.stdout == "12\n", ran.stderr


def test_a_program_on_the_command_line(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, "4"], capture_output=True, text=True, timeout=60,
        cwd=tmp_path,
    )  # fmt: skip
    assert ran.stdout == "16\n", ran.stderr


@contextlib.contextmanager
def kernel_in(folder: Path, **settings: Any) -> Iterator[Any]:
    """The client of a notebook's kernel, over sockets that are files: ports may be taken."""
    manager = pytest.importorskip("jupyter_client").manager
    pytest.importorskip("ipykernel")
    with tempfile.TemporaryDirectory() as sockets:  # in a test's own, paths may be too long
        running = manager.KernelManager(transport="ipc", ip=f"{sockets}/kernel")
        running.start_kernel(cwd=str(folder), **settings)
        client = running.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=120)
            yield client
        finally:
            client.stop_channels()
            running.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Run cells in a notebook's kernel; returns what a cell prints."""

    def run(cell: str) -> str:
        printed: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] in ("stream", "error"):
                content = message["content"]
                printed.append(content.get("text") or "\n".join(content["traceback"]))

        client.execute_interactive(textwrap.dedent(cell), output_hook=hear, timeout=120)
        return "".join(printed)

    with kernel_in(tmp_path) as client:
        yield run


def test_a_notebook(kernel: Callable[[str], str]) -> None:
    kernel("import qcov as ct\n@ct.electron\ndef double(x):\n    return 2 * x")
    cell = "print(ct.dispatch_sync(ct.lattice(lambda x: double(x)))({}).result)"
    assert kernel(cell.format(2)) == "4\n"

    kernel("@ct.electron\ndef double(x):\n    return 20 * x")
    assert kernel(cell.format(2)) == "40\n"


def test_a_notebook_shows_progress_pictures_and_results(tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "CI"}
    heard: list[dict[str, Any]] = []
    seen = tmp_path / "seen"

    def hear(message: dict[str, Any]) -> None:
        heard.append(message)
        if message["msg_type"] == "display_data":
            seen.touch()

    def run(cell: str) -> list[dict[str, Any]]:
        heard.clear()
        client.execute_interactive(textwrap.dedent(cell), output_hook=hear, timeout=120)
        return [{"type": message["msg_type"], **message["content"]} for message in heard]

    with kernel_in(tmp_path, env=variables) as client:
        run("""
            import pathlib, time
            import qcov as ct

            @ct.electron
            def nap(x):
                time.sleep(0.8)
                while x == 1 and not pathlib.Path("seen").exists():
                    time.sleep(0.05)
                return x

            @ct.lattice
            def sleepy(x):
                return nap(nap(x))
        """)
        waited = run("result = ct.dispatch_sync(sleepy)(1)")
        [result] = [each for each in run("result") if each["type"] == "execute_result"]
        [drawing] = [each for each in run("sleepy.draw(1)") if each["type"] == "execute_result"]
        silent = run("result = ct.dispatch_sync(sleepy, progress=False)(2)")

    bars = [each["data"]["text/html"] for each in waited if "display" in each["type"]]
    assert "<progress" in bars[0]
    assert bars[-1] == "<div>sleepy: 2 of 2</div>"
    assert not [each for each in waited if each["type"] in {"stream", "error"}]
    assert "COMPLETED" in result["data"]["text/html"]
    assert drawing["data"]["text/html"].startswith("<svg")
    assert drawing["data"]["text/plain"].startswith("[0] nap")
    assert not [each for each in silent if "display" in each["type"]]


@pytest.mark.parametrize(
    ("module", "use"),
    [
        ("jax", "jax.jit(lambda x: x + 1)(1.0).block_until_ready()"),
        ("torch", "(torch.ones(500, 500) @ torch.ones(500, 500)).sum().item()"),
    ],
)
@pytest.mark.slow
def test_a_program_that_has_used_a_threaded_library(script: Any, module: str, use: str) -> None:
    pytest.importorskip(module)
    script.write(f"import {module}\n{use}\n{PROGRAM}")

    assert script.run() == "12"


def test_the_engine_is_no_child_of_who_starts_it(script: Any) -> None:
    script.write(f"{PROGRAM}\nimport gc, psutil\ngc.collect()\nprint(psutil.Process().children())")

    ran = script.start(env={**os.environ, "PYTHONWARNINGS": "always"})
    out, err = ran.communicate(timeout=60)

    assert (out, err) == ("12\n[]\n", "")  # no ResourceWarning, nothing to be waited for


def test_no_connection_is_left_open_at_the_end(script: Any) -> None:
    script.write("""
        import threading
        import qcov as ct
        ct.list_dispatches()
        thread = threading.Thread(target=ct.list_dispatches)
        thread.start()
        thread.join()
        import gc
        gc.collect()
        print("done")
    """)
    command = [sys.executable, "-X", "dev", str(script.folder / script.name)]

    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert ran.stdout == "done\n"
    assert "unclosed" not in ran.stderr


def test_two_programs_at_once_on_a_fresh_folder(script: Any) -> None:
    script.write(PROGRAM)
    both = [script.start("1"), script.start("2")]

    assert [process.communicate(timeout=60) for process in both] == [("4\n", ""), ("8\n", "")]


def test_a_result_outlives_the_program_that_asked_for_it(script: Any, gate: Any) -> None:
    script.write(f"""
        import qcov as ct

        @ct.electron
        def slow():
            with open({str(gate.begun)!r}, "w") as told:
                told.write("begun")
            with open({str(gate.open)!r}) as waiting:
                waiting.read()
            return "done"

        print(ct.dispatch(ct.lattice(lambda: slow()))())
    """)
    dispatch_id = script.run()
    assert gate.wait() == "begun"

    assert ct.get_result(dispatch_id, status_only=True) == "RUNNING"
    gate.let_go()
    assert ct.get_result(dispatch_id, wait=True).result == "done"


def test_a_module_beside_a_script_that_runs_elsewhere(script: Any, tmp_path: Path) -> None:
    script.write("import inner\ndef helped(x):\n    return inner.twice(x)\n", "beside.py")
    script.write("class Point:\n    x = 1\ndef twice(x):\n    return 2 * x\n", "inner.py")
    script.write("""
        import qcov as ct
        import beside, inner

        print(ct.dispatch_sync(ct.lattice(lambda x: [
            ct.electron(beside.helped)(x), ct.electron(lambda p: p.x)(inner.Point())
        ]))(4).result)
    """)

    assert script.run(cwd=tmp_path) == "[8, 1]"


def test_a_module_edited_between_two_runs(script: Any) -> None:
    script.write("""
        import qcov as ct
        import model

        print(ct.dispatch_sync(ct.lattice(lambda: ct.electron(model.answer)()))().result)
    """)
    for number, value in enumerate([1, 22]):
        script.write(f"def value():\n    return {value}\n", "constants.py")
        code = f"import constants\n\ndef answer():\n    return constants.value(), {10**number}\n"
        script.write(code, "model.py")
        assert script.run() == str((value, 10**number))


def test_only_the_inner_module_edited(script: Any) -> None:
    script.write("import inner\ndef answer():\n    return inner.VALUE\n", "outer.py")
    script.write("""
        import qcov as ct

        def work():
            import outer
            return outer.answer()

        print(ct.dispatch_sync(ct.lattice(lambda: ct.electron(work)()))().result)
    """)
    for value in (1, 22):
        script.write(f"VALUE = {value}\n", "inner.py")
        assert script.run() == str(value)


def test_a_module_edited_while_an_electron_runs(script: Any, gate: Any) -> None:
    script.write("VALUE = 1\n", "edited.py")
    script.write(f"""
        import sys
        import qcov as ct

        @ct.electron
        def work(wait):
            import edited
            if wait:
                open({str(gate.begun)!r}, "w").close()
                open({str(gate.open)!r}).read()
            return edited.VALUE

        print(ct.dispatch_sync(ct.lattice(lambda wait: work(wait)))(len(sys.argv) > 1).result)
    """)
    running = script.start("wait")
    gate.wait()
    script.write("VALUE = 22\n", "edited.py")
    gate.let_go()

    assert running.communicate(timeout=60)[0].strip() == "1"
    assert [script.run(), script.run()] == ["22", "22"]


# -- packages that are installed again, and modules in the folder of a virtual environment


@dataclass(frozen=True)
class VirtualEnvironment:
    """One of a user's own, in which qcov can be imported."""

    python: str
    site: Path

    @classmethod
    def make(cls, folder: Path) -> VirtualEnvironment:
        venv.create(folder, symlinks=True)
        python = str(folder / "bin" / "python")
        asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        site = Path(
            subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        )
        (site / "tested.pth").write_text("\n".join(path for path in sys.path if path))
        return cls(python, site)

    def install(self, wheel: str) -> None:
        quiet = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
        ours = [sys.executable, "-m", "pip", "--python", self.python, "install", *quiet, wheel]
        subprocess.run(ours, check=True)


#: What a program with `NAME` does, and prints; any argument means `cache=True`.
USES_A_PACKAGE = """
    import sys
    import NAME
    import qcov as ct

    @ct.electron(cache=len(sys.argv) > 1)
    def version():
        return NAME.VALUE

    print(NAME.VALUE, ct.dispatch_sync(ct.lattice(lambda: version()))().result)
"""


@pytest.mark.parametrize("name", ["qcov_tested", "autograd"], ids=["any", "preloaded"])
def test_a_package_installed_again(
    script: Any, tmp_path: Path, stop_engine: Any, data_folder: Path, name: str
) -> None:
    """Autograd is one of those that the engine imports once for all workers."""
    mine = VirtualEnvironment.make(tmp_path / "venv")
    script.write(USES_A_PACKAGE.replace("NAME", name))
    for value in ("1", "2"):
        mine.install(wheel(tmp_path, name, f"{value}.0", f"VALUE = {value}\n"))
        ran = [script.run(*args, python=mine.python) for args in ((), ("cache",), ())]
        assert ran == [f"{value} {value}"] * 3
    stop_engine(data_folder)
    assert script.run("cache", python=mine.python) == "2 2"


def site_of(script: Any) -> tuple[Path, dict[str, str]]:
    """A folder that packages are installed into, and the variables with which programs see it."""
    site = script.folder / "site-packages"
    site.mkdir()
    return site, {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), *filter(None, sys.path)]),
    }


def test_work_goes_on_while_packages_come_and_go(script: Any) -> None:
    site, variables = site_of(script)
    script.write(f"""
        import threading
        from pathlib import Path
        import qcov as ct

        ended = threading.Event()

        def install():
            while not ended.wait(0.01):
                Path({str(site)!r}, "thing").mkdir()
                Path({str(site)!r}, "thing").rmdir()

        threading.Thread(target=install).start()
        for number in range(3):
            work = ct.lattice(lambda: ct.electron(abs)(-number))
            print(ct.get_result(ct.dispatch(work)(), wait=True, timeout=60).result)
        ended.set()
    """)
    assert script.run(env=variables).split() == ["0", "1", "2"]


def test_what_runs_goes_on_when_a_package_is_installed(
    script: Any, gate: Any, data_folder: Path
) -> None:
    """In a worker of the process that is replaced, and that then ends."""
    site, variables = site_of(script)
    script.write(f"""
        import os, sys
        import qcov as ct

        @ct.electron
        def work(wait):
            if wait:
                open({str(gate.begun)!r}, "w").close()
                open({str(gate.open)!r}).read()
            return os.getppid()

        print(ct.dispatch_sync(ct.lattice(lambda wait: work(wait)))(len(sys.argv) > 1).result)
    """)
    running = script.start("wait", env=variables)
    gate.wait()
    (site / "thing-1.0.dist-info").mkdir()
    others = {script.run(env=variables) for _ in range(2)}
    gate.let_go()

    first = running.communicate(timeout=60)[0].strip()
    assert len(others) == 1
    assert others != {first}
    assert script.run(env=variables) in others
    until(lambda: not psutil.pid_exists(int(first)))


@pytest.mark.parametrize("below", ["", "venv/src"], ids=["in the project", "a checkout"])
def test_a_module_edited_below_the_prefix(script: Any, below: str) -> None:
    mine = VirtualEnvironment.make(script.folder / below.partition("/")[0])
    places = script.folder / below
    places.mkdir(exist_ok=True)
    with (mine.site / "tested.pth").open("a") as file:
        file.write(f"\n{places}")
    script.write(USES_A_PACKAGE.replace("NAME", "below_prefix"))
    for value in (1, 22):
        (places / "below_prefix.py").write_text(f"VALUE = {value}\n")
        ran = [script.run(*args, python=mine.python) for args in ((), ("cache",))]
        assert ran == [f"{value} {value}"] * 2


# -- in this program


@ct.electron
def double(x: int) -> int:
    return 2 * x


@ct.lattice
def quadruple(x: int) -> int:
    return double(double(x))


@pytest.mark.usefixtures("common_engine")
def test_inside_a_running_event_loop() -> None:
    async def main() -> tuple[object, ...]:
        blocking = ct.dispatch_sync(quadruple)(1).result
        dispatch_id = await ct.aio.dispatch(quadruple)(2)
        awaited = await ct.aio.get_result(dispatch_id, wait=True)
        several = await asyncio.gather(*(ct.aio.dispatch_sync(quadruple)(n) for n in range(5)))
        said = await ct.aio.cancel(dispatch_id)
        return blocking, awaited.result, [each.result for each in several], said

    blocking, awaited, several, said = asyncio.run(main())
    assert (blocking, awaited, several) == (4, 8, [0, 4, 8, 12, 16])
    assert "already COMPLETED" in str(said)


@pytest.mark.usefixtures("common_engine")
def test_the_loop_goes_on_while_a_result_is_awaited(gate: Any) -> None:
    held = ct.lattice(ct.electron(gate.pass_through))

    async def main() -> list[str]:
        order: list[str] = []
        waiting = asyncio.create_task(ct.aio.dispatch_sync(held)())
        await asyncio.to_thread(gate.wait)
        order.append("the loop is free")
        await asyncio.to_thread(gate.let_go)
        order.append((await waiting).status)
        return order

    assert asyncio.run(main()) == ["the loop is free", "COMPLETED"]


@pytest.mark.usefixtures("common_engine")
def test_errors_reach_who_awaits() -> None:
    with pytest.raises(DispatchNotFound, match="nowhere"):
        asyncio.run(ct.aio.get_result("nowhere"))


@pytest.mark.usefixtures("common_engine")
def test_more_nested_waits_than_workers() -> None:
    def nest(depth: int) -> int:
        if depth == 0:
            return 0
        below = ct.lattice(lambda: ct.electron(nest)(depth - 1))
        return 1 + ct.dispatch_sync(below)().result

    result = ct.dispatch_sync(ct.lattice(lambda: [ct.electron(nest)(4), ct.electron(nest)(4)]))()
    assert result.result == [4, 4]


@pytest.mark.usefixtures("common_engine")
def test_an_electron_dispatches_to_its_own_engine() -> None:
    def ask() -> tuple[str, str]:
        dispatch_id = ct.dispatch(quadruple)(3)
        return dispatch_id, os.environ["QCOV_DATA_DIR"]

    dispatch_id, folder = ct.dispatch_sync(ct.lattice(ct.electron(ask)))().result
    assert folder == os.environ["QCOV_DATA_DIR"]
    assert ct.get_result(dispatch_id, wait=True).result == 12


@pytest.mark.usefixtures("common_engine")
def test_threads_ask_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: ct.dispatch_sync(quadruple)(n).result, range(16)))
    assert results == [4 * n for n in range(16)]


@pytest.mark.usefixtures("common_engine")
def test_a_forked_child_asks_for_itself() -> None:
    dispatch_id = ct.dispatch(quadruple)(1)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            mine = ct.dispatch_sync(quadruple)(5).result
            parents = ct.get_result(dispatch_id, wait=True).result
            os.write(writing, f"{mine} {parents}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    results = [ct.dispatch_sync(quadruple)(n).result for n in range(5)]

    with open(reading, encoding="utf-8") as answer:
        assert answer.read() == "20 4"
    os.waitpid(child, 0)
    assert results == [0, 4, 8, 12, 16]


@pytest.mark.usefixtures("common_engine")
def test_control_c_while_waiting_loses_nothing(gate: Any) -> None:
    dispatch_id = ct.dispatch(ct.lattice(lambda: ct.electron(gate.pass_through)("x")))()
    gate.wait()
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            ct.get_result(dispatch_id, wait=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    assert ct.get_result(dispatch_id).status == "RUNNING"
    assert ct.dispatch_sync(quadruple)(2).result == 8
    gate.let_go()
    assert ct.get_result(dispatch_id, wait=True).status == "COMPLETED"


# -- the engine's own life


def test_an_idle_engine_leaves_and_the_next_call_starts_another(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, engine_process: Any
) -> None:
    monkeypatch.setenv("QCOV_ENGINE_IDLE_TIMEOUT", "1")
    dispatch_id = ct.dispatch(quadruple)(1)
    first = engine_process(data_folder)
    assert ct.get_result(dispatch_id, wait=True).result == 4
    first.wait(60)
    monkeypatch.setenv("QCOV_ENGINE_IDLE_TIMEOUT", "60")

    assert not (data_folder / "engine.json").exists()
    assert ct.get_result(dispatch_id).result == 4


def test_an_engine_that_leaves_is_never_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCOV_ENGINE_IDLE_TIMEOUT", "0.6")
    workflow = ct.lattice(ct.electron(lambda x: x))
    for number in range(5):
        assert ct.dispatch_sync(workflow)(number).result == number
        time.sleep(0.56 + 0.02 * number)  # around the moment at which it leaves


def test_an_idle_engine_does_not_leave_someone_who_waits(
    gate: Any, monkeypatch: pytest.MonkeyPatch, data_folder: Path, engine_process: Any
) -> None:
    monkeypatch.setenv("QCOV_ENGINE_IDLE_TIMEOUT", "1")
    dispatch_id = ct.dispatch(ct.lattice(lambda: ct.electron(gate.pass_through)("x")))()
    engine = engine_process(data_folder)
    gate.wait()
    with pytest.raises(Exception, match="timeout"):
        engine.wait(1.5)
    gate.let_go()
    assert ct.get_result(dispatch_id, wait=True).status == "COMPLETED"


def test_what_a_dead_engine_left_does_not_matter(data_folder: Path) -> None:
    data_folder.mkdir(mode=0o700)
    left = {"pid": 1, "socket": str(data_folder / "engine.sock")}
    (data_folder / "engine.json").write_text(json.dumps(left))
    (data_folder / "engine.sock").touch()

    assert ct.dispatch_sync(quadruple)(1).result == 4


def test_a_long_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_engine: Any) -> None:
    folder = tmp_path / ("a" * 60) / ("b" * 60)
    monkeypatch.setenv("QCOV_DATA_DIR", str(folder))
    try:
        assert ct.dispatch_sync(quadruple)(1).result == 4
    finally:
        stop_engine(folder)


def test_all_files_are_private(data_folder: Path) -> None:
    before = os.umask(0)
    try:
        ct.dispatch_sync(ct.lattice(double))([0] * 100_000)
    finally:
        os.umask(before)

    wrong = {
        str(path.relative_to(data_folder)): oct(path.stat().st_mode & 0o777)
        for path in (data_folder, *data_folder.rglob("*"))
        if path.stat().st_mode & 0o777 != (0o700 if path.is_dir() else 0o600)
    }
    assert wrong == {}
    assert list((data_folder / "blobs").glob("*/*"))


def test_a_call_while_the_engine_leaves_waits_for_the_next(data_folder: Path) -> None:
    """The old engine has taken its announcement away and still holds the folder."""
    data_folder.mkdir(mode=0o700)
    lock = (data_folder / "engine.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    leaving = threading.Timer(0.7, lock.close)
    leaving.start()

    assert ct.dispatch_sync(quadruple)(1).result == 4
    leaving.join()


def test_a_running_engine_owns_its_folder(data_folder: Path) -> None:
    ct.dispatch_sync(quadruple)(1)

    with (data_folder / "engine.lock").open("r+") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_program_that_waits_is_told_that_the_engine_was_stopped(
    script: Any, gate: Any, data_folder: Path
) -> None:
    script.write(
        f"""
        import qcov as ct

        @ct.electron
        def held():
            open({str(gate.begun)!r}, "w").close()
            open({str(gate.open)!r}).close()

        ct.dispatch_sync(ct.lattice(held))()
        """
    )
    waiting = script.start()
    gate.wait()
    call("stop")

    _, err = waiting.communicate(timeout=60)
    assert "EngineStopped" in err
    assert "it was stopped. What runs goes on when it is started again" in err
    [dispatch] = call("dispatches")["dispatches"]
    assert dispatch["status"] == "RUNNING"
    gate.wait()
    gate.let_go()
    assert ct.get_result(dispatch["id"], wait=True).status == "COMPLETED"


def test_a_program_waits_through_a_restart(gate: Any, run: Callable[..., ct.Result]) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(run, ct.electron(gate.pass_through))
        gate.wait()
        call("stop", returns=True)
        gate.wait()
        gate.let_go()
        assert waiting.result(60).status == "COMPLETED"


COUNTING = """
import qcov as ct

calls = 0

@ct.electron
def count(_, seen=[]):
    global calls
    calls += 1
    seen.append(calls)
    return calls, list(seen)

def value():
    return ct.dispatch_sync(ct.lattice(count))(0).result

print(value(), value())
"""


@pytest.mark.usefixtures("common_engine")
def test_what_a_function_keeps_starts_anew_with_each_dispatch(script: Any) -> None:
    script.write(COUNTING)

    for _ in range(3):  # workers stay from one to the next
        assert script.run() == "(1, [1]) (1, [1])"

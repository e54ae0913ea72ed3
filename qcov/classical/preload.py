"""Which heavy packages a workflow's code needs: the engine imports them once, for all workers.

Importing PennyLane takes seconds. A program that has imported it may dispatch electrons that never
touch it, and those must not wait for it; electrons that do should not import it one by one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import ModuleType

from qcov.classical.installed import Owner, owner, site_folders
from qcov.transport import names_in

#: What is worth it. JAX and Torch are not here: they do not bear being forked.
_HEAVY = ("numpy", "scipy", "autograd", "pennylane", "pennylane_lightning.lightning_qubit")
#: Our modules that import them.
_OURS = {"qcov.quantum": "pennylane", "qcov.qexecutors": "pennylane"}
_LONGEST = 1 << 20  # bytes of a blob that are looked through; a larger one is data


def heavy_packages(blobs: Iterable[bytes]) -> list[str]:
    """The heavy packages that this program has imported and that the functions in `blobs` refer to.

    They may do so by name, or through the modules of the user's that they come from.
    """
    loaded = [name for name in _HEAVY if name in sys.modules]
    if not loaded:
        return []
    named = set(_modules(blobs))
    return [name for name in loaded if name.partition(".")[0] in named or _implied(name, named)]


def _implied(name: str, named: set[str]) -> bool:
    """PennyLane brings what it stands on, and its fast device is about to be asked for."""
    return "pennylane" in named and (name == "scipy" or name.startswith(("autograd", "pennylane_")))


def _modules(blobs: Iterable[bytes]) -> Iterator[str]:
    """The modules, by their top-level name, that functions reach."""
    sites = site_folders()
    seen: set[str] = set()
    waiting = [name for blob in blobs if len(blob) <= _LONGEST for name in names_in(blob)]
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        if name in seen or module is None:
            continue
        seen.add(name)
        yield name.partition(".")[0]
        yield from (heavy for ours, heavy in _OURS.items() if name.startswith(ours))
        path = getattr(module, "__file__", None)
        if path and owner(str(path), sites) is Owner.USER:
            waiting.extend(_reached_from(module))


def _reached_from(module: ModuleType) -> Iterator[str]:
    """The modules that a module of the user's uses: those that its names come from."""
    for value in list(vars(module).values()):
        name = getattr(value, "__name__" if isinstance(value, ModuleType) else "__module__", None)
        if isinstance(name, str):
            yield name

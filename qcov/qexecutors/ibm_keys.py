"""What tells programs for IBM Quantum apart, so that a result is nobody's who asked otherwise.

Part of the adapter around IBM's SDK: only what starts with `ibm_` imports it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from qcov.qexecutors.ibm_backends import JobSettings
from qcov.qexecutors.qiskit_pubs import Pub

#: Options that change no result.
_OF_NO_MATTER = frozenset({"environment", "max_execution_time"})
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  #: in memory: another one in each process


def key_of(pub: Pub, settings: JobSettings) -> str:
    """SHA-256 of a circuit and of all that is asked with it and changes its result."""
    options = settings.options
    primitive: Mapping[str, Any] = options.estimator if pub.observables else options.sampler
    told = {
        "options": {name: one for name, one in primitive.items() if name not in _OF_NO_MATTER},
        "resilience": options.resilience_level if pub.observables else None,
        "level": settings.level,
        "passes": options.passes,
    }
    text = json.dumps(told, sort_keys=True, default=_plain)
    return hashlib.sha256(f"{pub.key} {text}".encode()).hexdigest()


def _plain(value: Any) -> Any:
    """What JSON does not have: arrays as lists, all else as text that is the same everywhere."""
    return value.tolist() if hasattr(value, "tolist") else _ADDRESS.sub("", repr(value))

"""Names of backends, as users of Covalent and of Qiskit write them. Nothing here needs Qiskit."""

from __future__ import annotations

AER = "aer_simulator"
STATEVECTOR = "statevector"

#: IBM's simulators, which it has switched off in 2024: Aer does here what they did.
RETIRED_SIMULATORS = frozenset(
    {
        "ibmq_qasm_simulator",
        "ibm_qasm_simulator",
        "simulator_statevector",
        "simulator_mps",
        "simulator_stabilizer",
        "simulator_extended_stabilizer",
    }
)
_AERS = frozenset({"", "aer", "aersimulator", "aer_simulator", "qasm_simulator"})
_STATEVECTORS = frozenset({"statevector", "statevector_sampler", "statevectorsampler"})


def is_retired(name: str) -> bool:
    """Whether a name is one of IBM's first machines, all of which are gone.

    >>> is_retired("ibmq_lima"), is_retired("ibm_fez")
    (True, False)
    """
    return name.startswith("ibmq_") and name not in RETIRED_SIMULATORS


def local_name(name: str | None) -> str:
    """The name of a backend on this machine, where it has several.

    >>> local_name(None), local_name("ibmq_qasm_simulator"), local_name("FakeManilaV2")
    ('aer_simulator', 'aer_simulator', 'FakeManilaV2')
    """
    told = (name or "").lower()
    if told in _AERS or told in RETIRED_SIMULATORS:
        return AER
    return STATEVECTOR if told in _STATEVECTORS else name or AER


def normal_name(name: str) -> str:
    """What tells a fake backend from the others, however it is written.

    >>> {normal_name(name) for name in ("fake_manila", "FakeManilaV2", "FakeManila")}
    {'manila'}
    """
    told = name.lower().replace("_", "").replace("-", "")
    return told.removeprefix("fake").removesuffix("v2").removesuffix("backend")

"""PennyLane's own tests of devices, those that `pl-device-test` runs, pass on qelectrons."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pennylane.devices.tests import get_device_tests

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_HERE = Path(__file__).parent
_SUITE = Path(get_device_tests())
_LEFT_OUT = [
    f"--ignore={_SUITE / 'test_templates.py'}",  # for time's sake, as are the next two
    f"--ignore={_SUITE / 'test_gradients_jax.py'}",
    # A qelectron's device bears the name of the device that it stands for, which test_load_device
    # minds. test_supports_broadcasting wants pytest-mock, then skips itself on devices of today.
    "-k=not graph_enabled and not test_load_device and not test_supports_broadcasting",
]


def run_suite(device: str, *settings: str) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, where its conftest and its settings are the only ones."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "qelectron_device"]
    command += [
        "--maxfail=10",
        "-p",
        "no:cacheprovider",
        "-c",
        str(_SUITE / "pytest.ini"),
        str(_SUITE),
    ]
    command += [*_LEFT_OUT, f"--device={device}"]
    if settings:
        command += ["--device-kwargs", *settings]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(_HERE), os.environ.get("PYTHONPATH", "")]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "OMP_NUM_THREADS": "1",  # Lightning's threads only get in each other's way
    }
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.parametrize(
    ("device", "settings"),
    [
        pytest.param("qcov.device", (), id="device of a qelectron"),
        pytest.param(
            "qcov.qelectron",
            ("original=lightning.qubit", "cluster=default.qubit,lightning.qubit"),
            id="qelectrons on a cluster",
        ),
    ],
)
def test_the_suite_passes(device: str, settings: tuple[str, ...]) -> None:
    suite = run_suite(device, *settings)

    assert suite.returncode == 0, suite.stdout[-6000:]
    passed = re.search(r"(\d+) passed", suite.stdout)
    assert passed is not None, suite.stdout[-6000:]
    assert int(passed[1]) >= 230, suite.stdout[-6000:]

"""`import qcov` costs next to nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "pennylane", "dask", "distributed", "fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic",
    "qiskit", "braket", "boto3", "torch", "jax", "numpy", "scipy", "pydantic", "httpx", "typer",
    "rich", "msgpack", "cloudpickle", "fsspec", "s3fs",
}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """The top-level modules that are there after `code` in a new interpreter."""
    printing = f"{code}\nimport sys; print(*(n for n in sys.modules if '.' not in n))"
    ran = subprocess.run(
        [sys.executable, "-c", printing], capture_output=True, text=True, check=True
    )
    return set(ran.stdout.split())


def test_import_loads_no_heavy_module() -> None:
    loaded = loaded_by("import qcov")

    assert "qcov" in loaded
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "code",
    [
        "import qcov as ct; ct.lattice(ct.electron(lambda x: x)).draw",
        "import qcov as ct; ct.get_config()",
        "import qcov.errors, qcov.context, qcov.transport, qcov.classical.graph",
    ],
    ids=["a lattice", "settings", "foundations"],
)
def test_the_classical_half_loads_no_pennylane_and_no_database(code: str) -> None:
    assert loaded_by(code).isdisjoint(
        {"pennylane", "dask", "fastapi", "sqlalchemy", "alembic", "qiskit", "boto3", "torch", "jax"}
    )

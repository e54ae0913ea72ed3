"""`python -m qcov` is `qcov`."""

from __future__ import annotations

from qcov.cli import main

main()

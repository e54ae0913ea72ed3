"""Quantum backends beside each other, on the same circuits.

From Python:

    from qcov_bench.backends import Procedure, compare

    found = compare(["Simulator:lightning.qubit", mine], circuits=["ghz", "qaoa"], qubits=[4, 8])
    print(found)
    found.write_html("report.html")

On the command line it is `qcov bench backends`.
"""

from qcov_bench.backends.comparison import Comparison, compare
from qcov_bench.backends.procedure import Procedure
from qcov_bench.backends.summary import Row

__all__ = ["Comparison", "Procedure", "Row", "compare"]

"""How it is measured."""

from __future__ import annotations

from dataclasses import dataclass, fields

from qcov.errors import CannotMeasure


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """How often, how many, and from which seed.

    Args:
        batch: How many circuits are handed over together; 1 measures no batches.
        repetitions: How often each measurement is taken.
        enough: A measurement that has taken so many seconds altogether is not repeated again.
        warm_up: How often it is done before, without being counted.
        gradients: Whether derivatives are measured, where a circuit has parameters and one value.
        exact_until: Up to how many qubits results are compared with exact ones.
        seed: Of parameters, graphs and the order.
        retry: Whether what failed in an earlier run with the same file is tried again.

    Raises:
        CannotMeasure: A number is too small.
    """

    batch: int = 20
    repetitions: int = 9
    enough: float = 20.0
    warm_up: int = 1
    gradients: bool = True
    exact_until: int = 16
    seed: int = 0
    retry: bool = False

    def __post_init__(self) -> None:
        least = {
            "batch": 1,
            "repetitions": 1,
            "warm_up": 0,
            "enough": 0,
            "exact_until": 0,
            "seed": 0,
        }
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in least and value < least[item.name]:
                raise CannotMeasure(
                    what=f"{item.name}={value}",
                    reason=f"it must be {least[item.name]} or more",
                    advice="Give another number.",
                )

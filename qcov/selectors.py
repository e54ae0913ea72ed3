"""Who runs a circuit: every selector, and what selectors of your own are made of.

    cluster = ct.QCluster(executors=[...], selector=Capable() >> Fastest())

`>>` lets a selector choose among what a filter leaves, `&` joins filters, `|` names what is asked
where nothing fits. A name in lower case ("least-busy") stands for a selector without settings.
"""

from __future__ import annotations

from qcov.quantum.selection import Choice, Filter, Selector
from qcov.quantum.selectors import (
    Capable,
    Cheapest,
    Cyclic,
    Fastest,
    InOrder,
    LeastBusy,
    Only,
    QueueAware,
    Random,
    Weighted,
)

__all__ = [
    "Capable",
    "Cheapest",
    "Choice",
    "Cyclic",
    "Fastest",
    "Filter",
    "InOrder",
    "LeastBusy",
    "Only",
    "QueueAware",
    "Random",
    "Selector",
    "Weighted",
]

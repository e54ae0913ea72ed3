"""Files that are transferred before and after electrons.

@ct.electron(files=[ct.fs.TransferFromRemote("s3://bucket/points.csv")])
def count(files=None): ...
"""

from __future__ import annotations

from qcov.classical.files.file import File, Folder
from qcov.classical.files.transfer import (
    FileTransfer,
    Order,
    TransferFromRemote,
    TransferToRemote,
)

__all__ = ["File", "FileTransfer", "Folder", "Order", "TransferFromRemote", "TransferToRemote"]

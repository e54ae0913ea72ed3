"""How files are transferred; each strategy loads its library when it is used."""

from __future__ import annotations

from qcov.classical.files.blob import Blob
from qcov.classical.files.gcloud import GCloud
from qcov.classical.files.http import HTTP
from qcov.classical.files.local import Shutil
from qcov.classical.files.rsync import Rsync
from qcov.classical.files.s3 import S3
from qcov.classical.files.strategy import FileTransferStrategy

__all__ = ["HTTP", "S3", "Blob", "FileTransferStrategy", "GCloud", "Rsync", "Shutil"]

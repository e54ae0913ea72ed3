"""Files from the web."""

from __future__ import annotations

from collections.abc import Callable

from qcov.classical.files.file import File
from qcov.classical.files.landing import landing
from qcov.classical.files.strategy import FileTransferStrategy, check_local, move
from qcov.errors import WrongSetting

_PATIENCE = 60.0  # seconds without a byte


class HTTP(FileTransferStrategy):
    """Downloads files by HTTP. It can neither upload nor bring folders.

    >>> transfer = HTTP().download("https://example.org/points.csv", "/tmp/points.csv")
    """

    def download(
        self, from_file: File | str, to_file: File | str | None = None
    ) -> Callable[[], None]:
        """Bring a file here.

        Raises:
            WrongSetting: it is no HTTP URL, or a folder.
        """
        made = move(_download, from_file, to_file)
        check_local(made.destination, strategy=self)
        if made.source.scheme not in ("http", "https") or made.source.is_dir:
            raise WrongSetting(
                setting="what HTTP downloads",
                got=f"the folder {made.source}" if made.source.is_dir else str(made.source),
                expected="a file at http:// or https://",
            )
        return made


def _download(source: File, destination: File) -> None:
    import httpx

    plain = {"Accept-Encoding": "identity"}  # the file as it is there
    with (
        landing(destination) as partial,
        partial.open("wb") as file,
        httpx.stream(
            "GET", source.filepath, headers=plain, follow_redirects=True, timeout=_PATIENCE
        ) as answer,
    ):
        if answer.is_error:  # httpx's own error would show the whole URL
            raise OSError(f"the server answered {answer.status_code} {answer.reason_phrase}")
        for chunk in answer.iter_bytes():
            file.write(chunk)

"""Small blobs that will be needed soon."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

_MOST = 256 << 20  # bytes
_SMALL = 1 << 16  # bytes: what is larger, workers read from its file
_OVERHEAD = 200  # bytes: what it costs to remember a digest


class BlobCache:
    """The blobs that were used last.

    Args:
        load: Reads a blob from the store; None for one that is in a file.
    """

    def __init__(self, load: Callable[[str], bytes | None]) -> None:
        self._load = load
        self._blobs: OrderedDict[str, bytes | None] = OrderedDict()
        self._size = 0

    def get(self, digest: str) -> bytes | None:
        """A small blob; None for one that workers read from its file."""
        if digest not in self._blobs:
            self.keep(digest, self._load(digest))
        else:
            self._blobs.move_to_end(digest)
        return self._blobs[digest]

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those that are not remembered."""
        return [digest for digest in digests if digest not in self._blobs]

    def keep(self, digest: str, data: bytes | None) -> None:
        """Remember a blob; None says that it is in a file."""
        if digest in self._blobs:
            return
        kept = data if data is not None and len(data) <= _SMALL else None
        self._blobs[digest] = kept
        self._size += len(kept or b"") + _OVERHEAD
        while self._size > _MOST:
            _, dropped = self._blobs.popitem(last=False)
            self._size -= len(dropped or b"") + _OVERHEAD

"""Perceptual hashes in a temporary file: an image's 4 kB are in memory only while they are compared."""

import mmap
import tempfile
from collections.abc import Sequence

from tandem.data.thumbnails import HASH_BYTES, Hash


class HashStore:
    """A file without a name, in the folder for temporary files, that lasts as long as a hash in it is used.

    >>> store = HashStore()
    >>> views = store.keep([bytes(HASH_BYTES), b"7" * HASH_BYTES])
    >>> views[1] == b"7" * HASH_BYTES, views[0] == views[1]
    (True, False)
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with the last view of it

    def keep(self, hashes: Sequence[Hash] | Hash) -> list[memoryview]:
        """The hashes, or those that stand one after another in one text of bytes, as views of the file."""
        data = hashes if isinstance(hashes, bytes | memoryview) else b"".join(hashes)
        if len(data) % HASH_BYTES:
            raise ValueError(f"{len(data)} bytes; expected a multiple of {HASH_BYTES}")
        if not len(data):
            return []
        start = -(-self._file.seek(0, 2) // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        self._file.seek(start)
        self._file.write(data)
        self._file.flush()
        view = memoryview(mmap.mmap(self._file.fileno(), len(data), access=mmap.ACCESS_READ, offset=start))
        return [view[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]

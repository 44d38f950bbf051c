"""Perceptual hashes in a temporary file: an image's 4 kB are in memory only while they are compared."""

import tempfile
from collections.abc import Sequence
from threading import Lock

from tandem.data.thumbnails import HASH_BYTES, Hash


class HashStore:
    """A file without a name, in the folder for temporary files, that lasts as long as a hash in it is used.

    >>> one, other = HashStore().keep([bytes(HASH_BYTES), b"7" * HASH_BYTES])
    >>> bytes(other) == b"7" * HASH_BYTES, other == one
    (True, False)
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 -- closed with the last hash in it
        self._lock = Lock()  # threads compare images

    def keep(self, hashes: Sequence[Hash] | memoryview) -> list["StoredHash"]:
        """The hashes, or those that stand one after another in a memory view, as they are in the file."""
        data = hashes if isinstance(hashes, memoryview) else b"".join(map(bytes, hashes))
        if len(data) % HASH_BYTES:
            raise ValueError(f"{len(data)} bytes; expected a multiple of {HASH_BYTES}")
        with self._lock:
            start, left = self._file.seek(0, 2), memoryview(data)
            while left:
                left = left[self._file.write(left) :]
        return [StoredHash(self, start + at) for at in range(0, len(data), HASH_BYTES)]

    def read(self, at: int) -> bytes:
        with self._lock:
            self._file.seek(at)
            return self._file.read(HASH_BYTES)


class StoredHash:
    """A perceptual hash that is read from its file each time it is asked for."""

    __slots__ = ("at", "store")

    def __init__(self, store: HashStore, at: int) -> None:
        self.store, self.at = store, at

    def __bytes__(self) -> bytes:
        return self.store.read(self.at)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, bytes | StoredHash) and bytes(self) == bytes(other)

    def __hash__(self) -> int:
        return hash(bytes(self))

"""The C allocator of a process that trains or predicts."""

import ctypes
import sys

TRIM, MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)
REUSED = 256 * 2**20  # bytes: larger blocks are returned to the system as soon as they are freed
KEPT = 2**30  # bytes of freed memory, at most, at the end of the heap


def keep_freed_memory() -> None:
    """Lets glibc reuse freed blocks of up to 256 MiB; elsewhere nothing changes.

    As it starts, it returns any block above 32 MiB to the system, which clears each of its pages when it is next
    used: that took a quarter of the time of training on feature maps.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(MMAP, REUSED)
        mallopt(TRIM, KEPT)

"""Limits on the time of the processor and the memory that a call may take in this process, and what it leaves."""

import os
import resource
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType


class TooLong(BaseException):
    """More time than allowed; no `except Exception` swallows it."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises TooLong where the block takes more time of the processor; that of other programs does not count."""

    def end(number: int, frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def at_most(more_bytes: int) -> Iterator[None]:
    """What the block takes beyond so many bytes fails, here and in the processes that it starts; what is only mapped or
    reserved does not count, as that grows with the number of cores."""
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + more_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """The block's temporary files lie in this new folder, also those of the processes that it starts."""
    folder.mkdir()
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        os.environ.pop("TMPDIR") if variable is None else os.environ.update(TMPDIR=variable)


def children() -> set[str]:
    """The running processes that this one started, but for the one that Python itself keeps."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            command = (stat.parent / "cmdline").read_text().replace("\0", " ")
            if int(parent) == os.getpid() and state not in "ZX" and "resource_tracker" not in command:
                found.add(f"process {stat.parent.name}, {command[:80]}")
    return found


def still_running(before: set[str], seconds: float) -> list[str]:
    """The `children` that were not there before, and have not ended after so many seconds."""
    ends = time.monotonic() + seconds
    while (more := children() - before) and time.monotonic() < ends:
        time.sleep(0.05)
    return sorted(more)

"""A limit on the time of the processor that one call may take in this process."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
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

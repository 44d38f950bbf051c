"""SIGTERM, and SIGHUP of a closed terminal, end a run as Ctrl-C does: what it began is removed."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

from tandem.runtime.resources import by_torchrun

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """A signal that ends the process."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number  # of the process, as a shell counts


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raises Stopped in the main thread at the first of SIGNALS, unless it is ignored already, as nohup does; later
    ones do not disturb the end. Afterwards a signal does again what it did before."""
    # torchrun ends a process by SIGTERM, where it may wait for the others in native code
    there = () if by_torchrun() or current_thread() is not main_thread() else (*SIGNALS, signal.SIGINT)
    before = {number: handler for number in there if (handler := signal.getsignal(number)) is not None}
    for number in SIGNALS:
        if before.get(number) is signal.SIG_DFL:
            signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    del frame
    ignore((*SIGNALS, signal.SIGINT))
    raise Stopped(number)


def ignore(numbers: tuple[int, ...] = (*SIGNALS, signal.SIGINT)) -> None:
    """In a process that was started for work: the signals of a whole group reach its parent, which ends it."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)

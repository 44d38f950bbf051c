"""Progress bars of long work: a moving bar on a terminal, a line every ten seconds in a log."""

import sys
from dataclasses import dataclass

from tqdm import tqdm


@dataclass
class _Place:
    line: int | None = None  # of the terminal, where processes draw side by side
    title: str = ""


_place = _Place()


def progress(total: int, label: str, unit: str, done: int = 0) -> tqdm:
    """A bar that shows rate and time left; call `.update(n)`, use as a context manager."""
    live = sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=done,
        desc=_place.title + label,
        unit=f" {unit}",
        mininterval=0.2 if live else 10,
        dynamic_ncols=live,
        ascii=None if live else " #",
        position=_place.line if live else None,
        leave=_place.line is None or not live,
    )


def title(text: str) -> None:
    """What stands before every label from here on."""
    _place.title = text


def share_terminal(lock, line: int) -> None:
    """This process's bars are drawn in line `line` (0 is the first) beside those of others that have the same lock."""
    tqdm.set_lock(lock)
    _place.line = line


def say(text: str) -> None:
    """Prints a line, above the bars that move."""
    beside = _place.line is not None and sys.stdout.isatty()
    clear = "\r\x1b[K" if beside else ""  # another process's bar may stand there
    tqdm.write(clear + text)
    sys.stdout.flush()

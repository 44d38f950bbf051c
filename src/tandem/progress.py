"""Progress bars of long work: a moving bar on a terminal, a line every ten seconds in a log."""

import sys

from tqdm import tqdm


def progress(total: int, label: str, unit: str, done: int = 0) -> tqdm:
    """A bar that shows rate and time left; call `.update(n)`, use as a context manager."""
    live = sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=done,
        desc=label,
        unit=f" {unit}",
        mininterval=0.2 if live else 10,
        dynamic_ncols=live,
        ascii=None if live else " #",
    )

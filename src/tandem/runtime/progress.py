"""Progress bars: a moving bar on a terminal, a line every ten seconds in a log."""

import sys
from importlib.util import find_spec
from multiprocessing.synchronize import RLock

from tqdm import tqdm


class _Process:
    line: int | None = None  # of its bars, where processes share a terminal
    prefix = ""  # before each label


def progress(total: int, label: str, unit: str, done: int = 0) -> tqdm:
    """A bar with rate and time left: use it as a context manager and call `.update(n)`."""
    live = sys.stderr.isatty()
    return _bar_class()(
        total=total,
        initial=done,
        desc=_Process.prefix + label,
        unit=f" {unit}",
        mininterval=0.2 if live else 10,
        dynamic_ncols=live,
        ascii=None if live else " #",
        position=_Process.line if live else None,
        leave=_Process.line is None or not live,
    )


def _bar_class() -> type[tqdm]:
    """The bar of a notebook in a Jupyter kernel that has widgets."""
    if "ipykernel" in sys.modules and find_spec("ipywidgets"):
        from tqdm.auto import tqdm as notebook_bar

        return notebook_bar
    return tqdm


def set_prefix(text: str) -> None:
    """Puts `text` before the label of each later bar."""
    _Process.prefix = text


def share_terminal(lock: RLock, line: int) -> None:
    """Draws this process's bars in line `line` (0 is the first); processes that share a terminal share the lock."""
    tqdm.set_lock(lock)
    _Process.line = line


def print_line(text: str) -> None:
    """Prints a line above the bars."""
    shared = _Process.line is not None and sys.stdout.isatty()
    tqdm.write(("\r\x1b[K" if shared else "") + text)  # clears the line: another process's bar may be there
    sys.stdout.flush()

"""Progress of loops: a moving bar on a terminal; in a log a line with the time, at most one in ten seconds.

In a run of several tasks the processes report to the run's one line (`runtime/run_progress.py`) instead.
"""

import json
import os
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from typing import IO, Any, Self

from tqdm import tqdm

from tandem.runtime.duration import in_words

EVENTS, TASK = "TANDEM_RUN_EVENTS", "TANDEM_RUN_TASK"  # variables: where processes of a run report, and as which task
LOG_SECONDS = 10.0  # at least, between two lines of a log
REPORT_SECONDS = 0.5
CLEAR = "\x1b[K"  # from the cursor to the end of the line


class UnfinishedRun(BrokenPipeError):
    """The reader of the output closed it before all tasks of a run were done."""


class Counter:
    """Counts what is done; subclasses show it."""

    seconds_between = LOG_SECONDS

    def __init__(self, total: int, label: str, unit: str, done: int = 0) -> None:
        self.total, self.label, self.unit, self.n, self.first = total, label, unit, done, done
        self.started = self.shown = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, n: int = 1) -> None:
        self.n += n
        if (now := time.monotonic()) - self.shown >= self.seconds_between:
            self.shown = now
            self.show()

    def show(self) -> None:
        raise NotImplementedError

    @property
    def text(self) -> str:
        return f"{self.label}: {self.n:,} of {self.total:,} {self.unit}"


class Reported(Counter):
    """Shown in the line of the run."""

    seconds_between = REPORT_SECONDS

    def show(self) -> None:
        report(detail=self.text)


class Logged(Counter):
    """Shown as lines with the time on stderr."""

    def show(self) -> None:
        done = self.n - self.first
        seconds = (time.monotonic() - self.started) / done * (self.total - self.n) if done else 0.0
        log_line(f"{self.text}, {time_left(seconds)}")


def progress(total: int, label: str, unit: str, done: int = 0) -> "Counter | tqdm[Any]":
    """Use it as a context manager and call `.update(n)`."""
    if in_run():
        return Reported(total, label, unit, done)
    notebook = "ipykernel" in sys.modules and find_spec("ipywidgets")
    if not notebook and not sys.stderr.isatty():
        return Logged(total, label, unit, done)
    options: dict[str, Any] = {"total": total, "initial": done, "desc": label, "unit": f" {unit}"}
    if notebook:
        from tqdm.auto import tqdm as notebook_bar

        return notebook_bar(**options)
    return tqdm(**options, mininterval=0.2, dynamic_ncols=True)


def in_run() -> bool:
    """Whether this process carries out a task of a run that shows one line."""
    return EVENTS in os.environ and TASK in os.environ


def report(**event: object) -> None:
    """Tells the run's line what this task does: `detail`, words; `folds_done`, a number more; `f1`, of a fold."""
    line = json.dumps({"task": os.environ.get(TASK), **event}) + "\n"
    with suppress(OSError), open(os.environ[EVENTS], "a", encoding="utf-8") as file:  # a full disk ends no training
        file.write(line)  # one short write to the end of the file: lines of several processes do not mix


def report_or_print(text: str, **event: object) -> None:
    """In a run an event for its line; else a line of its own."""
    if in_run():
        report(**event)
    else:
        print_line(text)


def print_line(text: str) -> None:
    """Prints a line that is seen at once."""
    print(text, flush=True)


def log_line(text: str) -> None:
    """Prints a line with the time of day, to stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def time_left(seconds: float) -> str:
    """
    >>> time_left(40), time_left(230), time_left(9000)
    ('less than a minute left', 'about 4 min left', 'about 2.5 h left')
    """
    return f"{in_words(seconds)} left"


class LineClearing:
    """A terminal stream whose lines replace what stands in them, so that nothing of the run's line is left behind."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(text.replace("\n", f"{CLEAR}\n"))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def on_terminal() -> bool:
    return sys.stdout.isatty() and sys.stderr.isatty()


def clear_lines_of_run() -> None:
    """Called in each process of a run that shows its line on a terminal."""
    if in_run() and on_terminal():
        sys.stdout, sys.stderr = LineClearing(sys.stdout), LineClearing(sys.stderr)

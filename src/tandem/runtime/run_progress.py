"""The one progress line of a run: which task, "experiment 3 of 6, fold 2 of 5, about 4 min left".

On a terminal the line moves; in a log it is a whole line with the time, at most one in ten seconds. The processes of
the run report through a file: each appends lines of JSON to it (`tandem.runtime.progress.report`).
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Self

from tandem.runtime.duration import clock, in_words
from tandem.runtime.progress import CLEAR, EVENTS, LOG_SECONDS, LineClearing, log_line, on_terminal, time_left

PRIOR = 0.15  # weight of the time that was expected beside the observed one, as a share of the whole
LISTED = 8  # tasks that are left, without
BRIEF = ("decode ", "submit ", "folds")
EARLY = 0.03  # before this share is done, no time left is given where none was expected


@dataclass
class RunTask:
    """A task of a run.

    name       such as "train concat"
    subject    the experiment, where the task trains one; else ""
    folds      (done, all) where the task trains an experiment
    held_out   F1 of each fold that was trained in this run
    """

    name: str
    subject: str = ""
    folds: tuple[int, int] = (0, 0)
    detail: str = ""
    left: int = field(init=False)  # folds to train, at the start
    held_out: list[float] = field(default_factory=list)
    seconds: float = 0.0  # from the begin of its first unit to its end
    number: int = 0  # of an experiment, in the order in which they begin
    over: bool = False

    def __post_init__(self) -> None:
        self.left = self.folds[1] - self.folds[0]


class RunState:
    """What has been done of a run, and the text that says it.

    >>> state = RunState([RunTask("train a", "a", (0, 2)), RunTask("train b", "b", (0, 2))])
    >>> _ = state.begin("train a"); state.take({"task": "train a", "folds_done": 1}); state.advance(1 / 4, 60.0)
    >>> state.text(60.0)
    'a: experiment 1 of 2, fold 2 of 2, about 3 min left'
    """

    def __init__(self, tasks: Sequence[RunTask], expected: float | None = None) -> None:
        """`expected`: seconds that the whole run takes, where rates are known and not only rough."""
        self.tasks = {task.name: task for task in tasks}
        self.experiments = sum(bool(task.subject) for task in tasks)
        self.running: list[RunTask] = []
        self.nodes: dict[str, str] = {}  # of a cluster, by the unit of work that one carries out
        self.prior = self.expected = expected

    def begin(self, name: str) -> RunTask:
        """A task that may have begun already."""
        task = self.tasks.setdefault(name, RunTask(name))
        if task in self.running:
            return task
        if task.subject and not task.number:
            task.number = 1 + max(other.number for other in self.tasks.values())
        self.running.append(task)
        return task

    def end(self, name: str) -> None:
        self.running = [task for task in self.running if task.name != name]
        self.tasks[name].over = True

    def take(self, event: Mapping[str, Any]) -> None:
        """An event of `tandem.runtime.progress.report`."""
        task = self.tasks.get(str(event.get("task")))
        if task is None:
            return
        if "detail" in event:
            task.detail = str(event["detail"])
        if "folds_done" in event:
            task.folds = (min(task.folds[0] + 1, task.folds[1]), task.folds[1])
            task.detail = ""
            task.held_out += [event["f1"]] if "f1" in event else []

    def advance(self, share: float, now: float) -> None:
        """This share of the work is done, `now` seconds after the start."""
        if self.prior is not None:
            self.expected = now + (1 - share) * (PRIOR * self.prior + now) / (PRIOR + share)
        elif share > EARLY:
            self.expected = now / share

    def what_is_left(self, now: float) -> str:
        """What is done, what is left, and when it will end; "" where nothing is left, or it is not known when."""
        left = [task for task in self.tasks.values() if not task.over]
        if not left or self.expected is None or self.expected <= now:
            return ""
        names = [task.subject or task.name for task in left if not task.name.startswith(BRIEF)] or [left[0].name]
        listed = ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
        seconds = self.expected - now
        when = f"{in_words(seconds)}, until {clock(seconds)}"
        return f"{len(self.tasks) - len(left)} of {len(self.tasks)} tasks done; left: {listed}: {when}"

    def text(self, now: float, width: int | None = None) -> str:
        """ "" where no task is running; where it is wider than `width`, the detail goes first, the time left never."""
        if not self.running:
            return ""
        parts = []
        for task in self.running:
            if task.subject:
                done, whole = task.folds
                of_run = f"experiment {task.number} of {max(self.experiments, task.number)}"
                parts.append(f"{task.subject}: {of_run}, fold {min(done + 1, whole)} of {whole}")
            else:
                parts.append(task.name)
        late = self.expected is None or now > self.expected  # then a time left would be made up
        left = "" if self.expected is None or late else f", {time_left(self.expected - now)}"
        detail = self.running[0].detail if len(self.running) == 1 else ""
        detail = "; ".join(f"{node}: {unit}" for unit, node in self.nodes.items()) or detail
        what, detail = "; ".join(parts), f" ({detail})" if detail else ""
        if width is None or len(what + left + detail) <= width:
            return what + left + detail
        room = width - len(left)
        return (what if len(what) <= room else f"{what[: room - 1]}…") + left


class RunProgress:
    """Shows the state of a run until the `with` block ends; `begin` and `end` are called around each task."""

    def __init__(self, tasks: Sequence[RunTask], file: Path, expected: float | None = None) -> None:
        """The processes report through `file`, which only this run uses; `expected` as in RunState."""
        self.state, self.lock, self.ended = RunState(tasks, expected), Lock(), Event()
        self.file, self.read = file, 0
        self.live = on_terminal()
        self.started = time.monotonic()
        self.begun: dict[str, float] = {}  # by task: when

    def __enter__(self) -> Self:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_bytes(b"")
        os.environ[EVENTS] = str(self.file.absolute())
        self.streams = sys.stdout, sys.stderr
        if self.live:
            sys.stdout, sys.stderr = (LineClearing(stream) for stream in self.streams)
        self.thread = Thread(target=self._show, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ended.set()
        self.thread.join()
        sys.stdout, sys.stderr = self.streams
        if self.live:
            self._draw("")
        os.environ.pop(EVENTS, None)
        self.file.unlink(missing_ok=True)

    def begin(self, name: str) -> None:
        """Called with each unit of a task; the first one counts."""
        with self.lock:
            self.state.begin(name)
            self.begun.setdefault(name, time.monotonic())

    def at(self, unit: str, node: str) -> None:
        """A unit of work begins on a node of a cluster; "": it ends."""
        with self.lock:
            self.state.nodes.pop(unit, None)
            self.state.nodes |= {unit: node} if node else {}

    def end(self, name: str) -> RunTask:
        self._take_events()
        with self.lock:
            self.state.end(name)
            task = self.state.tasks[name]
            task.seconds = time.monotonic() - self.begun[name]
            return task

    def advance(self, share: float) -> None:
        """This share of the work is done."""
        with self.lock:
            self.state.advance(share, time.monotonic() - self.started)

    def what_is_left(self, least: float = 0.0) -> str:
        """As of the state; "" of a run that takes less than so many seconds."""
        with self.lock:
            short = (self.state.expected or 0.0) < least
            return "" if short else self.state.what_is_left(time.monotonic() - self.started)

    def _take_events(self) -> None:
        with self.lock, open(self.file, "rb") as file:
            file.seek(self.read)
            text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self.read += len(whole)
            for line in whole.splitlines():
                with suppress(ValueError):  # half a line, of a moment when the disk was full
                    self.state.take(json.loads(line))

    def _show(self) -> None:
        last, shown = "", self.started
        while not self.ended.wait(0.2 if self.live else 1.0):
            self._take_events()
            now = time.monotonic()
            width = shutil.get_terminal_size().columns - 1 if self.live else None
            with self.lock:
                text = self.state.text(now - self.started, width)
            if self.live:
                self._draw(text)
            elif text and text != last and now - shown >= LOG_SECONDS:
                last, shown = text, now
                log_line(text)

    def _draw(self, text: str) -> None:
        """The cursor is left at the start of the line, so that what is printed next replaces it."""
        self.streams[1].write(f"\r{text}{CLEAR}\r")
        self.streams[1].flush()

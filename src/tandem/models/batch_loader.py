"""Batches made ahead of the training step, by threads or, beside a GPU, by processes; and which side is the limit."""

import multiprocessing
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from tandem.data.image_loader import prefetch
from tandem.models.augmenter import one_cv2_thread
from tandem.runtime.progress import log_line
from tandem.runtime.resources import threads
from tandem.runtime.signals import ignore

AHEAD = 2  # batches ready for each process
SHARED = Path("/dev/shm")  # where processes hand batches over
WAITING = 0.1  # share of an epoch's time spent on waiting for batches from which on the loader is the limit

Chunk = tuple[np.ndarray, np.ndarray, np.random.Generator]  # rows (b,), a view of each, what else is drawn for them
Make = Callable[[int, np.ndarray, np.ndarray], Any]  # a batch of an epoch's number, rows and views
Made = tuple[float, Any]  # (seconds that it took, a batch or the error)
Moment = float | torch.cuda.Event


@dataclass
class Pace:
    """What an epoch took."""

    workers: int
    images: int = 0
    seconds: float = 0.0  # of the epoch
    waited: float = 0.0  # of them, for batches: where a GPU trains, how long it had nothing else to do
    worked: float = 0.0  # of all workers

    def record(self) -> dict[str, Any]:
        """Images per second of training, of the network if it never waited, and of the loader alone; the limit."""
        speeds = {"training": self.seconds, "network": self.seconds - self.waited, "loader": self.worked / self.workers}
        limit = "loader" if self.waited > WAITING * self.seconds else "network"
        return {**{name: round(self.images / max(s, 1e-9), 1) for name, s in speeds.items()}, "limit": limit}


def pace_text(record: dict[str, Any]) -> str:
    """
    >>> pace_text({"training": 890.0, "network": 2100.0, "loader": 900.0, "limit": "loader"})
    '890 images/s, the loader is the limit: it gives 900, the network could train on 2,100'
    >>> pace_text({"training": 2000.0, "network": 2000.4, "loader": 5000.0, "limit": "network"})
    '2,000 images/s, the network is the limit: the loader gives 5,000'
    """
    training, network, loader = (f"{record[name]:,.0f}" for name in ("training", "network", "loader"))
    if record["limit"] == "loader":
        return f"{training} images/s, the loader is the limit: it gives {loader}, the network could train on {network}"
    return f"{training} images/s, the network is the limit: the loader gives {loader}"


class BatchLoader:
    """Makes the batches of each epoch in order; what a batch holds depends on its epoch, rows and views alone.

    chunks       those of an epoch
    make         a tensor or a dict of tensors, on the CPU; anything else stays as it is
    image_bytes  of a batch's pixels; 0: it holds none
    processes    that make batches; None: `worker_processes`, 0: threads do
    """

    def __init__(
        self,
        chunks: Callable[[int], Sequence[Chunk]],
        make: Make,
        on: torch.device,
        image_bytes: int = 0,
        processes: int | None = None,
    ) -> None:
        self._chunks, self._make, self._on, self._images = chunks, make, on, image_bytes > 0
        self._processes = worker_processes(on, image_bytes) if processes is None else processes
        self._threads = threads() if self._images else 1  # features are read from memory maps
        self._stream: Iterator[Made] | None = None  # of the processes: it goes on from one epoch to the next
        self._next = -1  # the epoch whose first batch comes next in it; -1: it is within one
        self._begun: dict[int, Sequence[Chunk]] = {}  # epochs whose batches the processes were asked for
        self.pace: Pace | None = None  # of the last epoch

    def epoch(self, number: int) -> Iterator[tuple[Chunk, Any]]:
        """(chunk, its batch on the device), in order; raises what `make` raised, OSError where a process was killed."""
        start = time.perf_counter()
        with one_cv2_thread() if self._images else nullcontext():
            chunks, made = self._begin(number)
            pace, waits = Pace(self._processes or self._threads), []
            for chunk in chunks:
                asked = _now(self._on)
                seconds, batch = _next(made)
                if isinstance(batch, Exception):
                    raise batch
                waits.append((asked, _now(self._on)))
                pace.worked += seconds
                pace.images += len(chunk[0])
                yield chunk, to_device(batch, self._on)
        self._next = number + 1
        if self._on.type == "cuda":
            torch.cuda.synchronize(self._on)  # training waits for the GPU at the end of an epoch anyway
        pace.seconds, pace.waited = time.perf_counter() - start, sum(_seconds(*wait) for wait in waits)
        self.pace = pace

    def close(self) -> None:
        """Ends the processes."""
        self._stream = None
        self._begun.clear()

    def begun(self, number: int) -> Sequence[Chunk]:
        """The chunks of an epoch, drawn once."""
        if number not in self._begun:
            self._begun[number] = self._chunks(number)
        return self._begun[number]

    def _begin(self, number: int) -> tuple[Sequence[Chunk], Iterator[Made]]:
        if not self._processes:
            pin = self._on.type == "cuda"
            chunks = self._chunks(number)
            return chunks, prefetch(lambda c: _made(self._make, number, *c[:2], pin=pin), chunks, self._threads)
        if self._stream is None or self._next != number:  # an epoch that was left starts again
            self.close()
            loader = DataLoader(
                _Batches(self._make),
                sampler=_FromEpoch(self, number),
                batch_size=None,
                num_workers=self._processes,
                prefetch_factor=AHEAD,
                multiprocessing_context="fork",  # what a process reads is there already, as memory maps are
                collate_fn=_as_it_is,
                worker_init_fn=_begin_worker,
                pin_memory=self._on.type == "cuda",
            )
            self._stream = iter(loader)
        self._begun.pop(number - 1, None)
        self._next = -1
        return self.begun(number), self._stream


class _FromEpoch(Sampler):
    """(number, rows, views) of one epoch after another, without an end: the next one's batches are made in time."""

    def __init__(self, loader: BatchLoader, first: int) -> None:
        self.loader, self.first = loader, first

    def __iter__(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        number = self.first
        while True:
            for rows, views, _ in self.loader.begun(number):
                yield number, rows, views
            number += 1


class _Batches(Dataset):
    def __init__(self, make: Make) -> None:
        self.make = make

    def __getitem__(self, item: tuple[int, np.ndarray, np.ndarray]) -> Made:
        return _made(self.make, *item)


def _made(make: Make, epoch: int, rows: np.ndarray, views: np.ndarray, pin: bool = False) -> Made:
    start = time.perf_counter()
    try:
        batch = make(epoch, rows, views)
    except Exception as error:  # raised where the batch is taken: a process would put its traceback into the message
        return 0.0, error
    return time.perf_counter() - start, _map(batch, torch.Tensor.pin_memory) if pin else batch


def _next(made: Iterator[Made]) -> Made:
    try:
        return next(made)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise OSError(
            f"a process that prepares images was killed, perhaps because memory or {SHARED} ran out; the same command "
            "continues from the last saved epoch: make CORES=4 uses fewer processes"
        ) from error


def _now(on: torch.device) -> Moment:
    """This moment; on a GPU, which computes later what it is given now, the moment when it gets here."""
    if on.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(on))
    return event


def _seconds(start: Moment, end: Moment) -> float:
    """Between two moments, which a GPU must have reached."""
    if isinstance(start, float) and isinstance(end, float):
        return end - start
    return cast(Any, start).elapsed_time(end) / 1000


def worker_processes(on: torch.device, batch_bytes: int) -> int:
    """How many processes prepare batches of images: beside a GPU one for each core but one, as many as /dev/shm has
    room for; else 0, for threads: on a CPU the network itself needs the cores."""
    child = multiprocessing.current_process().daemon  # it may not start processes
    known = "fork" in multiprocessing.get_all_start_methods() and SHARED.exists()
    if on.type != "cuda" or not batch_bytes or child or not known:
        return 0
    free = shutil.disk_usage(SHARED).free
    cores, room = threads() - 1, int(free / 2 // ((AHEAD + 1) * batch_bytes))
    if room < cores:
        log_line(f"{SHARED} has {free / 1e6:,.0f} MB: {room} processes prepare images, not {cores}")
    return min(cores, room)


def to_device(batch: Any, on: torch.device) -> Any:
    """The same tensors there; nothing waits for what the GPU computes, and pinned ones are copied meanwhile."""
    return _map(batch, lambda tensor: tensor.to(on, non_blocking=True))


def _map(batch: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(batch, dict):
        return {name: change(tensor) for name, tensor in batch.items()}
    return change(batch) if isinstance(batch, torch.Tensor) else batch


def _as_it_is(made: Any) -> Any:
    return made


def _begin_worker(number: int) -> None:
    del number
    ignore((signal.SIGINT,))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which torch ends one that does not answer
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(0)

"""Runs units of work as soon as cores are free: one small interface for each engine.

`submit` adds a unit, `results` yields each unit when it is done, `cancel` ends all that runs.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Protocol, Self

from tandem.runtime.processes import end_idle_processes, run_in_new_process, stop_processes
from tandem.runtime.progress import EVENTS, TASK, clear_lines_of_run
from tandem.runtime.resources import THREADS, by_torchrun, environment, has_gpu, threads, units_in_memory
from tandem.runtime.unit import Unit, call


class Executor(Protocol):
    """Runs units, in processes of this machine or on other machines.

    width  units that can compute features at the same time: one for each GPU, or without one for each core
    sends  units that say which files they read may run on other machines
    """

    sends: bool

    @property
    def width(self) -> int: ...

    def submit(self, unit: Unit) -> None:
        """Adds a unit, which begins as soon as there is room for it; all that it needs must be done."""

    def results(self) -> Iterator[Unit]:
        """Each unit when it is done, until none is left; more may be submitted meanwhile. Raises the first error of a
        unit after ending all others."""

    def cancel(self) -> None:
        """Ends what runs and forgets what waits."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


def first_that_fits(waiting: Sequence[Unit], running: Sequence[Unit], cores: int, most: int, gpu: bool) -> Unit | None:
    """The unit that begins next beside those that are running; None where there is no room for any.

    cores  of the machine
    most   processes at a time that its memory has room for
    gpu    whether the machine computes on a GPU, one unit of `gpus` at a time
    """
    free = cores - sum(min(unit.threads, cores) for unit in running)
    room = sum(not unit.here for unit in running) < most
    here = any(unit.here for unit in running)
    on_gpu = gpu and any(unit.gpus for unit in running)
    for unit in sorted(waiting, key=lambda unit: unit.rank):
        place = not here if unit.here else room and not (unit.gpus and on_gpu)
        if place and min(unit.threads, cores) <= free:
            return unit
    return None


class LocalPool:
    """Runs units in processes of this machine, as many at a time as there are cores and memory for."""

    sends = False

    def __init__(
        self,
        paths: object,
        begun: Callable[[Unit, str], object] = lambda unit, node: None,
        run: Callable[..., object] = run_in_new_process,
    ) -> None:
        """`begun` is called with each unit as it begins, and with its node, "" for this machine; `run` calls a function
        in another process."""
        self.paths, self.begun, self.run = paths, begun, run
        self.cores, self.most, self.gpu = threads(), units_in_memory(), has_gpu()
        end_idle_processes()  # they have another working folder or other variables
        self.waiting: list[Unit] = []
        self.running: dict[Future[object], Unit] = {}
        self.threads = ThreadPoolExecutor(self.cores + 1)  # each waits for one process; one that needs no core

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self.cancel()
        self.threads.shutdown()
        end_idle_processes()

    @property
    def width(self) -> int:
        return 1 if self.gpu or by_torchrun() else self.cores

    def submit(self, unit: Unit) -> None:
        self.waiting.append(unit)

    def results(self) -> Iterator[Unit]:
        while self.waiting or self.running:
            self._begin()
            for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                unit = self.running.pop(future)
                future.result()
                yield unit

    def _begin(self) -> None:
        """Begins what there is room for."""
        while unit := first_that_fits(self.waiting, list(self.running.values()), self.cores, self.most, self.gpu):
            self.waiting.remove(unit)
            self.begun(unit, "")
            self.running[self.threads.submit(self._run, unit)] = unit

    def cancel(self) -> None:
        self.waiting.clear()
        stop_processes()

    def _run(self, unit: Unit) -> None:
        if unit.here:
            run_unit(unit.task, None, unit.function, self.paths, *unit.args)
        else:
            self.run(run_unit, unit.task, min(unit.threads, self.cores), unit.function, self.paths, *unit.args)


def run_unit(task: str, n: int | None, function: str, *args: object) -> None:
    """Calls the function, which reports as this task and computes with `n` threads; None: as many as before."""
    names = {TASK: task} if EVENTS in os.environ else {}
    with environment(**names, **({THREADS: str(n)} if n else {})):
        clear_lines_of_run()
        call(function, *args)

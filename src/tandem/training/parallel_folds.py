"""Folds trained side by side: on a CPU, two networks with a thread each are quicker than each after the other with two.

A fold has the same number of threads in every run, so a run that was killed ends in the same files.
"""

import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context
from threading import Thread

from tandem.artifacts.paths import Paths
from tandem.runtime.progress import say, share_terminal, title
from tandem.runtime.resources import memory_gb, threads
from tandem.training.fold_job import Job

FOLD_GB = 4  # what training a fold may hold


def waves(folds: Sequence[int], cores: int, gb: float) -> list[list[int]]:
    """The folds in order, as many at once as there are cores and memory for.

    >>> waves([0, 1, 2, 3, 4], 2, 24), waves([0, 1, 2], 8, 9)
    ([[0, 1], [2, 3], [4]], [[0, 1], [2]])
    """
    at_once = max(1, min(cores, int(gb // FOLD_GB)))
    return [list(folds[i : i + at_once]) for i in range(0, len(folds), at_once)]


def fit_folds(jobs: Sequence[Job], folds: Sequence[int]) -> None:
    """Fits those of `folds` that are not current, of each job; prints a line an epoch.

    Raises OSError where a process was killed.
    """
    missing = [(job, k) for job in jobs for k in folds if not job.fold_is_current(k)]
    if not missing:
        return
    cores = threads()
    planned = waves(jobs[0].folds, 1 if cores == 1 or _has_gpu() else cores, memory_gb())
    if len(planned[0]) == 1:
        for job, k in missing:
            fit(job, k)
        return
    share = {k: cores // len(wave) for wave in planned for k in wave}
    context = get_context("spawn")
    stop = context.Event()
    shared = (os.getpid(), stop, context.RLock(), context.Value("i", 0))
    try:
        with ProcessPoolExecutor(min(len(planned[0]), len(missing)), context, _begin, shared) as pool:
            try:
                for task in [pool.submit(_fit_alone, job.paths, job.name, k, share[k]) for job, k in missing]:
                    task.result()
            except BaseException:
                stop.set()  # what goes wrong is said at once; the other folds go on from their last epoch
                raise
    except BrokenProcessPool as error:
        raise OSError(
            "a process that trained a fold was killed, perhaps for want of memory; the same command goes on from here: "
            "make CORES=1 trains one fold at a time"
        ) from error


def fit(job: Job, k: int) -> None:
    """One fold in this process."""
    from tandem.runtime.torch_setup import use_threads

    use_threads()
    start = time.perf_counter()
    title(f"{job.name} fold {k} ")

    def on_epoch(entry: dict) -> None:
        say(f"{job.name} fold {k} epoch {entry['epoch']}: loss {entry['loss']:.4f}, F1 {entry['f1']:.4f}")

    job.fit_fold(k, on_epoch)
    title("")
    say(f"{job.name} fold {k + 1}/{len(job.folds)}: {time.perf_counter() - start:.1f} s")


def _has_gpu() -> bool:
    from tandem.runtime.torch_setup import device

    return device().type == "cuda"


def _begin(parent: int, stop, lock, begun) -> None:
    """In each process, before its first fold."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and stops this one

    def watch() -> None:
        while os.getppid() == parent and not stop.wait(0.5):
            pass
        os._exit(1)  # also where the parent was killed: the next run must not meet this one

    Thread(target=watch, daemon=True).start()
    with begun.get_lock():
        share_terminal(lock, begun.value)
        begun.value += 1


@cache
def _job(paths: Paths, name: str) -> Job:
    return Job(paths, name)


def _fit_alone(paths: Paths, name: str, k: int, share: int) -> None:
    os.environ["TANDEM_THREADS"] = str(share)
    fit(_job(paths, name), k)

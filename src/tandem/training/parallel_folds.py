"""The fold loop: on a CPU, folds are trained side by side, which is faster than each after the other on all cores.

A fold has the same number of threads in every run, so a run that was killed gives the same files.
"""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from typing import Any

from tandem.models.batch_loader import pace_text
from tandem.runtime.processes import end_with
from tandem.runtime.progress import clear_lines_of_run, report_or_print
from tandem.runtime.resources import memory_gb, threads
from tandem.runtime.torch_setup import device, use_threads
from tandem.training.fold_job import FoldJob

FOLD_GB = 4  # memory that training a fold may take

Fold = tuple[FoldJob, int, Mapping[str, Any]]  # (experiment, fold, key and inputs of its artifact)


def waves(folds: Sequence[int], cores: int, gb: float) -> list[list[int]]:
    """The folds in order, as many at once as there are cores and memory for.

    >>> waves([0, 1, 2, 3, 4], 2, 24), waves([0, 1, 2], 8, 9)
    ([[0, 1], [2, 3], [4]], [[0, 1], [2]])
    """
    at_once = max(1, min(cores, int(gb // FOLD_GB)))
    return [list(folds[i : i + at_once]) for i in range(0, len(folds), at_once)]


def fit_folds(stale: Sequence[Fold], folds: Sequence[int]) -> None:
    """Fits the `stale` ones; `folds` are all folds of the experiment. Outside a run it prints a line an epoch.

    Raises OSError where a process was killed.
    """
    if not stale:
        return
    planned = _planned(folds)
    if len(planned[0]) == 1:
        for job, k, made_from in stale:
            fit(job, k, made_from, folds)
        return
    share = shares(folds)
    context = get_context("spawn")
    stop = context.Event()
    shared = (os.getpid(), stop)
    try:
        with ProcessPoolExecutor(min(len(planned[0]), len(stale)), context, _begin, shared) as pool:
            try:
                tasks = [pool.submit(_fit_with, share[k], job, k, key, folds) for job, k, key in stale]
                for task in tasks:
                    task.result()
            except BaseException:
                stop.set()  # the error is shown at once; the other folds continue from their last epoch next time
                raise
    except BrokenProcessPool as error:
        raise OSError(
            "a process that trained a fold was killed, perhaps because memory ran out; the same command continues "
            "from here: make CORES=1 trains one fold at a time"
        ) from error


def _planned(folds: Sequence[int]) -> list[list[int]]:
    cores = threads()
    return waves(folds, 1 if cores == 1 or device().type == "cuda" else cores, memory_gb())


def shares(folds: Sequence[int]) -> dict[int, int]:
    """The number of threads that each fold is trained with."""
    return {k: threads() // len(wave) for wave in _planned(folds) for k in wave}


def fit(
    job: FoldJob,
    k: int,
    made_from: Mapping[str, Any],
    folds: Sequence[int],
    follow: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """One of `folds` in this process; `follow` is called with the log entry of each epoch, else a line is printed."""
    use_threads()
    fold = f"{job.title} fold {k}"

    def on_epoch(entry: dict[str, Any]) -> None:
        if "bag" in entry:  # the epochs of a head take less than a second
            return
        names = {"loss": "loss", "f1": "train F1"}
        values = ", ".join(f"{names[key]} {entry[key]:.4f}" for key in names if key in entry)
        text = f"epoch {entry.get('epoch', '')}: {values}"
        report_or_print(f"{fold} {text}", detail=f"fold {k} {text}")

    record = job.fit_fold(k, made_from, follow or on_epoch)
    scores = f"held-out F1 {record['held_out_f1']:.3f}"
    if record["log"] and "f1" in record["log"][-1]:
        scores = f"train F1 {record['log'][-1]['f1']:.3f}, held-out {record['held_out_f1']:.3f}"
    line = f"{fold} done ({folds.index(k) + 1} of {len(folds)}): {scores}, {record['seconds']:.0f} s"
    if "pace" in record:
        line += f"; {pace_text(record['pace'])}"
    report_or_print(line, folds_done=1, f1=record["held_out_f1"])


def _begin(parent: int, stop: Event) -> None:
    """Set-up of each process, before its first fold."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops this process
    end_with(parent, stop)
    clear_lines_of_run()


def _fit_with(share: int, job: FoldJob, k: int, made_from: Mapping[str, Any], folds: Sequence[int]) -> None:
    os.environ["TANDEM_THREADS"] = str(share)
    fit(job, k, made_from, folds)

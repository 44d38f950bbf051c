"""The fold loop: on a CPU, folds are trained side by side, which is faster than each after the other on all cores.

A fold has the same number of threads in every run, so a run that was killed gives the same files.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tandem.artifacts.paths import Paths
from tandem.models.batch_loader import pace_text
from tandem.runtime.executor import LocalPool
from tandem.runtime.progress import report_or_print
from tandem.runtime.resources import fold_threads, threads
from tandem.runtime.torch_setup import use_threads
from tandem.runtime.unit import Unit
from tandem.training.fold_job import FoldJob

Fold = tuple[FoldJob, int, Mapping[str, Any]]  # (experiment, fold, key and inputs of its artifact)


def fit_folds(stale: Sequence[Fold], folds: Sequence[int]) -> None:
    """Fits the `stale` ones; `folds` are all folds of the experiment. Outside a run it prints a line an epoch.

    Raises OSError where a process was killed.
    """
    if not stale:
        return
    n = fold_threads(len(folds))
    if n == threads():  # one after another
        for job, k, made_from in stale:
            fit(job, k, made_from, folds)
        return
    with LocalPool(stale[0][0].paths) as pool:
        for job, k, made_from in stale:
            name = f"{job.title} fold {k}"
            pool.submit(Unit(name, f"train {job.name}", f"{__name__}:fit_job", (job, k, made_from, folds), n, 1))
        for _ in pool.results():
            pass


def fit_job(paths: Paths, job: FoldJob, k: int, made_from: Mapping[str, Any], folds: Sequence[int]) -> None:
    """`fit` as a unit of work."""
    fit(job, k, made_from, folds)


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

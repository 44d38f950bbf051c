"""What `tracking` in competition.toml logs of each experiment: settings, fold curves, scores, decoder, the report.

Without it this module imports no tracker. An error of a tracker is one warning; it never ends a command.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from tandem.artifacts.paths import Paths, tracking_dir
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.runtime.progress import print_line

if TYPE_CHECKING:
    from tandem.runtime.trackers import Tracker

LOCK_WAIT = 60  # seconds for another command that logs into the same files
OF_RUN = ("seconds", "peak_mb", "model_mb")  # of run.json
NO_VALUES = ("epoch", "seed", "bag")  # of an entry of a training log
_failed: set[tuple[str, Paths]] = set()  # trackers that are not asked again by this process


def track(paths: Paths, names: Iterable[str], report: Path | None = None, about: str = "") -> None:
    """Logs these experiments, each training once; `report` goes to the run of the experiment `about`."""
    experiments = Experiments(paths)
    kind = experiments.competition.tracking
    if kind is None or (kind, paths) in _failed:
        return
    name = ""
    try:
        from tandem.runtime.trackers import open_tracker

        folder = tracking_dir(paths.root)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=LOCK_WAIT):
            tracker = open_tracker(kind, folder, paths.comp)
            for name in names:
                log(tracker, experiments[name], report if name == about else None)
    except Exception as error:  # of any kind: a tracker is code of others, and a server that may be away
        _failed.add((kind, paths))
        what = f"{name} is not logged" if name else "nothing is logged"
        print_line(f'warning: tracking = "{kind}": {what}: {_why(kind, error)}')


def _why(kind: str, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == kind:
        return f"{kind} is not installed; run: .venv/bin/python -m pip install -r requirements-tracking.txt"
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]:.300}"


def log(tracker: "Tracker", one: ExperimentDir, report: Path | None = None) -> None:
    """A new run with all that is known, or only scores and decoder where this training has a run already."""
    tags = {"competition": one.paths.comp, "metric": one.scores["metric"], "decoder": one.thresholds["decoder"]}
    new = tracker.start(one.name, str(one.run.get("key", "")), tags | {"folds": str(one.run.get("fold_map", ""))})
    failed = True
    try:
        if new:
            tracker.params(settings(one))
            for epoch, values in sorted(curves({} if one.is_stack or one.is_external else one.logs()).items()):
                tracker.metrics(values, epoch)
            tracker.metrics({key: one.run[key] for key in OF_RUN if key in one.run})
            tracker.artifact(one.paths.run(one.name))
        tracker.metrics(numbers(one.scores))
        for file in (one.paths.scores(one.name), one.paths.thresholds(one.name), report):
            if file:
                tracker.artifact(file)
        failed = False
    finally:
        tracker.end(failed)


def settings(one: ExperimentDir) -> dict[str, object]:
    """By the keys of its TOML file; of a stack, its members."""
    return {"members": " ".join(one.members)} if one.is_stack else flat(one.run.get("config", {}))


def flat(values: Mapping[str, Any], section: str = "") -> dict[str, object]:
    """Keys of sections with dots.

    >>> flat({"kind": "head", "train": {"epochs": 5}})
    {'kind': 'head', 'train.epochs': 5}
    """
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= flat(value, f"{section}{key}.") if isinstance(value, Mapping) else {f"{section}{key}": value}
    return found


def curves(logs: Mapping[int, list[dict[str, Any]]]) -> dict[int, dict[str, float]]:
    """By epoch, each measure of each fold, and of each seed and bag where there are several.

    >>> curves({0: [{"epoch": 1, "loss": 0.5}], 1: [{"epoch": 1, "bag": 1, "loss": 0.25}]})
    {1: {'loss/fold0': 0.5, 'loss/fold1-bag1': 0.25}}
    """
    found: dict[int, dict[str, float]] = {}
    for fold, entries in logs.items():
        for entry in entries:
            line = f"fold{fold}" + "".join(f"-{part}{entry[part]}" for part in ("seed", "bag") if entry.get(part))
            values = {f"{key}/{line}": value for key, value in numbers(entry).items() if key not in NO_VALUES}
            if "epoch" in entry:
                found.setdefault(int(entry["epoch"]), {}).update(values)
    return found


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of the values that are numbers."""
    return {k: float(v) for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}

"""One run of a competition at a time: a second one waits, and prints for which run."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.whole_files import forget_damage
from tandem.features.feature_store import remove_parts_without_rows
from tandem.runtime.leftovers import is_running, remove_abandoned

HALF_WRITTEN = (".*.partial", ".*.new", "*.unchecked.csv")


@contextmanager
def only_run(paths: Paths, wait: bool = True) -> Iterator[None]:
    """Holds the competition's lock, and removes what killed runs left behind. The operating system frees it when the
    process ends, also when it is killed. Raises ValueError where another run holds it, unless this one may `wait`."""
    paths.lock.parent.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(paths.lock), paths.lock.with_suffix(".json")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise ValueError(f"{paths.comp}: {_described(paths)} is going on; stop it, or wait for its end") from None
        print(f"{paths.comp}: waiting for {_described(paths)}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        remove_leftovers(paths)
        forget_damage()
        command = shlex.join(["tandem", *sys.argv[1:]])
        write_json(holder, {"process": os.getpid(), "command": command, "since": f"{datetime.now():%H:%M:%S}"})
        yield
    except KeyboardInterrupt:
        remove_leftovers(paths)  # of the processes that were ended
        raise
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def remove_leftovers(paths: Paths) -> None:
    """Deletes half-written files of killed runs. Only the run with the lock writes to the first folders; what lies in
    the others may be of another command, which is still running."""
    remove_abandoned()
    features, external = paths.features("_", "_").parent, paths.external_dir
    for folder in (paths.build, paths.oof_dir, paths.models_dir("."), features, external, paths.added_features(".")):
        for pattern in HALF_WRITTEN:
            for found in folder.rglob(pattern):
                _remove(found)
    remove_parts_without_rows(features)
    for found in paths.submission("_").parent.glob("*.unchecked.csv"):
        _remove(found)
    comp = f".{paths.comp}.*"
    for folder, pattern in (
        (paths.submission("_").parent, ".*"),
        (paths.report.parent, "**/.*"),
        (paths.input, ".*"),
        (paths.lock.parent, f".{comp}"),
        (paths.history, "**/.*"),
        (paths.folds.parent, comp),
        (paths.bundle.parent, comp),
        (paths.configs, ".*"),
    ):
        for found in folder.glob(f"{pattern}.partial"):
            number = found.name.split(".")[-2]
            if number.isdigit() and not is_running(int(number)):
                _remove(found)


def _remove(found: Path) -> None:
    if found.is_dir():
        shutil.rmtree(found, ignore_errors=True)
    else:
        found.unlink(missing_ok=True)


def _described(paths: Paths) -> str:
    try:
        about = read_json(paths.lock.with_suffix(".json"))
        return f"{about['command']} (process {about['process']}, since {about['since']})"
    except (OSError, ValueError, KeyError):  # it has only just begun
        return "another run of this competition"

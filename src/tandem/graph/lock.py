"""One run of a competition at a time: a second one waits, and prints for which run."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from filelock import FileLock, Timeout

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.paths import Paths


@contextmanager
def only_run(paths: Paths) -> Iterator[None]:
    """Holds the competition's lock. The operating system frees it when the process ends, also when it is killed."""
    paths.lock.parent.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(paths.lock), paths.lock.with_suffix(".json")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{paths.comp}: waiting for {_described(paths)}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        command = shlex.join(["tandem", *sys.argv[1:]])
        write_json(holder, {"process": os.getpid(), "command": command, "since": f"{datetime.now():%H:%M:%S}"})
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _described(paths: Paths) -> str:
    try:
        about = read_json(paths.lock.with_suffix(".json"))
        return f"{about['command']} (process {about['process']}, since {about['since']})"
    except (OSError, ValueError, KeyError):  # it has only just begun
        return "another run of this competition"

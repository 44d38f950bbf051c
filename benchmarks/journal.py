"""Seconds of `make journal` with a journal of 200 rows, beside those of an interpreter that does nothing."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tandem.artifacts import journal
from tandem.artifacts.paths import Paths

ROWS, TRIES = 200, 5


def seconds(folder: Path, *command: str) -> tuple[float, float]:
    """(wall, processor) of the fastest of some tries."""
    found = []
    for _ in range(TRIES):
        started, before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        found.append((time.perf_counter() - started, used))
    return min(found)


def main() -> None:
    row = {"time": "2026-11-27T18:03:21", "name": "stack", "metric": "f1_samples", "score": 0.88, "public": 0.87}
    with tempfile.TemporaryDirectory() as name:
        paths = Paths("toy", Path(name))
        for i in range(ROWS):
            journal.append(paths, row | {"digest": f"{i:016x}", "changes": "words tfidf.c 4.0 -> 2.0"})
        commands = {
            "an interpreter alone": ("-c", ""),
            f"make journal, {ROWS} rows": ("-m", "tandem", "journal", "toy"),
        }
        for what, command in commands.items():
            wall, used = seconds(Path(name), *command)
            print(f"{what}: {wall:.2f} s, {used:.2f} s of them on the processor")


if __name__ == "__main__":
    main()

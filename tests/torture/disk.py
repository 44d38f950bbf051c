"""A full or read-only disk, no permission, clocks that jump, and damaged files: a clear error or the same results.

Each try is made in another process, in a mount namespace of its own where that is possible, so that a small disk can be
mounted there. Its faults come back as JSON.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from torture.campaign import Outcome, Task

QUICK, LONG = 6, 150
SECONDS = 240.0  # for one try
MEGABYTES = 2500.0  # of one process, at most
ROOT = Path(__file__).parents[2]


def run(task: Task) -> Outcome:
    outcome, kinds, started = Outcome(), Counter[str](), time.monotonic()
    worker = _Worker(task)
    for number in task.numbers():
        found = worker.attempt(number)
        outcome.tries += 1
        kinds[found["kind"]] += 1
        outcome.faults += [f"try {number}, {found['kind']}: {fault}" for fault in found["faults"]]
        if found["mb"] > MEGABYTES:
            outcome.faults.append(f"try {number}: {found['mb']:.0f} MB of memory")
        if worker.ended:
            worker = _Worker(task)
    worker.end()
    outcome.figures = {kind: f"{n} tries" for kind, n in sorted(kinds.items())}
    outcome.figures["time"] = f"{time.monotonic() - started:.0f} s"
    return outcome


class _Worker:
    """A process that makes one try after another."""

    def __init__(self, task: Task) -> None:
        folder = task.folder / "worker"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        apart = ["unshare", "-m"] if _can_mount() else []
        module = [sys.executable, "-m", "torture._disk_tries", str(folder), str(task.seed), str(task.tries)]
        path = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
        environ = os.environ | {"PYTHONPATH": path, "TANDEM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*apart, *module], stdin=pipe, stdout=pipe, text=True, env=environ)
        self.ended = False

    def attempt(self, number: int) -> dict[str, Any]:
        """{kind, faults, mb}; a process that ended or hangs is a fault."""
        assert self.process.stdin and self.process.stdout
        print(number, file=self.process.stdin, flush=True)
        if select.select([self.process.stdout], [], [], SECONDS)[0] and (line := self.process.stdout.readline()):
            return json.loads(line)
        time.sleep(0.1)  # until the end of a process is known
        hangs = self.process.poll() is None
        self.end()
        why = f"no answer in {SECONDS:.0f} s" if hangs else f"the process ended with {self.process.returncode}"
        return {"kind": "process", "faults": [why], "mb": 0.0}

    def end(self) -> None:
        self.ended = True
        self.process.kill()
        self.process.wait()


def _can_mount() -> bool:
    try:
        return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
    except OSError:
        return False

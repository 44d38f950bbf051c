"""Runs of `tandem submit` are killed and stopped by signals at any moment, and end with the results of a quiet run.

Ten of thirteen tries kill the whole process group, half of them while a file is written; one each sends SIGTERM,
SIGINT and SIGHUP. SERIES tries follow one another in one folder; then a run goes to its end, and is compared.
"""

import hashlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from small_competition import write_small
from words_competition import set_keys

from torture._killed import HOWS, MODULES, Order
from torture.campaign import Outcome, Task

QUICK, LONG = 2, 260  # 200 kills, half of them within writes, and 20 of each signal
SERIES = 4
HANG = 20.0  # times as long as a quiet run
MB = 1500  # of one process
STOPPED = "stopped; the same command continues from here"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
COMPARED = ("folds", "features", "models", "oof", "submissions")  # folders
TIMES = {"run.json", "stack.json"}  # records with times and dates are excluded, as are fold*.json and *.meta.json
LEFT = ("*.partial", "*.new", "*.checkpoint", "*.unchecked.csv", "*.partial.*", "unfinished/*", ".*.json")
NETWORK = 'model = "test_efficientnet"\nweights = "tiny.safetensors"\nsize = 32\n'
KINDS = {
    "tuned": f'kind = "finetune"\n{NETWORK}[train]\nepochs = 2\nbatch = 8\n',
    "joined": """kind = "fusion"
frozen = [{model = "test_efficientnet", weights = "tiny.safetensors", size = 32, pool = "avg"}]
[caption]
model = "sentences"
max_tokens = 8
[fusion]
hidden = 8
rank = 2
heads = 1
[train]
epochs = 3
batch = 8
min_steps = 0
""",
    "own": 'kind = "custom"\nmodel = "my_rates.py:Rates"\n',
}
OWN = '''"""Predicts how frequent each label is."""

import numpy as np
from safetensors.numpy import load_file, save_file


class Rates:
    inputs = {"captions": True}

    def __init__(self, n_labels):
        self.rates = np.zeros(n_labels)

    def fit(self, inputs, y, run):
        self.rates = y.mean(0)

    def predict_proba(self, inputs):
        return np.tile(self.rates, (len(inputs.ids), 1))

    def save(self, path):
        save_file({"rates": self.rates}, path)

    def load(self, path):
        self.rates = load_file(path)["rates"]
        return self
'''


def run(task: Task) -> Outcome:
    outcome, whole = Outcome(), task.tries > QUICK
    source = task.folder / "source"
    write(source, whole)
    with runner(whole) as begin:
        first = quiet_run(begin, source, task.folder / "first", outcome)
        if not first.digests or outcome.faults:
            return outcome
        if whole:
            again = quiet_run(begin, source, task.folder / "again", outcome)
            _compare(outcome, "control: two quiet runs", first.digests, again.digests)
        _control(outcome, task.folder / "first", first.digests)
        tries = _Tries(task, begin, source, first, outcome)
        for number in task.numbers():
            tries.one(number)
        tries.finish()
    outcome.figures |= {
        **{f"{name}": f"{n}" for name, n in tries.counts.items()},
        "a quiet run": f"{first.seconds:.1f} s and {first.written} files written",
        "compared": f"{len(first.digests)} files",
    }
    return outcome


def write(folder: Path, whole: bool) -> None:
    """The competition, with a text model and a model of the user's, which load no torch, or with all kinds."""
    paths = write_small(folder, rows=24, test=4, folds=2)
    names = ["words", *(["looks", *KINDS] if whole else ["own"])]
    set_keys(paths, experiments=str(names).replace("'", '"'))
    looks = paths.configs / "looks.toml"
    looks.write_text(looks.read_text().replace(str(folder / "tiny.safetensors"), "tiny.safetensors"))
    (folder / "my_rates.py").write_text(OWN)
    for name, text in KINDS.items():
        (paths.configs / f"{name}.toml").write_text(text)
    if whole:
        from toy import tiny_sentences

        tiny_sentences(folder / "sentences")


class _Run:
    """A run that has begun."""

    def __init__(self, server: "subprocess.Popen[str]", order: Order) -> None:
        assert server.stdin and server.stdout
        self.server, self.log = server, Path(order.log)
        server.stdin.write(order.to_json())
        server.stdin.flush()
        self.group = int(server.stdout.readline())
        self.begun = time.monotonic()

    def send(self, number: int, to_all: bool) -> None:
        with suppress(ProcessLookupError):
            (os.killpg if to_all else os.kill)(self.group, number)

    def end(self, seconds: float = 600.0) -> int | None:
        """The exit status; None where it did not end in so many seconds, and was killed, or held more than MB."""
        assert self.server.stdout
        ended = bool(select.select([self.server.stdout], [], [], seconds)[0])
        if not ended:
            self.send(signal.SIGKILL, True)
        status, mb = map(int, self.server.stdout.readline().split())
        return status if ended and mb < MB else None

    def members(self, seconds: float = 15.0) -> list[str]:
        """The processes of the group that are left after so many seconds."""
        end = time.monotonic() + seconds
        while (left := list(_members(self.group))) and time.monotonic() < end:
            time.sleep(0.02)
        self.send(signal.SIGKILL, True)
        return left


@contextmanager
def runner(whole: bool) -> Iterator[Any]:
    """A function that begins a run in a folder."""
    modules = ["lightgbm", "sklearn.linear_model", "tandem.models.tfidf", "iterstrat.ml_stratifiers", "pandas"]
    modules += ["tandem.training.fold_job", "tandem.models.custom", "tandem.ensemble.fit_stack"]
    modules += [f"tandem.stages.{name}" for name in MODULES]
    if whole:
        modules += ["timm", "sentence_transformers", "albumentations", "tandem.models.finetune", "tandem.models.fusion"]
        modules += ["tandem.models.mlp_head", "tandem.features.image_encoder"]
    environment = os.environ | {"TANDEM_THREADS": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    tests = Path(__file__).parents[1]
    environment |= {"PYTHONPATH": os.pathsep.join([str(tests.parent / "src"), str(tests)]), "TANDEM_DEVICE": "cpu"}
    command = [sys.executable, "-m", "torture._killed", *modules]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, cwd=tests) as server:
        try:
            yield lambda folder, **more: _Run(server, Order(str(folder), str(folder / "log"), **more))
        finally:
            server.kill()


class _Quiet:
    """A run that nothing disturbs: its status, seconds, digests of its results, and files written."""

    def __init__(self, begin: Any, folder: Path, within: float = 600.0) -> None:
        started = begin(folder)
        self.status, self.seconds = started.end(within), time.monotonic() - started.begun
        self.left = started.members() + leftovers(folder)
        self.digests = digests(folder)
        self.log = started.log.read_text()
        count = started.log.with_suffix(".written")
        self.written = int(count.read_text()) if count.exists() else 0
        count.unlink(missing_ok=True)


def quiet_run(begin: Any, source: Path, folder: Path, outcome: Outcome) -> _Quiet:
    """In a copy of `source`."""
    shutil.copytree(source, folder)
    found = _Quiet(begin, folder)
    _check_end(outcome, "control", found)
    return found


def _check_end(outcome: Outcome, name: str, run: _Quiet) -> None:
    if run.status is None:
        outcome.faults.append(f"{name}: the run did not end in time, or one process held more than {MB} MB")
    elif run.status or "Traceback" in run.log:
        outcome.faults.append(f"{name}: status {run.status}, expected 0; {' / '.join(run.log.splitlines()[-3:])}")
    if run.left:
        outcome.faults.append(f"{name}: left over after the run: {', '.join(run.left[:5])}")


def digests(folder: Path) -> dict[str, str]:
    """{file: digest} of all results but the records with times."""
    files = [file for name in COMPARED for file in sorted((folder / name).rglob("*")) if file.is_file()]
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.name not in TIMES and not file.match("fold*.json") and not file.match("*.meta.json")
        if not (file.suffix == ".json" and file.parents[1].name == "submissions")
    }


def leftovers(folder: Path) -> list[str]:
    """Files that a run should have removed."""
    found = {file for pattern in LEFT for file in folder.rglob(pattern)} | set(folder.glob("temporary/tandem-*"))
    return sorted(file.relative_to(folder).as_posix() for file in found)


def _members(group: int) -> Iterator[str]:
    """The processes of a group that have not ended."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state not in "ZX":
                yield f"process {stat.parent.name}"


def _compare(outcome: Outcome, name: str, expected: dict[str, str], found: dict[str, str]) -> None:
    different = sorted(file for file in expected.keys() | found.keys() if expected.get(file) != found.get(file))
    if different:
        outcome.faults.append(f"{name}: {len(different)} files differ from a quiet run: {', '.join(different[:5])}")


def _control(outcome: Outcome, folder: Path, expected: dict[str, str]) -> None:
    """The campaign can fail: a changed result and a file left over are seen."""
    seen, thresholds = Outcome(), next(folder.rglob("thresholds.json"))
    thresholds.write_text(thresholds.read_text() + " ")
    (folder / "oof" / ".a.1.partial").touch()
    _compare(seen, "", expected, digests(folder))
    if not seen.faults or not leftovers(folder):
        outcome.faults.append("control: a changed file or a half-written one was not seen")


class _Tries:
    """Tries in one folder after another."""

    def __init__(self, task: Task, begin: Any, source: Path, quiet: _Quiet, outcome: Outcome) -> None:
        self.task, self.begin, self.source, self.quiet, self.outcome = task, begin, source, quiet, outcome
        self.folder, self.done, self.names = task.folder / "run", 0, list[str]()
        self.counts = {"kills at a moment": 0, "kills within a write": 0, **{s.name: 0 for s in SIGNALS}}
        self.counts["ended before"] = 0
        self.limit = max(60.0, HANG * quiet.seconds)

    def one(self, number: int) -> None:
        """A kill or a signal; again in a fresh folder where the run ended before."""
        for again in range(4):
            if not self.folder.exists():
                shutil.copytree(self.source, self.folder)
            if self._disturb(number, again):
                self.outcome.tries += 1
                self.done += 1
                break
            self.counts["ended before"] += 1
            self.finish()
        else:
            self.outcome.faults.append(f"try {number}: the run ended {again + 1} times before it was disturbed")
        if self.done == SERIES:
            self.finish()

    def _disturb(self, number: int, again: int) -> bool:
        """Whether the run was disturbed before its end."""
        rng, turn = np.random.default_rng([self.task.seed, number, again]), number % 13
        quick = self.task.tries <= QUICK
        kind = (10, 1)[number % 2] if quick else turn  # of the short form: SIGTERM, then a kill within a write
        # a try that is made again comes earlier: runs may be shorter by now than the undisturbed one that was timed
        delay = rng.uniform(0, 0.7 * self.quiet.seconds / (1 + self.done / 2) / (1 + again))
        self.names.append(f"{number}:{kind}")
        if kind >= 10:
            return self._signal(SIGNALS[kind - 10], delay, bool(rng.integers(2)))
        if kind % 2:
            last = max(2, int(self.quiet.written / (1 + self.done)))
            run = self.begin(self.folder, dies_at=int(rng.integers(1, last)), how=HOWS[rng.integers(len(HOWS))])
            what = "kills within a write"
        else:
            run, what = self.begin(self.folder), "kills at a moment"
            time.sleep(delay)
            run.send(signal.SIGKILL, True)
        status = run.end(self.limit)
        if left := run.members():
            self.outcome.faults.append(f"{self._name}: {', '.join(left)} still runs after a kill")
        if status != -signal.SIGKILL:
            if status != 0:
                self.outcome.faults.append(f"{self._name}: status {status}; {_last(run.log)}")
            return False
        self.counts[what] += 1
        return True

    def _signal(self, number: signal.Signals, delay: float, to_all: bool) -> bool:
        run = self.begin(self.folder)
        time.sleep(delay)
        run.send(number, to_all)
        sent = time.monotonic()
        status, seconds, left = run.end(self.limit), time.monotonic() - sent, run.members()
        text = run.log.read_text()
        self.counts["slowest end, s"] = max(self.counts.get("slowest end, s", 0), round(seconds))
        if left:
            self.outcome.faults.append(f"{self._name}: {', '.join(left)} still runs after {number.name}")
        if status == 0 or run.log.with_suffix(".written").exists():  # all was done
            return False
        if status != 128 + number or text.count(STOPPED) != 1 or "Traceback" in text:
            what = f"status {status}, expected {128 + number} and one message"
            self.outcome.faults.append(f"{self._name}: {number.name} {'to all' * to_all}: {what}; {_last(run.log)}")
        temporary = [file for file in leftovers(self.folder) if "checkpoint" not in file and "unfinished" not in file]
        if kept := [file for file in temporary if not file.startswith(("features/", "build/small/pixels/"))]:
            self.outcome.faults.append(f"{self._name}: {number.name} left {', '.join(kept[:5])}")
        self.counts[number.name] += 1
        return True

    @property
    def _name(self) -> str:
        return f"tries {' '.join(self.names)} (number:kind)"

    def finish(self) -> None:
        """Runs to the end, compares, and removes the folder."""
        if not self.folder.exists():
            return
        run = _Quiet(self.begin, self.folder, self.limit)
        _check_end(self.outcome, self._name, run)
        _compare(self.outcome, self._name, self.quiet.digests, run.digests)
        shutil.rmtree(self.folder)
        self.done, self.names = 0, []


def _last(log: Path) -> str:
    return " / ".join(log.read_text().splitlines()[-3:])

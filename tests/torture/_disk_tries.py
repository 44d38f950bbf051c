"""The tries of the campaign `disk`: `-m torture._disk_tries FOLDER SEED TRIES`, numbers on stdin, JSON on stdout.

The competition is trained once; each try works on a copy. Few tries train a text model alone, many a stack.
"""

import contextlib
import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import small_competition
from words_competition import set_keys

import tandem.runtime.disk
import tandem.stages._run
from tandem.__main__ import main
from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.runtime.bug_report import STATUS

COMP, FEW = "small", 20
FULL = re.compile(r"error: \S+: (the disk is full|the limit of the size of files is reached) \(.*MB free\); make room")
FULL_BEFORE = re.compile(r"error: .*(bytes of disk space|GB more on disk)")
REFUSED = re.compile(r"error: \S+: (the disk is read-only|no permission); ")
DAMAGED = re.compile(
    "error: .*(damaged|was changed since it was made|is missing|is stale|is not trained|expected|without a fold"
    "|no folds/)"
)
NOTHING = "Nothing to be done for 'submit': all results are current."
TIMES = ("seconds", "seconds_per_fold", "peak_mb", "versions", "engine_per_fold", "node_per_fold", "cost", "run")
LEFT_OVER = (".partial", ".new", ".unchecked.csv")
ENDS = {  # commands after all is trained: words, and about how many bytes they write
    "report": ((), 2**18),
    "predict": (("IMAGES=input/small/data", "OUT=labels.csv"), 2**13),
    "bundle": ((), 2**22),
}
NOBODY, DAY = 65534, 86400.0
DISK = 64 * 2**20  # bytes


class Run(NamedTuple):
    """A command: its exit status, None after a traceback; what it printed, and the traceback."""

    status: int | None
    out: str
    err: str


def command(*words: str) -> Run:
    """`tandem WORDS` in this process and in the current folder."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status: int | None = main(list(words))
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            return Run(None, out.getvalue(), err.getvalue() + traceback.format_exc())
    return Run(status, out.getvalue(), err.getvalue())


class Tries:
    """One folder with the trained competition, and what was made there."""

    def __init__(self, folder: Path, seed: int, tries: int) -> None:
        self.folder, self.seed, self.few = folder, seed, tries <= FEW
        self.exps = "words" if self.few else "words looks"
        self.submit = ("submit", COMP, f"EXPS={self.exps}")
        self.base, self.disk = folder / "base", folder / "disk"
        self.base.mkdir()
        self.disk.mkdir()
        self.mounts = _run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(self.disk))
        os.chdir(self.base)
        small_competition.write_small(self.base)
        set_keys(Paths(COMP), experiments=json.dumps(self.exps.split()), submission='"probabilities"')
        first, again = command(*self.submit), command(*self.submit)
        assert first.status == again.status == 0 and NOTHING in again.out, (first, again)
        self.expected, self.size = results(self.base), _size(self.base)
        self.kinds: list[Callable[[np.random.Generator], Iterator[str]]] = [
            self.damaged, self.full, self.damaged, self.clock, self.damaged, self.refused
        ]  # fmt: skip

    def attempt(self, number: int) -> tuple[str, list[str]]:
        """(kind, its faults)."""
        rng, kind = np.random.default_rng([self.seed, number]), self.kinds[number % len(self.kinds)]
        try:
            return kind.__name__, list(kind(rng))
        except Exception:
            return kind.__name__, [f"the campaign itself: {traceback.format_exc()}"]
        finally:
            os.chdir(self.folder)
            for place in (self.disk, self.folder / "copy"):
                for one in place.glob("*"):
                    shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()

    def copy(self, place: Path) -> Path:
        """A copy of what was trained, as the current folder."""
        shutil.copytree(self.base, place, dirs_exist_ok=True)
        os.chdir(place)
        return place

    # ---- kinds of tries: each yields its faults

    def damaged(self, rng: np.random.Generator) -> Iterator[str]:
        """A file that was made is truncated, emptied, flipped, swapped, deleted or no longer JSON."""
        place = self.copy(self.folder / "copy")
        files = sorted(file for file in place.rglob("*") if file.is_file() and _is_made(file.relative_to(place)))
        file = files[rng.integers(len(files))]
        name, way = file.relative_to(place).as_posix(), _damage(rng, file, files)
        silent = way == "flipped, size and time kept"
        if rng.random() < 0.2 and not silent and way not in ("flipped", "swapped", "digits"):
            way += ", without a record"
            Paths(COMP).made_files.unlink(missing_ok=True)
        words = [self.submit, ("report", COMP), ("scores", COMP), self.submit][rng.integers(4)]
        if self.few and words[0] == "report":
            words = self.submit
        what = f"{name} {way}, then {words[0]}"
        yield from self.named(what, run := command(*words), DAMAGED)
        if "delete it" in run.err and file.exists():
            file.unlink()
        if silent and run.status == 0:  # it was not read: now its time shows it
            os.utime(file)
        last = command(*self.submit)
        if last.status == 2 and "delete" in last.err and file.exists():  # as the error says
            file.unlink()
            last = command(*self.submit)
        yield from self.as_expected(what, last)

    def full(self, rng: np.random.Generator) -> Iterator[str]:
        """Room for a part of what a stage writes; later for all."""
        if not self.mounts:
            return
        self.copy(self.disk / "work")
        stages = ["submit", "check", "folds", "train", "import", "stack", "features", *ENDS]
        stage = stages[rng.integers(1 if self.few else len(stages))]
        words, needed = (stage, COMP), self.size
        if stage in ENDS:
            words, needed = (stage, COMP, *ENDS[stage][0]), ENDS[stage][1]
        elif stage == "import":
            shutil.move("input", "given")
            words, needed = ("import", COMP, "DIR=given/small"), self.size // 2
        else:
            words = (stage, COMP, *(() if stage in ("check", "folds") else (f"EXPS={self.exps}",)))
            for folder in ("build", "oof", "models", "submissions", "features", "reports", "folds"):
                shutil.rmtree(folder, ignore_errors=True)
        left = int(needed * rng.random() ** 2)
        filler = self.disk / "filler"
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(4096, shutil.disk_usage(self.disk).free - left))
        what = f"{stage} with {left:,} bytes free"
        yield from self.named(what, command(*words), FULL, FULL_BEFORE)
        filler.unlink()
        if stage == "import":
            run = command(*words)
            if run.status not in (0, 2) or (run.status == 2 and "question" not in run.err):
                yield f"{what}: with room again {run}"
            shutil.copyfile("given/small/competition.toml", "input/small/competition.toml")
        elif stage in ENDS and (run := command(*words)).status != 0:
            yield f"{what}: with room again {run}"
        yield from self.as_expected(what, command(*self.submit))

    def refused(self, rng: np.random.Generator) -> Iterator[str]:
        """Folders that can't be written to, or nothing that belongs to the user."""
        place = self.copy(self.folder / "copy")
        folders = ["build", "oof", "models", "submissions", "reports", "folds", "."]
        folder = place / folders[rng.integers(len(folders))]
        shutil.rmtree("oof/small/words" if rng.random() < 0.7 else "submissions")
        folder.mkdir(exist_ok=True)
        words = [self.submit, ("check", COMP), ("report", COMP), ("clean-cache", COMP)][
            rng.integers(1 if self.few else 4)
        ]
        what = f"{words[0]}, {folder.relative_to(place)} "
        if rng.random() < 0.5 or not self.mounts:
            if os.geteuid():
                return
            os.seteuid(NOBODY)
            try:
                run = command(*words)
            finally:
                os.seteuid(0)
            yield from self.named(what + "of another user", run, REFUSED, DAMAGED)
        else:
            assert _run("mount", "--bind", str(folder), str(folder))
            try:
                assert _run("mount", "-o", "remount,ro,bind", str(folder))
                os.chdir(self.folder)
                os.chdir(place)
                yield from self.named(what + "read-only", command(*words), REFUSED, DAMAGED)
            finally:
                os.chdir(self.folder)
                _run("umount", str(folder))
                os.chdir(place)
        yield from self.as_expected(what, command(*self.submit))

    def clock(self, rng: np.random.Generator) -> Iterator[str]:
        """Files of the future, and a clock that is set back."""
        place, days = self.copy(self.folder / "copy"), float(rng.integers(1, 4000))
        for file in place.rglob("*"):
            os.utime(file, (time.time() + days * DAY,) * 2)
        now, now_ns = time.time, time.time_ns
        if rng.random() < 0.5:
            time.time = lambda: now() - days * DAY
            time.time_ns = lambda: now_ns() - int(days * DAY * 1e9)
        try:
            command(*self.submit)  # the check looks at the images again
            if NOTHING not in (run := command(*self.submit)).out:
                yield f"files of {days:.0f} days later are stale: {run}"
            shutil.rmtree("oof/small/words")
            run = command(*self.submit)
            if re.search(r"-\d+(\.\d+)? (s|min|h)\b", run.out + run.err):
                yield f"a negative time: {run}"
            yield from self.as_expected(f"the clock {days:.0f} days back", run)
        finally:
            time.time, time.time_ns = now, now_ns

    # ---- what must be

    def named(self, what: str, run: Run, *messages: re.Pattern[str]) -> Iterator[str]:
        """A fault unless the command went well or ended with one line in the words of one of the messages."""
        if run.status is None or run.status == STATUS:
            yield f"{what}: a traceback: {run.err}"
        elif run.status != 0 and not any(one.search(run.err + run.out) for one in messages):
            yield f"{what}: status {run.status}, but no clear error: {run.err or run.out}"

    def as_expected(self, what: str, run: Run) -> Iterator[str]:
        """A fault unless the results are those of the intact run, and nothing is left over."""
        if run.status != 0:
            yield f"{what}: the next run ended with {run.status}: {run.err}"
            return
        found, expected = results(Path()), self.expected
        for name in sorted(found.keys() | expected.keys()):
            if found.get(name) != expected.get(name):
                yield f"{what}: {name} is not that of the intact run"
        if left := [str(file) for file in Path().rglob("*") if file.name.endswith(LEFT_OVER)]:
            yield f"{what}: left over: {left}"
        if NOTHING not in command(*self.submit).out:
            yield f"{what}: it is not current after the run"


def results(root: Path) -> dict[str, object]:
    """{file: its content} of what is submitted and scored; without times."""
    found: dict[str, object] = {}
    for file in [*root.glob("submissions/small/*.csv"), *root.glob("oof/small/*/*.parquet"), *root.glob("folds/*.csv")]:
        found[file.relative_to(root).as_posix()] = file.read_bytes()
    for file in [*root.glob("oof/small/*/scores.json"), *root.glob("oof/small/*/thresholds.json")]:
        found[file.relative_to(root).as_posix()] = _without_times(read_json(file))
    return found


def _without_times(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_times(one) for key, one in value.items() if key not in TIMES}
    return value


def _is_made(name: Path) -> bool:
    """Files of users are theirs to change; the map of the folds, its images, settings and weights. The history can't be
    made again, and its kept files are links to others."""
    kept = ("input", "configs", "history", "tiny.safetensors")
    return name.parts[0] not in kept and name.suffix not in (".html", "", ".lock")


def _damage(rng: np.random.Generator, file: Path, files: list[Path]) -> str:
    """What was done to the file."""
    data, status = file.read_bytes(), file.stat()
    ways = ["truncated", "emptied", "deleted", "flipped", "flipped, size and time kept", "swapped"]
    ways += ["no JSON", "deep JSON"] if file.suffix == ".json" else []
    if file.parts[-2] == "folds":  # people may change the map of the folds
        ways = ["truncated", "emptied", "deleted"]
    way, others = ways[rng.integers(len(ways))], [o for o in files if o.suffix == file.suffix and o != file]
    if way == "swapped" and not others:
        way = "truncated"
    if way == "truncated":
        file.write_bytes(data[: int(rng.integers(1, max(2, len(data))))])
    elif way == "emptied":
        file.write_bytes(b"")
    elif way == "deleted":
        file.unlink()
    elif way == "swapped":
        near = [other for other in others if other.parent == file.parent] or others
        shutil.copyfile(near[rng.integers(len(near))], file)
    elif way == "no JSON":
        file.write_bytes(b'{"key": N\xffN}')
    elif way == "deep JSON":
        file.write_bytes(b"[" * 100_000)
    else:
        at = int(rng.integers(len(data))) if data else 0
        file.write_bytes(data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :] if data else b"x")
        if way != "flipped":
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    return way


def _size(folder: Path) -> int:
    return sum(
        file.stat().st_size for file in folder.rglob("*") if file.is_file() and _is_made(file.relative_to(folder))
    )


def _run(*words: str) -> bool:
    try:
        return subprocess.run(words, capture_output=True).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr
    tandem.runtime.disk.SPARE_GB = 0.0  # the disk of the tries is small
    tandem.stages._run.run_in_new_process = lambda function, *args: function(*args)
    tries = Tries(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    for line in sys.stdin:
        kind, faults = tries.attempt(int(line))
        mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"kind": kind, "faults": faults, "mb": mb}), file=answers, flush=True)

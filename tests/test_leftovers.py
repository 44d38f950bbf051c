"""A process that ends in any way leaves no temporary folder, no half-written file and no process behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from small_competition import write_small
from test_lock import holder, paths  # noqa: F401

from tandem.__main__ import main
from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.graph.lock import remove_leftovers
from tandem.runtime.leftovers import AGE, remove_abandoned, scratch_folder

SRC = Path(__file__).parents[1] / "src"
HOLDS = """
import sys, time
from tandem.runtime.leftovers import process_folder, scratch_folder
from tandem.runtime.processes import run_in_new_process

def begin() -> None:
    process_folder()
    print("begun", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    run_in_new_process(begin) if sys.argv[1] == "process" else begin()
"""
# `tandem submit small`, which stops for a minute where it would write the predictions
SLOW = """
import sys, time
from tandem.artifacts import atomic_io

def replace(partial, path, real=atomic_io.os.replace):
    if str(path).endswith("oof.parquet"):
        print("writing", flush=True)
        time.sleep(60)
    real(partial, path)

atomic_io.os.replace = replace
from tandem.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["submit", "small", "EXPS=words"]))
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """The folder for temporary files of this process, and of those that it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@contextmanager
def started(folder: Path, code: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own, which heeds every signal."""
    write_text(folder / "script.py", code)

    def begin() -> None:
        os.setpgrp()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    run = subprocess.Popen(
        [sys.executable, "script.py", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(SRC), "TANDEM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=begin,
    )
    try:
        yield run
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def wait_until(true: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def group_members(group: int) -> list[str]:
    """The command lines of the processes of a group that have not ended."""
    shown = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=2) for line in shown.splitlines())
    return [row[-1] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def test_a_temporary_folder_ends_with_its_block(temporary):
    with scratch_folder() as folder:
        (folder / "a").touch()
        remove_abandoned()
        assert (folder / "a").exists()  # its owner, this process, is alive
    assert not folder.exists()


def test_the_temporary_folder_of_a_killed_process_is_removed_by_the_next_one(tmp_path, temporary):
    with started(tmp_path, HOLDS, "alone") as run:
        assert run.stdout.readline() == "begun\n"
        remove_abandoned()
        assert not is_empty(temporary)  # it is alive
        run.kill()
        run.wait()
        remove_abandoned()
        assert is_empty(temporary)


def test_the_processes_of_a_killed_one_end_and_take_their_temporary_folders_with_them(tmp_path, temporary):
    with started(tmp_path, HOLDS, "process") as run:
        assert run.stdout.readline() == "begun\n"
        run.kill()
        assert wait_until(partial(is_empty, temporary))


def test_folders_of_others_stay(temporary):
    old = time.time() - AGE - 60
    for name, stamp in {"tandem-new": time.time(), "tandem-old": old, "other-old": old}.items():
        (temporary / name).mkdir()
        os.utime(temporary / name, (stamp, stamp))
    remove_abandoned()
    assert sorted(folder.name for folder in temporary.iterdir()) == ["other-old", "tandem-new"]


@pytest.mark.parametrize(
    ("number", "status", "group"),
    [(signal.SIGTERM, 143, False), (signal.SIGHUP, 129, True), (signal.SIGINT, 130, True)],
    ids=["SIGTERM", "closed terminal", "Ctrl-C"],
)
def test_a_signal_ends_a_run_and_all_that_it_has_begun(tmp_path, temporary, number, status, group):
    write_small(tmp_path, rows=24, folds=2)
    with started(tmp_path, SLOW) as run:
        assert any(line == "writing\n" for line in run.stdout)
        partial_file = next((tmp_path / "oof").rglob(".*.partial"))
        (os.killpg if group else os.kill)(run.pid, number)
        _, errors = run.communicate(timeout=20)
        assert run.returncode == status
        assert errors.count("stopped; the same command continues from here") == 1 and "Traceback" not in errors
        assert wait_until(lambda: not group_members(run.pid))
        assert not partial_file.exists() and not list(temporary.glob("tandem-*"))


def test_half_written_files_in_shared_folders_are_removed_where_their_process_is_gone(tmp_path, temporary):
    small, other = Paths("small", tmp_path), Paths("other", tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    files = [small.folds, small.bundle, small.report, small.explanation("a", "b"), small.submission("a")]
    files += [small.competition, small.configs / "a.toml"]
    left = [file.with_name(f".{file.name}.{gone.pid}.partial") for file in files]
    kept = [file.with_name(f".{file.name}.{os.getpid()}.partial") for file in files]
    kept += [other.folds.with_name(f".{other.folds.name}.{gone.pid}.partial")]
    for file in left + kept:
        write_text(file, "")
    (small.external_dir / ".book.new").mkdir(parents=True)
    remove_leftovers(small)
    assert [file for file in left if file.exists()] == [] and all(file.exists() for file in kept)
    assert is_empty(small.external_dir)


def test_clean_refuses_while_a_run_is_going_on_and_then_removes_all_but_the_input(paths, capsys):  # noqa: F811
    write_text(paths.input / "train.csv", "")
    write_text(paths.folds, "")
    with holder() as run:
        assert run.stdout.readline() == "begun\n"
        assert main(["clean", "toy"]) == 2
        assert f"toy: tandem submit toy --exps 'a b' (process {run.pid}, since" in capsys.readouterr().err
        assert paths.scores("words").exists()
    assert main(["clean", "toy"]) == 0
    left = {file.relative_to(paths.root).as_posix() for file in Path().rglob("*") if file.is_file()}
    assert left == {"holds.py", "input/toy/competition.toml", "input/toy/train.csv", "build/.toy.lock"} & left
    assert (paths.input / "train.csv").exists() and not paths.folds.exists() and not paths.oof_dir.exists()
    assert main(["clean", "toy"]) == 0
    assert "nothing was built for 'toy'" in capsys.readouterr().out

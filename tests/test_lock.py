"""One run of a competition at a time, with real processes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from test_scores import write_scores

from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.graph.lock import only_run

SRC = Path(__file__).parents[1] / "src"
HOLDS = """
import sys
from tandem.artifacts.paths import Paths
from tandem.graph.lock import only_run

with only_run(Paths("toy")):
    print("begun", flush=True)
    sys.stdin.read()  # until it is closed
print("ended", flush=True)
"""


@pytest.fixture
def paths(tmp_path, monkeypatch) -> Paths:
    """A scored competition without data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(SRC))
    write_text(Path("holds.py"), HOLDS)
    write_scores(Paths("toy"), "words", 0.5)
    return Paths("toy")


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, *words], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def holder() -> AbstractContextManager[subprocess.Popen[str]]:
    """A process of `make submit COMP=toy`, as if it ran for as long as its input is open."""
    return process("holds.py", "submit", "toy", "--exps", "a b")


def test_a_second_run_waits_and_names_the_run_that_it_waits_for(paths):
    with holder() as first:
        assert first.stdout.readline() == "begun\n"
        with process("-m", "tandem", "check", "toy") as second:
            message = second.stderr.readline()
            assert re.fullmatch(
                rf"toy: waiting for tandem submit toy --exps 'a b' \(process {first.pid}, since \d\d:\d\d:\d\d\)\n",
                message,
            )
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(0.5)
            first.stdin.close()
            assert first.stdout.readline() == "ended\n"
            _, errors = second.communicate(timeout=60)
            assert "input/toy/train.csv" in errors and "waiting" not in errors  # it went on, and found no data


def test_a_killed_run_leaves_no_lock_behind(paths):
    with holder() as first:
        assert first.stdout.readline() == "begun\n"
        first.send_signal(signal.SIGKILL)
        first.wait()
    with holder() as second:
        assert second.stdout.readline() == "begun\n"
        _, errors = second.communicate(timeout=60)
        assert errors == ""


def test_a_run_that_waits_begins_when_the_other_is_killed(paths):
    with holder() as first:
        assert first.stdout.readline() == "begun\n"
        with holder() as second:
            assert "waiting for tandem submit" in second.stderr.readline()
            os.kill(first.pid, signal.SIGKILL)
            assert second.stdout.readline() == "begun\n"


def test_readers_and_other_competitions_do_not_wait(paths):
    with holder() as first:
        assert first.stdout.readline() == "begun\n"
        with process("-m", "tandem", "scores", "toy") as reader:
            table, errors = reader.communicate(timeout=60)
        assert (reader.returncode, errors) == (0, "") and "words" in table
        with only_run(Paths("other")):
            pass
        assert first.poll() is None


def test_an_error_frees_the_lock(paths):
    with pytest.raises(ValueError), only_run(paths):
        raise ValueError
    with only_run(paths):
        pass

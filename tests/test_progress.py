import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.graph.lock import remove_leftovers
from tandem.runtime.run_progress import RunState, RunTask

SRC = Path(__file__).parents[1] / "src"
RUN = """
import os, sys, time
from pathlib import Path
from tandem.runtime import run_progress
from tandem.runtime.progress import TASK, report
run_progress.LOG_SECONDS = 0.9
with run_progress.RunProgress([run_progress.RunTask("train a", "a", (0, 2))], Path("run/events")) as run:
    os.environ[TASK] = "train a"
    run.begin("train a")
    time.sleep(1.3)
    report(folds_done=1, f1=0.5)
    run.advance(0.5)
    print("a line", flush=True)
    time.sleep(1.3)
    assert run.end("train a").held_out == [0.5]
print("after")
"""
LOGGED = """
import time
from tandem.runtime import progress
progress.Logged.seconds_between = 0.1
with progress.progress(1000, "draw", "images") as bar:
    bar.update(1)
    time.sleep(0.2)
    bar.update(250)
    bar.update(749)
"""


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(SRC), "COLUMNS": "100"}


def in_pipe(code: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(), cwd=folder, timeout=60)
    assert run.returncode == 0, run.stderr
    return run


def on_terminal(code: str, folder: Path) -> str:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment(), cwd=folder)
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        parts.append(part)
    assert process.wait(60) == 0
    os.close(ours)
    return b"".join(parts).decode()


def test_in_a_log_progress_is_whole_lines_with_the_time_and_no_carriage_returns(tmp_path):
    run = in_pipe(RUN, tmp_path)
    assert b"\r" not in run.stdout + run.stderr and b"\x1b" not in run.stdout + run.stderr
    assert run.stdout.decode().splitlines() == ["a line", "after"]
    lines = run.stderr.decode().splitlines()
    assert 1 <= len(lines) <= 2  # in 2.6 s, one a second
    assert all(re.match(r"\d\d:\d\d:\d\d a: experiment 1 of 1, fold [12] of 2", line) for line in lines)


def test_on_a_terminal_one_line_moves_and_what_is_printed_replaces_it(tmp_path):
    printed = on_terminal(RUN, tmp_path)
    assert "\ra: experiment 1 of 1, fold 1 of 2\x1b[K\r" in printed
    assert "a: experiment 1 of 1, fold 2 of 2, less than a minute left\x1b[K\r" in printed
    assert "\ra line\x1b[K\r\n" in printed
    assert printed.endswith("\r\x1b[K\rafter\r\n")
    assert list((tmp_path / "run").iterdir()) == []  # the file of its events is gone


def test_a_loop_in_a_log_says_how_much_is_done_and_left(tmp_path):
    run = in_pipe(LOGGED, tmp_path)
    (line,) = run.stderr.decode().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d draw: 251 of 1,000 images, less than a minute left", line)
    assert b"\r" not in run.stderr


def test_two_experiments_at_once_are_both_named():
    state = RunState([RunTask("train a", "a", (0, 5)), RunTask("train b", "b", (3, 5))])
    state.begin("train b")
    state.begin("train a")
    assert state.text(0) == "b: experiment 1 of 2, fold 4 of 5; a: experiment 2 of 2, fold 1 of 5"


def test_the_time_left_is_by_the_share_of_the_work_that_is_done():
    state = RunState([RunTask("check"), RunTask("train a", "a", (0, 2)), RunTask("stack")])
    state.begin("check")
    assert state.text(10) == "check"
    state.end("check")
    state.advance(0.1, 60)
    state.begin("train a")
    assert state.text(60) == "a: experiment 1 of 1, fold 1 of 2, about 9 min left"
    state.take({"task": "train a", "folds_done": 1, "f1": 0.7})
    state.advance(0.5, 300)
    assert state.text(300) == "a: experiment 1 of 1, fold 2 of 2, about 5 min left"
    state.take({"task": "train a", "detail": "epoch 2: 32 of 64 img"})
    assert state.text(301).endswith(" left (epoch 2: 32 of 64 img)")


def test_in_a_narrow_terminal_the_detail_goes_first_and_the_time_left_stays():
    state = RunState([RunTask("train caption_words", "caption_words", (0, 9)), RunTask("stack")])
    state.begin("train caption_words")
    state.take({"task": "train caption_words", "folds_done": 1})
    state.advance(0.1, 60)
    state.take({"task": "train caption_words", "detail": "fold 1 epoch 2: loss 0.1234"})
    whole = "caption_words: experiment 1 of 1, fold 2 of 9, about 9 min left"
    assert state.text(61, 100) == f"{whole} (fold 1 epoch 2: loss 0.1234)"
    assert state.text(61, 80) == whole
    assert state.text(61, 40) == "caption_words: experi…, about 9 min left"


def test_a_run_that_takes_longer_than_expected_says_no_time_left():
    state = RunState([RunTask("check"), RunTask("stack")])
    state.begin("check")
    state.end("check")
    state.advance(0.5, 60)
    state.begin("stack")
    assert state.text(110) == "stack, less than a minute left"
    assert state.text(130) == "stack"


def test_the_events_of_a_killed_run_are_removed_by_the_next_one(tmp_path):
    paths = Paths("toy", tmp_path)
    write_text(paths.progress, "{}")
    remove_leftovers(paths)
    assert not paths.progress.exists()

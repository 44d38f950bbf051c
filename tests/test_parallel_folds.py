"""Folds trained side by side, in real processes."""

import os
import signal
import subprocess
import sys
import time

import pytest
from test_training import fit_fold, fold_of, is_current, paths, train, write_config  # noqa: F401

WAITS = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tandem.runtime.processes import end_with_parent

def work():
    print(os.getpid(), flush=True)
    time.sleep(60)

if __name__ == "__main__":
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, end_with_parent) as pool:
        pool.submit(work).result()
"""


def test_folds_trained_at_once_are_those_trained_one_after_another(paths, monkeypatch, capfd):  # noqa: F811
    train()
    one_by_one = [fold_of(paths, k) for k in range(3)]
    for file in paths.model("words", 0, "").parent.iterdir():
        file.unlink()
    monkeypatch.setenv("TANDEM_THREADS", "2")
    capfd.readouterr()
    train()
    printed = capfd.readouterr().out
    assert [fold_of(paths, k) for k in range(3)] == one_by_one
    assert sorted(line.split(":")[0] for line in printed.splitlines()) == [
        "words fold 0 done (1 of 3)",
        "words fold 1 done (2 of 3)",
        "words fold 2 done (3 of 3)",
    ]


def test_only_what_is_missing_is_fitted(paths, monkeypatch):  # noqa: F811
    fit_fold(paths, 1)
    made = paths.model("words", 1, ".safetensors").stat().st_mtime_ns
    monkeypatch.setenv("TANDEM_THREADS", "2")
    train()
    assert paths.model("words", 1, ".safetensors").stat().st_mtime_ns == made
    assert all(is_current(paths, k) for k in range(3))


def test_an_error_in_a_process_is_raised_in_the_parent(paths, monkeypatch):  # noqa: F811
    write_config(paths, tfidf={"min_rows": 18})
    monkeypatch.setenv("TANDEM_THREADS", "2")
    with pytest.raises(ValueError, match="no terms remain|min_df|max_df"):
        train()


def test_a_killed_run_leaves_no_process_behind(tmp_path):
    script = tmp_path / "waits.py"
    script.write_text(WAITS)
    run = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    child = int(run.stdout.readline())
    os.kill(child, 0)  # it runs
    run.send_signal(signal.SIGKILL)
    run.wait()
    end = time.monotonic() + 30
    while _runs(child) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"  # a zombie has ended

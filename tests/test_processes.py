"""Work in processes of its own."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from threading import Thread, active_count

import pytest
import torch

from tandem.runtime.processes import _measured, end_idle_processes, run_in_new_process, stop_processes

SRC = Path(__file__).parents[1] / "src"
INTERRUPTED = """
from tandem.runtime.executor import LocalPool
from tandem.runtime.unit import Unit

if __name__ == "__main__":
    with LocalPool(60, lambda unit, node: print("begun", flush=True)) as pool:
        pool.submit(Unit("a", "a", "time:sleep"))
        list(pool.results())
"""


INTERRUPTED_ALONE = """
import time
from threading import Timer
from tandem.runtime.processes import run_in_new_process

if __name__ == "__main__":
    Timer(3, print, ["begun"], {"flush": True}).start()
    run_in_new_process(time.sleep, 60)
"""


def test_the_result_and_the_error_of_another_process_come_back():
    assert run_in_new_process(abs, -3) == 3 and run_in_new_process(os.getpid) != os.getpid()
    with pytest.raises(ZeroDivisionError):
        run_in_new_process(divmod, 1, 0)


def test_a_killed_process_is_an_error_that_says_what_to_do():
    with pytest.raises(OSError, match="a process was killed.*the same command continues from here"):
        run_in_new_process(os._exit, 9)


def test_a_process_that_is_kept_for_more_work_keeps_no_memory_of_a_gpu(monkeypatch):
    freed = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(True))
    assert _measured(abs, -3)[0] == 3 and freed == [True]


def test_processes_can_be_stopped_and_later_ones_work():
    errors = []

    def wait() -> None:
        try:
            run_in_new_process(time.sleep, 60)
        except OSError as error:
            errors.append(error)

    thread = Thread(target=wait)
    thread.start()
    time.sleep(1)
    stop_processes()
    thread.join(20)
    assert len(errors) == 1 and run_in_new_process(abs, -3) == 3


def test_threads_of_processes_end_with_them():
    """One that ends with the interpreter may write to a pipe that is closed, which Python reports by a traceback."""
    end_idle_processes()
    before = active_count()
    assert run_in_new_process(abs, -3) == 3 and active_count() > before
    end_idle_processes()
    assert active_count() == before
    with pytest.raises(OSError, match="a process was killed"):
        run_in_new_process(os._exit, 9)
    assert active_count() == before
    assert run_in_new_process(abs, -3) == 3
    stop_processes()
    assert active_count() == before


@pytest.mark.parametrize("code", [INTERRUPTED, INTERRUPTED_ALONE], ids=["units of a pool", "one function"])
def test_an_interrupt_of_the_process_alone_ends_its_tasks(tmp_path, code):
    script = tmp_path / "interrupted.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # a shell that runs the tests in the background lets them, and what they start, ignore SIGINT
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    run = subprocess.Popen([sys.executable, script], **pipes, env=environment, preexec_fn=heed)
    assert run.stdout.readline() == b"begun\n"
    time.sleep(1)
    run.send_signal(signal.SIGINT)
    _, error = run.communicate(timeout=30)
    assert b"KeyboardInterrupt" in error

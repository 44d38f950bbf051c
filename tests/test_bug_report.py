"""An error that no code expected ends in a message and a file, never in a traceback on the terminal."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tandem.__main__ import main
from tandem.runtime.processes import run_in_new_process
from tandem.runtime.unit import call
from tandem.stages import scores

SRC = Path(__file__).parents[1] / "src"
IN_A_WORKER = """
import sys
from tandem.__main__ import main
from tandem.runtime.executor import LocalPool
from tandem.runtime.unit import Unit
from tandem.stages import scores

def run(args):
    with LocalPool(60) as pool:
        pool.submit(Unit("a", "a", "operator:truediv", args=(0,)))
        list(pool.results())

if __name__ == "__main__":
    scores.main = run
    sys.exit(main(["scores", "toy"]))
"""


def failing(monkeypatch, error: Exception) -> None:
    def fail(args):
        raise error

    monkeypatch.setattr(scores, "main", fail)


def reported(said: str) -> str:
    """The text of the file that the message names."""
    assert "Traceback" not in said
    return Path(re.search(r"with the file (.+\.txt)$", said, re.MULTILINE)[1]).read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("error", [KeyError("tags"), RuntimeError("a\n\tb"), AssertionError(), IndexError("x" * 5000)])
def test_an_error_that_no_code_expected_is_a_short_message_and_a_file_with_the_traceback(monkeypatch, capsys, error):
    failing(monkeypatch, error)
    assert main(["scores", "COMP=toy"]) == 70
    said = capsys.readouterr().err
    assert said.startswith(f"error: {type(error).__name__}")
    assert len(said.splitlines()) == 2
    assert len(said) < 700
    assert "this is a bug in Tandem: please report it on the issues page of its repository, with the file build" in said
    text = reported(said)
    assert f"Python {sys.version.split()[0]}" in text
    assert "command: tandem scores COMP=toy\n" in text
    assert 'in fail\n    raise error' in text  # fmt: skip


def test_the_report_holds_nothing_of_the_environment(monkeypatch, capsys):
    monkeypatch.setenv("KAGGLE_KEY", "0123456789abcdef")
    failing(monkeypatch, KeyError("tags"))
    main(["scores", "COMP=toy"])
    assert "0123456789abcdef" not in reported(capsys.readouterr().err)


def test_a_report_goes_to_the_temporary_folder_where_this_one_takes_none(monkeypatch, capsys, tmp_path):
    Path("build").write_text("a file")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "other"))
    failing(monkeypatch, KeyError("tags"))
    assert main(["scores", "COMP=toy"]) == 70
    assert "KeyError: 'tags'" in reported(capsys.readouterr().err)
    assert [file.suffix for file in (tmp_path / "other").iterdir()] == [".txt"]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes")]
)
def test_where_memory_ran_out_nothing_is_said_of_a_bug(monkeypatch, capsys, error):
    failing(monkeypatch, error)
    assert main(["scores", "COMP=toy"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: memory ran out")
    assert len(said.splitlines()) == 1


def test_a_package_that_is_not_there_is_named_with_the_command_that_installs_it(monkeypatch, capsys):
    failing(monkeypatch, ModuleNotFoundError("No module named 'lightgbm.basic'", name="lightgbm.basic"))
    assert main(["scores", "COMP=toy"]) == 2
    assert capsys.readouterr().err == "error: the package lightgbm.basic is not installed; run: make setup\n"


def test_too_deep_nesting_is_said_in_words(monkeypatch, capsys):
    failing(monkeypatch, RecursionError("maximum recursion depth exceeded"))
    assert main(["scores", "COMP=toy"]) == 70
    assert "nested too deeply" in capsys.readouterr().err


def test_an_error_of_a_thread_is_reported_and_the_command_goes_on(monkeypatch, capsys):
    def run(args):
        thread = threading.Thread(target=lambda: {}["tags"])
        thread.start()
        thread.join()
        return 0

    monkeypatch.setattr(scores, "main", run)
    before = threading.excepthook
    assert main(["scores", "COMP=toy"]) == 0
    assert threading.excepthook is before
    assert "KeyError: 'tags'" in reported(capsys.readouterr().err)


def test_an_error_of_a_process_that_does_work_is_reported_with_its_traceback(tmp_path):
    Path("run.py").write_text(IN_A_WORKER)
    names = os.environ | {"PYTHONPATH": str(SRC)}
    run = subprocess.run([sys.executable, "run.py"], capture_output=True, text=True, timeout=60, env=names)
    assert run.returncode == 70, run.stderr
    assert run.stderr.startswith("error: ZeroDivisionError: ")
    assert "in run_unit" in reported(run.stderr)


def test_an_error_whose_class_takes_other_arguments_comes_back_from_a_process():
    with pytest.raises(ValueError, match="no row"):
        run_in_new_process(call, "test_bug_report:raise_csv_error")
    assert run_in_new_process(len, "ab") == 2


def raise_csv_error() -> None:
    from tandem.data.csv_repair import CsvError

    raise CsvError(3, "no row")

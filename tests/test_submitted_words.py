"""What people see of a whole run, and of the pages it leads to, on a competition that is submitted in seconds."""

import os
import subprocess
import sys
from pathlib import Path

from small_competition import write_small

from tandem.__main__ import main
from tandem.artifacts.paths import Paths

SRC = Path(__file__).parents[1] / "src"


def submit_unread(folder: Path) -> subprocess.CompletedProcess[str]:
    """`submit` of the words, whose output nobody reads."""
    read, write = os.pipe()
    os.close(read)
    try:
        return subprocess.run(
            [sys.executable, "-m", "tandem", "submit", "small", "EXPS=words"],
            stdout=write, stderr=subprocess.PIPE, text=True, cwd=folder, timeout=120,
            env={**os.environ, "PYTHONPATH": str(SRC)},
        )  # fmt: skip
    finally:
        os.close(write)


def test_a_link_is_printed_and_opened_only_where_open_is_1(submitted, monkeypatch, capsys):
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    link = submitted.report.resolve().as_uri()
    assert main(["report", "small", "EXP=words"]) == 0
    assert link in capsys.readouterr().out.splitlines()
    assert opened == []
    assert main(["report", "small", "EXP=words", "OPEN=1"]) == 0
    assert opened == [link]


def test_a_run_with_nothing_to_do_whose_output_is_closed_ends_quietly(submitted):
    run = submit_unread(Path())
    assert (run.returncode, run.stderr) == (0, "")


def test_a_run_whose_output_is_closed_before_its_end_is_unfinished(tmp_path):
    write_small(tmp_path)
    run = submit_unread(tmp_path)
    assert run.returncode == 141
    assert "Traceback" not in run.stderr
    assert not Paths("small", tmp_path).submission("words").exists()

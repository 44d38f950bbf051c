"""`tandem STAGE ...`: the words of make, what is refused, and that no result depends on how many tasks run at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_plan import MEMBERS, write_toy

from tandem.__main__ import as_options, main
from tandem.artifacts.paths import Paths
from tandem.stages import submit
from tandem.stages._run import bring_up_to_date

SRC = Path(__file__).parents[1] / "src"
MADE = ("features", "folds", "models", "oof", "submissions")
MEASURED = {"seconds", "seconds_per_fold", "rows_per_second", "peak_mb"}


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Paths:
    """A competition that is not even checked."""
    monkeypatch.chdir(tmp_path)
    write_toy(Paths("toy"))
    return Paths("toy")


def test_the_words_of_make_are_understood_as_options(monkeypatch):
    calls = []
    monkeypatch.setattr(submit, "main", calls.append)
    assert main(["submit", "COMP=x", "EXPS=a b", "STACK=two"]) == 0
    assert main(["submit", "x", "--exps", "a b", "--stack", "two"]) == 0
    assert calls[0] == calls[1]
    assert (calls[0].comp, calls[0].exps, calls[0].stack) == ("x", "a b", "two")


def test_words_may_come_in_any_order(monkeypatch):
    calls = []
    monkeypatch.setattr(submit, "main", calls.append)
    assert main(["submit", "STACK=two", "EXPS=a b", "COMP=x"]) == 0
    assert (calls[0].comp, calls[0].exps, calls[0].stack) == ("x", "a b", "two")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["predict", "FAST=1", "COMP=x"], ["predict", "x", "--fast"]),
        (["predict", "FAST=", "x"], ["predict", "x"]),
        (["add-predictions", "REMOVE=0", "AGAIN=1"], ["add-predictions", "--again"]),
        (["COMP=x", "scores"], ["scores", "x"]),
    ],
)
def test_a_flag_of_make_is_an_option_without_a_value(words, options):
    assert as_options(words) == options


def test_an_unknown_experiment_is_refused_and_those_there_are_are_listed(toy, capsys):
    assert main(["train", "COMP=toy", "EXPS=words nothing"]) == 2
    refused, there = capsys.readouterr().err.split("; there are: ")
    assert refused == "error: EXPS: nothing has no file in configs/ that fits this competition"
    assert set(MEMBERS) <= set(there.split()) and "nothing" not in there
    assert not toy.models_dir("words").exists()


def test_an_unknown_target_of_a_plan_lists_those_there_are(toy, capsys):
    assert main(["plan", "toy", "TARGET=trian"]) == 2
    there = "train check folds features decode stack submit"
    assert capsys.readouterr().err == (
        f"error: TARGET=trian: not a target that can be planned; there are: {there}; "
        "run: make plan COMP=toy TARGET=train\n"
    )


def test_an_unknown_stage_is_refused_and_those_there_are_are_listed(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["trian", "toy"])
    assert ended.value.code == 2
    assert "'submit'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["FOO=1", "NAME=clip"], "error: not expected: FOO=1; tandem add-features takes COMP= NAME= FILE= TRAIN="),
        ([], "error: add-features needs NAME=; tandem add-features takes COMP= NAME= FILE="),
    ],
)
def test_a_wrong_argument_is_one_line_that_says_what_the_command_takes(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["add-features", "toy", *words])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message)


def test_a_stage_is_a_module_that_can_be_run_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(SRC))
    run = subprocess.run(
        [sys.executable, "-m", "tandem", "scores", "COMP=toy"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2
    assert "run: make" in run.stderr


def content(file: Path) -> object:
    """Its bytes; of JSON the values, without what was measured."""

    def kept(values: dict) -> dict:
        return {name: value for name, value in values.items() if name not in MEASURED}

    return json.loads(file.read_bytes(), object_hook=kept) if file.suffix == ".json" else file.read_bytes()


@pytest.mark.slow
def test_no_result_depends_on_how_many_tasks_run_at_once(tmp_path, monkeypatch, capfd):
    made = []
    for cores in ("1", "2"):
        monkeypatch.setenv("TANDEM_THREADS", cores)
        folder = tmp_path / cores
        folder.mkdir()
        monkeypatch.chdir(folder)
        write_toy(Paths("toy"))
        bring_up_to_date("toy", "submit")
        files = (file for top in MADE for file in (folder / top).rglob("*") if file.is_file())
        made.append({str(file.relative_to(folder)): content(file) for file in files})
    assert made[0] == made[1]
    for file in ("submissions/toy/stack.csv", *(f"models/toy/{name}/fold1.safetensors" for name in MEMBERS)):
        assert made[0][file]
    capfd.readouterr()
    bring_up_to_date("toy", "submit")
    assert capfd.readouterr().out == "Nothing to be done for 'submit': all results are current.\n"

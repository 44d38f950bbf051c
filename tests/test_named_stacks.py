"""Two stacks of one competition side by side: `stack` of two experiments, and `two` of one of them and a third."""

import contextlib
import shutil
from pathlib import Path

import pytest
from checked import write_experiment
from in_turn import in_turn
from test_plan import MEMBERS, write_toy

from tandem.__main__ import main
from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.experiments import TfidfExperiment
from tandem.config.training import Tfidf
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments
from tandem.inference.labeler import Labeler
from tandem.report.collect import gather

TWO = ["words", "rough"]


def files(paths: Paths, name: str) -> dict[str, bytes]:
    """The content of everything that belongs to an experiment or a stack."""
    places = (paths.experiment(name), paths.models_dir(name), paths.submission(name).parent)
    found = [file for place in places for file in place.rglob("*") if file.is_file()]
    mine = [file for file in found if name in file.parts or file.stem == name]
    return {str(file): file.read_bytes() for file in mine}


@contextlib.contextmanager
def in_this_process():
    """Heavy tasks run here: no process of their own has to load torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANDEM_THREADS", "1")
        patch.setattr("tandem.stages._run.run_in_new_process", in_turn)
        yield


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """A checkout with both stacks, and the files of the first one before the second was made."""
    root = tmp_path_factory.mktemp("stacks")
    with contextlib.chdir(root), in_this_process():
        paths = Paths("toy")
        write_toy(paths)
        write_experiment(paths, "rough", TfidfExperiment(kind="tfidf", tfidf=Tfidf(c=0.5)))
        assert main(["submit", "COMP=toy"]) == 0
        before = files(paths, "stack")
        assert main(["submit", "COMP=toy", f"EXPS={' '.join(TWO)}", "STACK=two"]) == 0
    return root, before


@pytest.fixture
def paths(both, monkeypatch):
    """The checkout, not to be changed."""
    monkeypatch.chdir(both[0])
    with in_this_process():
        yield Paths("toy")


@pytest.fixture
def copied(both, tmp_path, monkeypatch):
    """A copy, to be changed."""
    shutil.copytree(both[0], tmp_path / "copy", copy_function=shutil.copy2)
    monkeypatch.chdir(tmp_path / "copy")
    with in_this_process():
        yield Paths("toy")


def test_each_stack_has_its_own_predictions_models_and_submission(paths, both):
    assert list(read_json(paths.run("stack"))["members"]) == MEMBERS
    assert list(read_json(paths.run("two"))["members"]) == TWO
    assert read_json(paths.run("two"))["experiment"] == "two"
    for place in (paths.oof, paths.test, paths.stack, paths.thresholds, paths.scores, paths.submission):
        assert place("stack").exists() and place("two").exists()
    assert Predictions.read(paths.oof("two")).provenance["experiment"] == "two"
    assert read_json(paths.submission("two").with_suffix(".json"))["experiment"] == "two"
    assert files(paths, "stack") == both[1], "the first stack was not touched"


def test_the_score_table_has_both_and_says_what_they_are_made_of(paths, capsys):
    assert main(["scores", "COMP=toy"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "two: the stack of words, rough" in printed and "stack: the stack of looks, words" in printed


@pytest.mark.parametrize("stack", [[], ["STACK=two"], ["STACK=two", "EXPS=words rough"]])
def test_a_second_run_of_either_does_nothing(paths, capsys, stack):
    assert main(["submit", "COMP=toy", *stack]) == 0
    assert "Nothing to be done for 'submit'" in capsys.readouterr().out


def test_a_stack_of_the_same_members_has_the_keys_of_the_default_one(paths):
    graph = Graph.open(paths)
    keys = [[a.key for a in graph.predictions(name, MEMBERS)] for name in ("stack", "copy")]
    assert (
        keys[0]
        == keys[1]
        == [read_json(paths.run("stack"))["key"], Predictions.read(paths.test("stack")).provenance["key"]]
    )


def test_a_changed_member_makes_only_its_stacks_stale(copied, capsys):
    file = copied.configs / "rough.toml"
    file.write_text(file.read_text().replace("c = 0.5", "c = 0.25"))
    assert main(["plan", "COMP=toy"]) == 0
    assert "Nothing to be done" in capsys.readouterr().out
    assert main(["plan", "COMP=toy", "STACK=two"]) == 0
    planned = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert planned[:-1] == ["rough", "decode rough", "stack two", "decode two", "submit two"]
    opened = Experiments(copied)
    assert opened["stack"].stale_reason == ""
    assert "its member rough" in opened["two"].stale_reason
    assert opened["two"].command == "make submit COMP=toy STACK=two"


def test_other_members_are_fitted_with_a_line_that_says_how_to_keep_both(copied, capsys):
    assert main(["stack", "COMP=toy", "EXPS=looks rough"]) == 0
    line = "stack was fitted on looks, words, now on looks, rough; with STACK=NAME, a name of your own, both are kept"
    assert line in capsys.readouterr().out
    assert list(read_json(copied.run("two"))["members"]) == TWO


def test_without_named_members_a_new_stack_has_those_of_the_competition(copied, capsys):
    assert main(["stack", "COMP=toy", "STACK=three"]) == 0
    assert "STACK=three: a new stack, of the competition's own experiments: looks, words" in capsys.readouterr().out
    assert list(read_json(copied.run("three"))["members"]) == MEMBERS


def test_a_stack_of_one_experiment_is_a_stack_where_it_has_a_name(copied):
    assert Graph.open(copied).goal("submit", ["words"]) == ["decode words", "submit words"]
    assert Graph.open(copied).goal("submit", ["words"], "alone") == ["decode words", "submit alone"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["STACK=words"], "STACK=words: this is the name of an experiment, configs/words.toml; choose another"),
        (["STACK=../two"], "STACK: '../two': expected lower-case letters"),
        (["EXPS=two"], "EXPS: two is a stack, not an experiment; expected STACK=two"),
        (["EXPS=nothing", "STACK=two"], "EXPS: nothing has no file in configs/"),
    ],
)
def test_a_name_that_is_no_stack_or_no_experiment_is_refused(paths, capsys, words, message):
    before = files(paths, "two")
    assert main(["submit", "COMP=toy", *words]) == 2
    assert message in capsys.readouterr().err
    assert files(paths, "two") == before


def test_new_images_are_labelled_by_the_stack_that_is_named(paths, tmp_path):
    rows = ["IMAGES=input/toy/data", f"OUT={tmp_path / 'labels.csv'}"]
    captions = tmp_path / "captions.csv"
    captions.write_text("image,caption\n" + "".join(f"{i}.jpg,a cat here\n" for i in range(60)))
    assert main(["predict", "COMP=toy", "EXP=two", f"CAPTIONS={captions}", *rows]) == 0
    assert (tmp_path / "labels.csv").read_text().startswith("image,labels")
    labeler = Labeler.of(paths, "two")
    test = Predictions.read(paths.test("two"))
    texts = dict(line.split(",") for line in (paths.input / "test.csv").read_text().splitlines()[1:])
    proba = labeler.predict_proba(
        [paths.input / "data" / name for name in test.ids], [texts[name] for name in test.ids]
    )
    assert abs(proba - test.proba).max() < 1e-3


def test_report_bundle_and_explain_take_the_name_of_a_stack(copied, capsys):
    assert gather(Experiments(copied), "two").focus.run["experiment"] == "two"
    assert gather(Experiments(copied)).focus.name == "stack"
    assert main(["bundle", "COMP=toy", "EXP=two"]) == 0
    labeler = Labeler.load(copied.bundle)
    assert {member.name for member in labeler.predictor.members} <= set(TWO)
    assert labeler.predictor.stack is not None
    assert main(["explain", "COMP=toy", "ID=0.jpg", "EXP=two"]) == 0
    assert "two" in capsys.readouterr().out


@pytest.mark.parametrize(
    "stage", [["report"], ["explain", "ID=0.jpg"], ["bundle"], ["predict", "IMAGES=.", "OUT=a.csv"]]
)
def test_an_unknown_name_lists_stacks_too(paths, capsys, stage):
    assert main([*stage, "COMP=toy", "EXP=nothing"]) == 2
    refused = capsys.readouterr().err
    assert all(name in refused for name in ("nothing", "words", "rough", "stack", "two"))

"""Why a trained experiment is stale, in words."""

import shutil

import pytest
from checked import changed_json, run_tasks, write_competition, write_experiment
from test_training import NAMES, fit_fold, paths, write_config  # noqa: F401

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.paths import Paths
from tandem.config.experiments import FusionExperiment
from tandem.data.split_tables import read_labels, write_labels
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.graph.keys import STACK
from tandem.inference.bundle_reader import open_bundle
from tandem.runtime.wrong_values import WrongValue


@pytest.fixture
def scored(paths) -> Paths:  # noqa: F811
    """The experiment `words`, trained and scored."""
    run_tasks(paths, "train words", "decode words")
    return paths


def opened(paths: Paths, name: str = "words") -> ExperimentDir:  # noqa: F811
    return Experiments(paths)[name]


def test_what_was_just_trained_and_scored_is_current(scored):
    assert (opened(scored).stale_reason, opened(scored).decoder_stale_reason) == ("", "")
    assert opened(scored).require_current().name == "words"


def test_another_setting_is_named_with_both_values(scored):
    write_config(scored, tfidf={"c": 2.0})
    assert opened(scored).stale_reason == "configs/words.toml tfidf.c 4.0 -> 2.0"
    with pytest.raises(
        ValueError, match=r"'words' is stale: configs/words\.toml tfidf\.c .*; run: make train COMP=toy EXPS=words"
    ):
        opened(scored).require_current()


def test_a_training_that_was_broken_off_is_named(scored):
    write_config(scored, tfidf={"c": 2.0})
    fit_fold(scored, 0)
    assert opened(scored).stale_reason == "its training was interrupted"


def test_changed_folds_are_named(scored):
    scored.folds.write_text(scored.folds.read_text().replace("0.jpg,0,0", "0.jpg,1,0"))
    assert opened(scored).stale_reason == "fold map changed"


def test_what_has_no_file_in_configs_any_more_stays_as_it_was_trained(scored):
    write_experiment(scored, "more", opened(scored).config)
    write_competition(scored, NAMES, experiments=["more"])
    (scored.configs / "words.toml").unlink()
    assert opened(scored).stale_reason == ""
    labels = read_labels(scored.labels)
    write_labels(scored.labels, labels[0], labels[1], 1 - labels[2])
    assert opened(scored).stale_reason == "labels changed"


def test_more_models_than_there_are_is_an_error(scored):
    assert len(opened(scored).models()) == len(opened(scored).models(3)) == 3
    for most in (-1, 4):
        with pytest.raises(ValueError, match=rf"FOLDS={most}: words has 3 models"):
            opened(scored).models(most)


def write_stack(paths: Paths) -> None:  # noqa: F811
    """As if a stack had been fitted on `words`."""
    write_json(paths.run(STACK), {"members": {"words": read_json(paths.run("words"))["key"]}, "key": "s", "inputs": {}})


def test_a_stack_is_stale_where_a_member_was_trained_again(scored):
    write_stack(scored)
    assert opened(scored, STACK).stale_reason == ""
    changed_json(scored.run("words"), key="another")
    assert opened(scored, STACK).stale_reason == "its member words was trained again since"


def test_a_stack_is_stale_where_a_member_is(scored):
    write_stack(scored)
    write_config(scored, tfidf={"c": 2.0})
    assert opened(scored, STACK).stale_reason == "its member words: configs/words.toml tfidf.c 4.0 -> 2.0"


def test_another_metric_makes_scores_stale_and_models_not(scored):
    write_competition(scored, NAMES, experiments=["words"], metric="f1_macro")
    assert opened(scored).stale_reason == ""
    assert opened(scored).decoder_stale_reason == "competition.toml metric 'f1_samples' -> 'f1_macro'"
    with pytest.raises(ValueError, match=r"'words' is stale: competition\.toml metric"):
        opened(scored).require_current()


def test_other_groups_of_near_duplicates_in_the_same_folds_make_scores_stale(scored):
    header, *lines = scored.folds.read_text().splitlines()
    assert header == "id,fold,group"
    joined = [f"{line.rsplit(',', 1)[0]},{min(int(line.rsplit(',', 1)[1]), 1)}" for line in lines]
    scored.folds.write_text("\n".join([header, *joined, ""]))
    assert opened(scored).stale_reason == ""
    assert opened(scored).decoder_stale_reason == "groups changed"


def test_scores_of_earlier_models_are_stale(scored):
    write_config(scored, tfidf={"c": 2.0})
    run_tasks(scored, "train words")
    assert opened(scored).decoder_stale_reason == "it was trained again since it was scored"
    run_tasks(scored, "decode words")
    assert opened(scored).decoder_stale_reason == ""


def test_what_is_not_trained_or_not_scored_is_named(scored):
    assert opened(scored, "other").stale_reason == "it is not trained"
    with pytest.raises(WrongValue, match="EXP=other: not scored; there are: words"):
        opened(scored, "other").require_current()
    scored.scores("words").unlink()
    assert opened(scored).decoder_stale_reason == "it is not scored"


def test_what_lies_in_a_bundle_is_never_stale(packed, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    experiments = Experiments(open_bundle(packed)[0])
    for name in (STACK, *experiments[STACK].members):
        assert experiments[name].stale_reason == ""
    assert experiments[STACK].decoder_stale_reason == ""


def test_without_the_checked_tables_only_the_settings_count(scored):
    shutil.rmtree(scored.build)
    assert opened(scored).stale_reason == ""
    write_config(scored, tfidf={"c": 2.0})
    assert opened(scored).stale_reason == "configs/words.toml tfidf.c 4.0 -> 2.0"


@pytest.mark.parametrize("tune_from", [18, 19])  # there are 18 rows
def test_without_the_checked_tables_the_number_of_rows_that_it_was_trained_on_is_kept(paths, tune_from):  # noqa: F811
    train = {"tune_from": tune_from, "backbone_lr": 1e-3, "caption_lr": 1e-3}
    join = FusionExperiment(kind="fusion", trunk={}, tokens={}, train=train)
    write_experiment(paths, "join", join)
    graph = Graph.open(paths)
    for k in graph.fold_numbers:
        write_json(paths.model("join", k, ".json"), graph.fold("join", k).made_from)
    write_json(paths.run("join"), {**graph.oof("join").made_from, "config": join.model_dump(), "folds": [0, 1, 2]})
    assert opened(paths, "join").stale_reason == ""
    shutil.rmtree(paths.build)
    assert opened(paths, "join").stale_reason == ""

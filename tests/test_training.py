import os
import re

import numpy as np
import pytest
from checked import run_tasks, write_competition, write_experiment, write_folds, write_split

from tandem.artifacts.atomic_io import read_json, write_text
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.experiments import FusionExperiment, TfidfExperiment
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.split_tables import write_captions, write_labels
from tandem.graph.declared_stages import Graph
from tandem.graph.keys import Artifact
from tandem.metrics import f1_samples, log_loss
from tandem.training.fold_job import FoldJob

NAMES = ("cat", "dog")
CAPTIONS = ["a red cat", "the cat sleeps", "one dog", "a dog runs", "cat and dog", "a big cat"] * 3
Y = np.array([[name in caption for name in NAMES] for caption in CAPTIONS], np.uint8)
IDS = [f"{i}.jpg" for i in range(18)]
FOLD = [i // 6 for i in range(18)]
TEST = ["the dog", "a cat"]


@pytest.fixture
def paths(tmp_path, monkeypatch) -> Paths:
    """A checked competition with folds and one tf-idf experiment, `words`."""
    monkeypatch.chdir(tmp_path)
    paths = Paths("toy")
    write_split(paths, "train", IDS, CAPTIONS)
    write_split(paths, "test", ["98.jpg", "99.jpg"], TEST)
    write_labels(paths.labels, IDS, NAMES, Y)
    write_folds(paths, IDS, FOLD)
    write_competition(paths, NAMES, experiments=["words"])
    write_config(paths)
    return paths


def write_config(paths: Paths, **changes) -> None:
    write_experiment(paths, "words", TfidfExperiment(kind="tfidf", **changes))


def train() -> None:
    run_tasks(Paths("toy"), "train words")


def artifact(paths: Paths, k: int) -> Artifact:
    return Graph.open(paths).fold("words", k)


def fit_fold(paths: Paths, k: int) -> None:
    """Fits one fold alone."""
    job = FoldJob(paths, "words", Graph.open(paths).experiments["words"])
    job.fit_fold(k, artifact(paths, k).made_from, lambda entry: None)


def is_current(paths: Paths, k: int) -> bool:
    return not artifact(paths, k).stale_reason()


def fold_of(paths: Paths, k: int) -> list:
    return Predictions.read(paths.model("words", k, ".parquet")).proba.tolist()


def test_every_training_row_is_predicted_out_of_fold_and_every_test_row(paths):
    train()
    oof, test = Predictions.read(paths.oof("words")), Predictions.read(paths.test("words"))
    assert (list(oof.ids), oof.names) == (IDS, NAMES)
    assert (list(test.ids), test.names) == (["98.jpg", "99.jpg"], NAMES)
    assert ((oof.proba > 0.5) == Y).mean() > 0.8
    assert test.proba.argmax(1).tolist() == [1, 0]
    assert oof.provenance["folds"] == test.provenance["folds"] == read_labelled_rows(paths).fold_digest
    run = read_json(paths.run("words"))
    assert run["key"] == oof.provenance["key"] and len(run["seconds_per_fold"]) == 3


def test_labels_of_a_fold_do_not_change_its_out_of_fold_rows(paths):
    train()
    before = [fold_of(paths, k) for k in range(3)]
    y = Y.copy()
    y[np.array(FOLD) == 1] = 1 - y[np.array(FOLD) == 1]
    write_labels(paths.labels, IDS, NAMES, y)
    train()
    after = [fold_of(paths, k) for k in range(3)]
    assert after[1] == before[1]
    for k in (0, 2):  # half of what they learn from is wrong now
        assert log_loss(Y[6 * k : 6 * k + 6], np.array(after[k])) > log_loss(Y[6 * k : 6 * k + 6], np.array(before[k]))


def test_a_second_run_fits_and_writes_nothing(paths):
    train()
    written = [paths.model("words", k, ".safetensors") for k in range(3)] + [paths.oof("words"), paths.test("words")]
    for file in written:
        os.utime(file, (1000, 1000))
    train()
    assert [file.stat().st_mtime for file in written] == [1000] * 5


def test_a_new_test_set_fits_nothing_but_is_predicted(paths):
    train()
    weights = paths.model("words", 0, ".safetensors")
    os.utime(weights, (1000, 1000))
    write_split(paths, "test", ["97.jpg"], ["dog dog"])
    train()
    assert weights.stat().st_mtime == 1000
    assert list(Predictions.read(paths.test("words")).ids) == ["97.jpg"]


@pytest.mark.parametrize(("rows", "rate"), [(7, 0.0), (8, 1e-3)])
def test_late_stages_learn_from_as_many_labelled_rows_as_are_asked_for(rows, rate):
    train = {"tune_from": 8, "backbone_lr": 1e-3, "caption_lr": 1e-3, "lr": 1e-2}
    made = FusionExperiment(kind="fusion", trunk={}, tokens={}, train=train).as_trained(rows).train
    assert (made.backbone_lr, made.caption_lr, made.lr) == (rate, rate, 1e-2)


def test_the_record_of_a_fold_has_the_f1_at_one_half_of_its_held_out_rows(paths, capsys):
    train()
    rows = np.flatnonzero(np.array(FOLD) == 1)
    held_out = f1_samples(Y[rows], np.array(fold_of(paths, 1)) > 0.5)
    assert held_out > 0.5 and read_json(paths.model("words", 1, ".json"))["held_out_f1"] == held_out
    # nothing is logged in a fit without epochs
    assert re.search(rf"words fold 1 done \(2 of 3\): held-out F1 {held_out:.3f}, \d+ s\n", capsys.readouterr().out)


def test_one_fold_can_be_fitted_alone(paths):
    fit_fold(paths, 1)
    assert [is_current(paths, k) for k in range(3)] == [False, True, False]
    assert not paths.oof("words").exists()


def changed_config(paths):
    write_config(paths, tfidf={"words": 1})


def changed_folds(paths):
    write_text(paths.folds, paths.folds.read_text().replace("0.jpg,0,0", "0.jpg,1,0"))


def changed_labels(paths):
    write_labels(paths.labels, IDS, NAMES, 1 - Y)


def changed_captions(paths):
    write_captions(paths.captions("train"), IDS, ["a blue cat", *CAPTIONS[1:]])


@pytest.mark.parametrize("change", [changed_config, changed_folds, changed_labels, changed_captions])
def test_a_fold_is_current_until_what_made_it_changes(paths, change):
    fit_fold(paths, 0)
    assert is_current(paths, 0)
    change(paths)
    assert not is_current(paths, 0)


def test_a_fold_whose_file_is_gone_is_not_current(paths):
    fit_fold(paths, 0)
    paths.model("words", 0, ".safetensors").unlink()
    assert not is_current(paths, 0)


def test_the_checkpoint_of_another_configuration_is_removed(paths):
    stale, other = paths.model("words", 0, ".abc.checkpoint"), paths.model("words", 1, ".abc.checkpoint")
    write_text(stale, "")
    write_text(other, "")
    fit_fold(paths, 0)
    assert not stale.exists() and other.exists()


def test_a_fold_map_that_lacks_a_row_is_refused(paths):
    write_text(paths.folds, paths.folds.read_text().replace("3.jpg,0,3\n", "", 1))
    with pytest.raises(ValueError, match=r"17 rows, 18 training rows, 1 without a fold, first: 3\.jpg"):
        train()


def test_without_a_test_table_all_but_the_submission_is_made_and_adding_one_retrains_nothing(paths):
    for file in (paths.images("test"), paths.captions("test")):
        file.unlink()
    write_competition(paths, NAMES, test=None, experiments=["words"])
    graph = Graph.open(paths)
    assert graph.goal("submit") == ["decode words", "decode stack"]
    assert list(graph.tasks(graph.goal("submit")))[-3:] == ["decode words", "stack", "decode stack"]
    run_tasks(paths, "train words", "decode words", "stack", "decode stack")
    assert paths.scores("stack").exists() and not paths.test("words").exists() and not paths.test("stack").exists()
    write_competition(paths, NAMES, experiments=["words"])
    write_split(paths, "test", ["98.jpg", "99.jpg"], TEST)
    graph = Graph.open(paths)
    assert [artifact.name for artifact, _ in graph.task("train words").stale()] == ["words test"]
    assert [artifact.name for artifact, _ in graph.task("stack").stale()] == ["stack test"]
    run_tasks(paths, "train words", "stack")
    assert list(Predictions.read(paths.test("stack")).ids) == ["98.jpg", "99.jpg"]

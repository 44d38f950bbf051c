import os
from types import SimpleNamespace

import numpy as np
import pytest
from checked import write_folds, write_split

from tandem.artifacts.atomic_io import read_json, write_json, write_text
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions, read_provenance
from tandem.config.experiments import FusionExperiment, TfidfExperiment
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.split_tables import write_captions, write_labels
from tandem.stages.train import main
from tandem.training.fold_job import Job

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
    write_config(paths)
    return paths


def write_config(paths: Paths, **changes) -> None:
    experiment = TfidfExperiment(kind="tfidf", **changes)
    write_json(paths.experiment_config("words"), experiment.model_dump())


def train(fold: int | None = None) -> None:
    main(SimpleNamespace(comp="toy", exp="words", fold=fold))


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
    assert after[0] != before[0] and after[2] != before[2]


def test_a_second_run_fits_nothing(paths):
    train()
    weights = [paths.model("words", k, ".safetensors") for k in range(3)]
    for file in [*weights, paths.oof("words"), paths.test("words")]:
        os.utime(file, (1000, 1000))
    train()
    assert [file.stat().st_mtime for file in weights] == [1000] * 3
    assert paths.oof("words").stat().st_mtime > 1000  # so that make sees it newer than what it was built from
    assert paths.test("words").stat().st_mtime > 1000


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


def test_one_fold_can_be_fitted_alone(paths):
    train(fold=1)
    assert [Job(paths, "words").fold_is_current(k) for k in range(3)] == [False, True, False]
    assert not paths.oof("words").exists()
    with pytest.raises(ValueError, match=r"--fold 7: expected one of \[0, 1, 2\]"):
        train(fold=7)


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
    Job(paths, "words").fit_fold(0, lambda entry: None)
    assert Job(paths, "words").fold_is_current(0)
    change(paths)
    assert not Job(paths, "words").fold_is_current(0)


def test_a_fold_whose_file_is_gone_is_not_current(paths):
    Job(paths, "words").fit_fold(0, lambda entry: None)
    paths.model("words", 0, ".safetensors").unlink()
    assert not Job(paths, "words").fold_is_current(0)


def test_the_checkpoint_of_another_configuration_is_removed(paths):
    stale, other = paths.model("words", 0, ".abc.checkpoint"), paths.model("words", 1, ".abc.checkpoint")
    write_text(stale, "")
    write_text(other, "")
    Job(paths, "words").fit_fold(0, lambda entry: None)
    assert not stale.exists() and other.exists()


def test_a_fold_map_that_lacks_a_row_is_refused(paths):
    write_text(paths.folds, paths.folds.read_text().replace("3.jpg,0,3\n", "", 1))
    with pytest.raises(ValueError, match=r"17 rows, 18 training rows, 1 without a fold, first: 3\.jpg"):
        Job(paths, "words")


def test_without_test_rows_there_are_no_test_predictions(paths):
    paths.images("test").unlink()
    train()
    assert paths.oof("words").exists()
    assert read_provenance(paths.test("words")) == {}

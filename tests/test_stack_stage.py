import numpy as np
import pandas as pd
import pytest
from checked import run_tasks, write_competition, write_experiment, write_folds

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.contributions import NO_CAPTION, TERMS, read_contributions, write_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions, read_provenance
from tandem.config.encoders import CaptionEncoder, ImageEncoder
from tandem.config.experiments import FusionExperiment, HeadExperiment, TfidfExperiment
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.split_tables import write_captions, write_labels
from tandem.ensemble.second_level_fit import SecondLevelFit
from tandem.ensemble.stacking import StackInputs, load_stack, read_stack
from tandem.logits import sigmoid
from tandem.metrics import log_loss

NAMES = ("cat", "dog")
N, TEST_N = 600, 20
IDS, TEST_IDS = [f"{i}.jpg" for i in range(N)], [f"t{i}.jpg" for i in range(TEST_N)]


@pytest.fixture
def paths(tmp_path, monkeypatch) -> Paths:
    """Two members, of which `one` knows cats and `two` dogs better, and one of noise, `noise`."""
    monkeypatch.chdir(tmp_path)
    paths, rng = Paths("toy"), np.random.default_rng(0)
    y = (rng.random((N, 2)) < [0.6, 0.4]).astype(np.uint8)
    write_labels(paths.labels, IDS, NAMES, y)
    write_folds(paths, IDS, [i % 3 for i in range(N)])
    write_competition(paths, NAMES, experiments=["one", "two", "noise"])
    for split, ids in (("train", IDS), ("test", TEST_IDS)):
        write_captions(paths.captions(split), ids, ["a caption"] * len(ids))
    for name, known in (("one", [2.0, 0.5]), ("two", [0.5, 2.0]), ("noise", [0.0, 0.0])):
        write_experiment(paths, name, TfidfExperiment(kind="tfidf"))
        write_json(paths.run(name), {"model_mb": 1.0})
        write_member(paths, name, sigmoid(np.array(known) * (2.0 * y - 1) + rng.normal(size=y.shape)))
        test = Predictions(TEST_IDS, NAMES, rng.random((TEST_N, 2)), {"key": name})
        test.write(paths.test(name))
    return paths


def write_member(paths: Paths, name: str, proba: np.ndarray, folds: str | None = None) -> None:
    folds = folds or read_labelled_rows(paths).fold_digest
    origin = {"key": name, "folds": folds, "competition": "toy"}
    Predictions(IDS, NAMES, proba, origin).write(paths.oof(name))


def stack(*members: str) -> None:
    run_tasks(Paths("toy"), "stack", members=members)


def test_a_stack_is_an_experiment_folder_like_any_other(paths):
    stack("one", "two", "noise")
    assert list(Predictions.read(paths.oof("stack")).ids) == IDS
    assert list(Predictions.read(paths.test("stack")).ids) == TEST_IDS
    run = read_json(paths.run("stack"))
    assert run["kept"] == "stack" and set(run["weights"]) >= {"one", "two"}
    assert read_provenance(paths.oof("stack"))["folds"] == read_labelled_rows(paths).fold_digest


def test_contributions_of_every_row_add_up_to_its_probability(paths):
    stack("one", "two")
    table = pd.read_parquet(paths.contributions("stack"))
    assert table.groupby("split", observed=True).size().to_dict() == {"train": 2 * N, "test": 2 * TEST_N}
    terms = table[["image", "caption", "fusion", "context", "base"]].sum(axis=1)
    assert np.allclose(terms, table["logit"], atol=1e-5)
    for split in ("oof", "test"):
        proba = pd.read_parquet(getattr(paths, split)("stack")).set_index("id").stack()
        rows = table[table["split"] == ("train" if split == "oof" else "test")]
        assert np.allclose(sigmoid(rows["logit"]), proba.to_numpy(), atol=1e-4)


def test_parts_of_an_unfinished_stack_are_removed_once_it_is_written(paths, monkeypatch):
    fit, fits = SecondLevelFit.__call__, []

    def ended(self, members):
        fits.append(members)
        if len(fits) == 3:
            raise KeyboardInterrupt
        return fit(self, members)

    monkeypatch.setattr(SecondLevelFit, "__call__", ended)
    with pytest.raises(KeyboardInterrupt):
        stack("one", "two")
    (kept,) = paths.build.glob("unfinished/*")
    assert len(list(kept.iterdir())) == 2
    stack("one", "two")
    assert len(fits) == 8 and not paths.build.joinpath("unfinished").exists()


def test_a_stack_of_many_labels_predicts_test_rows_and_needs_all_members(paths, monkeypatch):
    monkeypatch.setattr("tandem.ensemble.second_level_fit.MANY_LABELS", 1)
    stack("one", "two", "noise")
    kept, names = load_stack(paths, "stack")
    assert kept.second.linear is not None and names == ["one", "two", "noise"]
    inputs = [Predictions.read(paths.test(name)).proba for name in names]
    expected = kept.predict_proba(StackInputs.of(inputs, np.full(TEST_N, 2)))
    assert np.allclose(Predictions.read(paths.test("stack")).proba, expected, atol=1e-6)
    (terms,) = [terms for split, _, terms in read_contributions(paths.contributions("stack")) if split == "test"]
    assert np.allclose(sigmoid(terms.sum(-1)), expected, atol=1e-5)


def test_a_member_of_another_fold_map_is_refused(paths):
    write_member(paths, "two", read_labelled_rows(paths).y.astype(float), folds="another")
    with pytest.raises(ValueError, match="different fold maps"):
        stack("one", "two")
    with pytest.raises(ValueError, match="another fold map"):
        stack("two")


def test_where_learning_gains_nothing_the_best_single_member_is_used(paths, capsys):
    rng = np.random.default_rng(1)
    truth = sigmoid(2 * rng.normal(size=(N, 2)))
    write_labels(paths.labels, IDS, NAMES, (rng.random((N, 2)) < truth).astype(np.uint8))
    write_member(paths, "one", truth)  # nothing is left to learn
    stack("one", "noise")
    assert read_json(paths.run("stack"))["kept"] == "one"
    assert "one is used instead" in capsys.readouterr().out
    assert np.allclose(Predictions.read(paths.oof("stack")).proba, truth, atol=1e-3)


def test_new_test_predictions_fit_nothing_again(paths):
    stack("one", "two")
    before = paths.oof("stack").read_bytes(), paths.stack("stack").stat()
    Predictions(["n.jpg"], NAMES, np.array([[0.5, 0.5]]), {"key": "new"}).write(paths.test("one"))
    Predictions(["n.jpg"], NAMES, np.array([[0.9, 0.5]]), {"key": "new"}).write(paths.test("two"))
    write_captions(paths.captions("test"), ["n.jpg"], ["a caption"])
    stack("one", "two")
    assert list(Predictions.read(paths.test("stack")).ids) == ["n.jpg"]
    after = paths.oof("stack").read_bytes(), paths.stack("stack").stat()
    assert before[0] == after[0] and before[1].st_mtime_ns == after[1].st_mtime_ns
    table = pd.read_parquet(paths.contributions("stack"))
    assert set(table.loc[table["split"] == "test", "id"]) == {"n.jpg"}


# ---- rows without a caption


def without_captions(paths: Paths) -> np.ndarray:
    """(n, c) logits, in the order of IDS."""
    (found,) = [terms for split, ids, terms in read_contributions(paths.contributions("stack")) if split == NO_CAPTION]
    return found.sum(-1)


@pytest.fixture
def no_caption(paths) -> Paths:
    """`one` is an image model; `two` uses image and caption, and is less accurate without the caption."""
    image = HeadExperiment(kind="head", image=ImageEncoder())
    write_experiment(paths, "one", image)
    join = FusionExperiment(kind="fusion", frozen=[ImageEncoder()], caption=CaptionEncoder())
    write_experiment(paths, "two", join)
    y, rng = read_labelled_rows(paths).y, np.random.default_rng(1)
    terms = np.zeros((N, 2, len(TERMS)), np.float32)
    terms[:, :, 0] = 2 * (2.0 * y - 1 + rng.normal(size=y.shape))
    write_contributions(paths.contributions("two"), NAMES, [(NO_CAPTION, IDS, terms)])
    return paths


def test_members_that_need_no_caption_form_a_stack_for_rows_without_one(no_caption):
    stack("one", "two", "noise")
    kept = read_stack(no_caption.no_caption_stack("stack").parent)
    assert kept.second.members == [0, 1] and kept.second.weights.tolist() == pytest.approx([0.5, 0.5], abs=0.1)
    y = read_labelled_rows(no_caption).y
    alone = Predictions.read(no_caption.oof("one")).proba
    assert log_loss(y, sigmoid(without_captions(no_caption))) < log_loss(y, alone)


def test_without_captions_labels_of_a_fold_do_not_change_its_stacked_rows(no_caption):
    stack("one", "two")
    before = without_captions(no_caption)
    rows = read_labelled_rows(no_caption)
    y = rows.y.copy()
    y[rows.fold == 1] = 1 - y[rows.fold == 1]
    write_labels(no_caption.labels, IDS, NAMES, y)
    stack("one", "two")
    after = without_captions(no_caption)
    assert np.array_equal(before[rows.fold == 1], after[rows.fold == 1])
    assert not np.allclose(before[rows.fold == 0], after[rows.fold == 0])


def test_where_every_member_needs_captions_there_is_no_stack_without_captions(no_caption):
    stack("one", "two")
    assert no_caption.no_caption_stack("stack").exists()
    stack("noise")
    assert not no_caption.no_caption_stack("stack").exists()


MISSING = np.arange(N) % 4 == 0


@pytest.fixture
def some_missing(no_caption) -> Paths:
    """Every fourth training row and test rows 3 and 5 lack a caption, whatever the white space."""
    write_captions(no_caption.captions("train"), IDS, [" " if gone else "two words" for gone in MISSING])
    texts = ["two words"] * TEST_N
    texts[3], texts[5] = "", "\n\u00a0"
    write_captions(no_caption.captions("test"), TEST_IDS, texts)
    return no_caption


def test_rows_without_a_caption_are_predicted_by_the_stack_without_captions(some_missing):
    stack("one", "two", "noise")
    oof, test = (Predictions.read(getattr(some_missing, split)("stack")).proba for split in ("oof", "test"))
    alone = sigmoid(without_captions(some_missing))
    assert np.allclose(oof[MISSING], alone[MISSING], atol=1e-6)
    assert np.abs(oof[~MISSING] - alone[~MISSING]).mean() > 0.02
    kept = read_stack(some_missing.no_caption_stack("stack").parent)
    members = [Predictions.read(some_missing.test(name)).proba for name in ("one", "two", "noise")]
    expected = kept.predict_proba(StackInputs.of(members, None))
    same = np.isclose(test, expected, atol=1e-6).all(1)
    assert np.flatnonzero(same).tolist() == [3, 5]
    table = pd.read_parquet(some_missing.contributions("stack")).set_index(["split", "id"])
    rows = table.loc[("test", TEST_IDS[3])]
    assert rows["caption"].tolist() == [0, 0] and rows["context"].tolist() == [0, 0]
    assert np.allclose(sigmoid(rows["logit"]), test[3], atol=1e-5)


def test_the_stack_with_captions_learns_from_rows_with_a_caption_alone(some_missing):
    stack("one", "two", "noise")
    before, texts = Predictions.read(some_missing.oof("stack")).proba, read_stack(some_missing.stack("stack").parent)
    assert texts.second.extras_range[:, 1].tolist() == pytest.approx([np.log(3)] * 2)
    words = Predictions.read(some_missing.oof("noise")).proba.copy()
    words[MISSING] = 1 - words[MISSING]  # a caption model on rows without a caption
    write_member(some_missing, "noise", words)
    some_missing.run("stack").unlink()
    stack("one", "two", "noise")
    assert np.array_equal(Predictions.read(some_missing.oof("stack")).proba, before)


def test_where_no_row_of_all_folds_but_one_has_a_caption_all_rows_are_fitted(some_missing):
    captions = ["two words" if i % 3 == 0 else "" for i in range(N)]
    write_captions(some_missing.captions("train"), IDS, captions)
    stack("one", "two")
    oof, alone = Predictions.read(some_missing.oof("stack")).proba, sigmoid(without_captions(some_missing))
    gone = np.arange(N) % 3 != 0
    assert np.allclose(oof[gone], alone[gone], atol=1e-6) and not np.allclose(oof[~gone], alone[~gone], atol=1e-3)


def test_a_stack_of_image_models_that_reads_the_length_of_captions_has_one_without_captions(some_missing):
    write_experiment(some_missing, "noise", HeadExperiment(kind="head", image=ImageEncoder()))
    stack("one", "noise")
    oof, alone = Predictions.read(some_missing.oof("stack")).proba, sigmoid(without_captions(some_missing))
    assert np.allclose(oof[MISSING], alone[MISSING], atol=1e-6)


def test_where_every_member_needs_captions_rows_without_one_are_stacked_like_the_shortest_captions(some_missing):
    write_captions(some_missing.captions("train"), IDS, ["two words" if i % 2 else "a b c d" for i in range(N)])
    write_member(some_missing, "noise", Predictions.read(some_missing.oof("one")).proba)
    stack("noise")
    assert read_json(some_missing.run("stack"))["kept"] == "stack"
    before = Predictions.read(some_missing.test("stack")).proba
    write_captions(some_missing.captions("test"), TEST_IDS, ["two words"] * TEST_N)
    stack("noise")
    assert np.array_equal(Predictions.read(some_missing.test("stack")).proba, before)

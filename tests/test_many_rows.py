"""What is computed in parts, or on a part of the rows, against the whole."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tandem.artifacts import contributions
from tandem.artifacts.contributions import TERMS, read_contributions, replace_contributions, write_contributions
from tandem.config.encoders import CaptionEncoder, ImageEncoder
from tandem.config.experiments import HeadExperiment, TfidfExperiment, make_experiment
from tandem.config.toml_files import read_toml
from tandem.config.training import Head, HeadTraining
from tandem.decoding import NestedCV, Rule, nested_cv
from tandem.decoding.scoring import score
from tandem.ensemble import fit_stack as fit_stack_module
from tandem.ensemble.fit_stack import fit_stack, fitted_rows
from tandem.logits import sigmoid
from tandem.metrics import intervals, paired_interval
from tandem.models import inputs as inputs_module
from tandem.models import mlp_head, tfidf
from tandem.models.base import TrainingRun
from tandem.models.inputs import Inputs, Maps
from tandem.models.mlp_head import HeadModel, mean_and_deviation, mean_and_deviation_of_parts
from tandem.models.tfidf import TfidfModel

IMAGE, CAPTION = ImageEncoder(), CaptionEncoder()


def mapped(folder: Path, values: np.ndarray) -> np.ndarray:
    """The array as a memory map."""
    np.save(folder / "features.npy", values)
    return np.load(folder / "features.npy", mmap_mode="r")


def test_rows_of_large_features_are_noted_and_give_the_same_values(tmp_path, monkeypatch):
    values = np.random.default_rng(0).normal(size=(9, 2, 3)).astype(np.float16)
    rows, others = np.array([7, 0, 3]), Inputs(["x"], {"f": np.ones((1, 2, 3), np.float16)})
    inputs = Inputs(list("abcdefghi"), {"f": mapped(tmp_path, values)})
    copied = inputs.take(rows).followed_by(others)
    monkeypatch.setattr(inputs_module, "COPIED", 0)
    noted = inputs.take(rows).followed_by(others)
    assert isinstance(copied.features["f"], np.ndarray) and isinstance(noted.features["f"], Maps)
    assert np.array_equal(noted.features["f"], copied.features["f"]) and noted.matrix().dtype == np.float32
    assert np.array_equal(noted.matrix("f"), copied.matrix("f"))
    assert np.array_equal(noted.take(np.array([3, 1])).features["f"], copied.take(np.array([3, 1])).features["f"])
    assert np.array_equal(noted.features["f"][1:3], copied.features["f"][1:3])


def test_means_and_deviations_of_parts_are_those_of_the_whole():
    x = torch.from_numpy(np.random.default_rng(0).normal(3, 2, (100, 4)).astype(np.float32))
    x[:, 3] = 1000.1  # constant: its deviation is 1
    whole, parts = mean_and_deviation(x), mean_and_deviation_of_parts(iter(x.split([64, 35, 1])))
    assert torch.allclose(whole[0], parts[0], rtol=1e-6) and torch.allclose(whole[1], parts[1], rtol=1e-6)
    assert parts[1][3] == 1 and mean_and_deviation_of_parts(iter([x[:1]]))[1].tolist() == [1, 1, 1, 1]


def rows_of_a_head(n: int = 300) -> tuple[Inputs, np.ndarray]:
    rng = np.random.default_rng(0)
    y = (rng.random((n, 2)) < 0.4).astype(np.uint8)
    image = (rng.normal(size=(n, 2, 6)) + y[:, [0]][:, :, None]).astype(np.float16)
    caption = (rng.normal(size=(n, 1, 4)) + y[:, [1]][:, :, None]).astype(np.float16)
    return Inputs([str(i) for i in range(n)], {IMAGE.slug: image, CAPTION.slug: caption}), y


def fitted_head(inputs: Inputs, y: np.ndarray) -> HeadModel:
    train = HeadTraining(epochs=3, batch=32, min_steps=0)
    cfg = HeadExperiment(kind="head", image=IMAGE, caption=CAPTION, head=Head(hidden=8, bags=1), train=train)
    model = HeadModel(cfg, 2)
    model.fit(inputs, y, TrainingRun(0, weights=np.ones(y.shape, bool)))
    return model


def test_a_head_that_reads_its_batches_from_disk_is_the_one_that_holds_all_features(tmp_path, monkeypatch):
    inputs, y = rows_of_a_head()
    whole = fitted_head(inputs, y)
    monkeypatch.setattr(mlp_head, "HELD", 0)
    monkeypatch.setattr(inputs_module, "COPIED", 0)
    # the same order of rows, and the same means: what is left is where the features are
    monkeypatch.setattr(mlp_head, "_rows_in_runs", lambda n, epoch, rng: rng.permutation(n))
    monkeypatch.setattr(mlp_head, "mean_and_deviation_of_parts", lambda parts: mean_and_deviation(torch.cat([*parts])))
    read = fitted_head(inputs.take(np.arange(len(inputs))), y)
    assert np.array_equal(whole.predict_proba(inputs), read.predict_proba(inputs))


def test_rows_drawn_in_runs_are_all_rows_once_and_as_good_to_train_on(monkeypatch):
    inputs, y = rows_of_a_head()
    monkeypatch.setattr(mlp_head, "RUN", 8)
    order = mlp_head._rows_in_runs(300, 0, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(300)) and order.tolist() != sorted(order.tolist())
    whole = fitted_head(inputs, y).predict_proba(inputs)
    monkeypatch.setattr(mlp_head, "HELD", 0)
    read = fitted_head(inputs, y).predict_proba(inputs)
    assert np.abs(whole - read).mean() < 0.1 and ((read > 0.5) == y).mean() > ((whole > 0.5) == y).mean() - 0.05


def test_a_head_predicts_the_same_in_parts(monkeypatch):
    inputs, y = rows_of_a_head()
    model = fitted_head(inputs, y)
    whole, terms = model.predict_proba(inputs), model.predict_terms(inputs)["both"]
    monkeypatch.setattr(inputs_module, "ROWS", 64)
    assert np.allclose(model.predict_proba(inputs), whole, atol=1e-6)
    assert np.allclose(model.predict_terms(inputs)["both"], terms, atol=1e-5)


def captions(n: int = 400) -> tuple[Inputs, np.ndarray]:
    rng = np.random.default_rng(0)
    y = (rng.random((n, 2)) < 0.4).astype(np.uint8)
    words = rng.choice(["red", "blue", "green", "big"], (n, 3))
    said = [f"{'cat' * int(cat)} {'dog' * int(dog)}" for cat, dog in y]
    texts = [" ".join([*row, more]) for row, more in zip(words, said, strict=True)]
    return Inputs([str(i) for i in range(n)], captions=texts), y


def test_tf_idf_of_many_captions_learns_from_a_part_of_them_and_says_so(monkeypatch, capsys):
    inputs, y = captions()
    cfg = TfidfExperiment(kind="tfidf")
    whole, part = TfidfModel(cfg, 2), TfidfModel(cfg, 2)
    assert whole.fit(inputs, y, TrainingRun(0)) == [] and capsys.readouterr().out == ""
    monkeypatch.setattr(tfidf, "LEARNED", 100)
    monkeypatch.setattr(tfidf, "NONZERO", 5000)
    (said,) = part.fit(inputs, y, TrainingRun(0))
    assert (said["captions"], said["words_from"]) == (400, 100) and 0 < said["coefficients_from"] < 400
    assert f"words from 100, coefficients from {said['coefficients_from']} of them" in capsys.readouterr().out
    assert np.array_equal(whole.predict_proba(inputs) > 0.5, y) and np.array_equal(part.predict_proba(inputs) > 0.5, y)


def test_tf_idf_predicts_the_same_in_parts(monkeypatch):
    inputs, y = captions()
    model = TfidfModel(TfidfExperiment(kind="tfidf"), 2)
    model.fit(inputs, y, TrainingRun(0))
    lists = Inputs(inputs.ids, captions=inputs.captions, caption_lists=[text.split() for text in inputs.captions or ()])
    whole = [model.predict_proba(one) for one in (inputs, lists)]
    monkeypatch.setattr(inputs_module, "ROWS", 7)
    for one, expected in zip((inputs, lists), whole, strict=True):
        assert np.allclose(model.predict_proba(one), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["scale_head", "scale_tfidf"])
def test_the_experiments_of_the_set_for_a_million_rows_are_valid(name):
    experiment = make_experiment(read_toml(Path("configs") / f"{name}.toml"), Path(f"{name}.toml"))
    if isinstance(experiment, HeadExperiment):
        assert (experiment.head.hidden, experiment.head.bags, experiment.train.epochs) == (256, 1, 2)
    else:
        assert isinstance(experiment, TfidfExperiment)


def test_contributions_are_written_in_row_groups_and_one_split_is_replaced_without_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(contributions, "CELLS", 6)  # two images of three labels
    path, names = tmp_path / "contributions.parquet", ("x", "y", "z")
    terms = np.random.default_rng(0).normal(size=(5, 3, len(TERMS))).astype(np.float32)
    parts = [("train", list("abcde"), terms), ("test", ["v"], terms[:1]), ("no_caption", list("abcde"), 2 * terms)]
    write_contributions(path, names, parts)
    assert pq.ParquetFile(path).num_row_groups == 3 + 1 + 3
    replace_contributions(path, names, ("test", ["v", "w"], -terms[:2]))
    found = {split: (ids, part.tolist()) for split, ids, part in read_contributions(path)}
    assert found["test"] == (["v", "w"], (-terms[:2]).tolist())
    assert [found[split] for split, _, _ in (parts[0], parts[2])] == [(i, t.tolist()) for _, i, t in parts[::2]]


def members(n: int = 600) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """(probabilities of two members, y, fold): each knows one of the two labels."""
    rng = np.random.default_rng(0)
    y = (rng.random((n, 2)) < 0.4).astype(np.uint8)
    logits = rng.normal(size=(2, n, 2)) + 3 * np.eye(2)[:, None] * (2.0 * y - 1)
    return {name: sigmoid(one).astype(np.float32) for name, one in zip("ab", logits, strict=True)}, y, np.arange(n) % 3


def test_a_second_level_of_many_rows_is_fitted_on_a_part_of_them_and_it_is_said(monkeypatch):
    probas, y, fold = members()
    whole = fit_stack(probas, None, y, fold, 0, 1)
    monkeypatch.setattr(fit_stack_module, "FITTED", 150)
    part = fit_stack(probas, None, y, fold, 0, 1)
    assert "second_level_rows" not in whole.summary and part.summary["second_level_rows"] == 150
    assert part.proba.shape == whole.proba.shape and part.proba.min() > 0  # every row is predicted
    losses = [fit_stack_module.surrogate_loss(y, fit.proba).mean() for fit in (whole, part)]
    assert losses[1] < losses[0] + 0.02


def test_the_part_that_is_fitted_on_is_of_the_kept_rows_and_the_same_in_every_run(monkeypatch):
    monkeypatch.setattr(fit_stack_module, "FITTED", 20)
    kept = np.arange(100) % 2 == 0
    rows = fitted_rows(kept)
    assert len(set(rows.tolist())) == 20 and kept[rows].all() and rows.tolist() == fitted_rows(kept).tolist()
    assert fitted_rows(np.arange(20) > 0).tolist() == list(range(1, 20))


@pytest.mark.parametrize("metric", ["f1_samples", "f1_macro", "log_loss"])
@pytest.mark.parametrize("unknown", [False, True])
def test_decoders_of_many_rows_are_fitted_on_a_part_and_scored_on_all(metric, unknown, monkeypatch):
    probas, y, fold = members()
    known = np.random.default_rng(1).random(y.shape) < 0.9 if unknown else None
    proba, rule, names = (probas["a"] + probas["b"]) / 2, Rule(metric=metric), ("x", "y")
    whole = score(proba, y, fold, names, rule, known=known)
    monkeypatch.setattr(nested_cv, "FITTED", 400)
    part = score(proba, y, fold, names, rule, known=known)
    assert "fitted_rows" not in whole[0] and "fitted_rows" not in whole[1]
    assert part[0]["fitted_rows"] == part[1]["fitted_rows"] == 400 and part[1]["rows"] == 600
    assert abs(part[1]["score"] - whole[1]["score"]) < 0.03
    assert abs(part[1]["map"] - whole[1]["map"]) < 1e-12  # of the probabilities of all rows
    decoded = NestedCV(proba, y, fold, rule, known=known).cross_val_predict("fixed")
    assert decoded.any(1).all()  # `least` is 1: every row is decoded


@pytest.mark.parametrize("metric", ["f1_micro", "f1_macro"])
def test_intervals_of_many_groups_draw_blocks_of_them_and_are_as_wide(metric, monkeypatch):
    probas, y, _ = members(2000)
    preds = [proba > 0.5 for proba in probas.values()]
    gain, low, high = paired_interval(metric, y, preds[0], (preds[0] | preds[1]))
    monkeypatch.setattr(intervals, "MANY_GROUPS", 1000)
    monkeypatch.setattr(intervals, "BLOCKS", 200)
    again = paired_interval(metric, y, preds[0], (preds[0] | preds[1]))
    assert again[0] == gain and np.allclose([again[2] - again[1]], [high - low], rtol=0.25)

"""Labels that say nothing, or the opposite, through training and stack: level 1 is fitted again each time."""

import contextlib
import io

import numpy as np
import pytest
from checked import fake_features, run_tasks, write_competition, write_experiment, write_folds, write_split

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.encoders import ImageEncoder
from tandem.config.experiments import HeadExperiment, TfidfExperiment
from tandem.config.training import Head, HeadTraining
from tandem.data.split_tables import write_labels
from tandem.metrics import log_loss, mean_average_precision

NAMES, N, FOLDS = ("sky", "cat", "sea"), 240, 3
IDS, FOLD = [f"{i}.jpg" for i in range(N)], np.arange(N) % FOLDS
MEMBERS = ["looks", "words"]
RNG = np.random.default_rng(0)
# 40 numbers an image, of which two are about its labels: enough to learn 160 rows by heart
X = RNG.normal(size=(N, 1, 40)).astype(np.float32)
Y = np.stack([X[:, 0, 0] > 0.3, RNG.random(N) < 0.4, X[:, 0, 1] > 0.8], 1).astype(np.uint8)
WORDS = [("a cat " if cat else "a dog ") + " ".join(RNG.choice(list("klmnopqrst"), 4)) for cat in Y[:, 1]]


@pytest.fixture
def paths(tmp_path, monkeypatch) -> Paths:
    """`looks`, a head on image features, knows sky and sea; `words`, of captions, knows cat."""
    monkeypatch.chdir(tmp_path)
    paths = Paths("toy")
    head = Head(hidden=32, dropout=0.0, input_dropout=0.0, bags=1)
    looks = HeadExperiment(
        kind="head", image=ImageEncoder(), head=head, train=HeadTraining(epochs=30, batch=32, min_steps=0, lr=1e-2)
    )
    write_competition(paths, NAMES, least=0, experiments=MEMBERS)
    write_experiment(paths, "looks", looks)
    write_experiment(paths, "words", TfidfExperiment(kind="tfidf"))
    for split, ids in (("train", IDS), ("test", ["t.jpg"])):
        write_split(paths, split, ids, WORDS[: len(ids)])
        fake_features(paths, looks, split, [X[: len(ids)]])
    write_folds(paths, IDS, FOLD.tolist())
    return paths


def out_of_fold(paths: Paths, y: np.ndarray) -> dict[str, np.ndarray]:
    """(n, c) of each member and of the stack, all trained on these labels, and decoded."""
    write_labels(paths.labels, IDS, NAMES, y)
    with contextlib.redirect_stderr(io.StringIO()):
        run_tasks(paths, *(f"train {name}" for name in MEMBERS), "stack", "decode stack")
    return {name: Predictions.read(paths.oof(name)).proba for name in [*MEMBERS, "stack"]}


def base_rates(y: np.ndarray) -> np.ndarray:
    return np.broadcast_to(y.mean(0), y.shape)


def test_shuffled_labels_score_chance_through_training_and_stack(paths):
    y = np.random.default_rng(1).permutation(Y)
    found, rates = out_of_fold(paths, y), base_rates(y)
    for proba in found.values():
        assert log_loss(y, proba) > log_loss(y, rates) - 0.005
        assert mean_average_precision(y, proba) < y.mean() + 0.1
    chance = max(2 * y[:, 0].mean() / (y.sum(1).mean() + 1), (y.sum(1) == 0).mean())  # one label for all rows, or none
    assert read_json(paths.scores("stack"))["score"] < chance + 0.1


def test_flipped_labels_are_followed_through_training_and_stack(paths):
    found, flipped = out_of_fold(paths, Y), out_of_fold(paths, 1 - Y)
    for y, proba in ((Y, found), (1 - Y, flipped)):
        assert log_loss(y, proba["stack"]) < 0.65 * log_loss(y, base_rates(y))
        assert mean_average_precision(Y, found["stack"]) > 0.85
    assert np.abs(flipped["stack"] - (1 - found["stack"])).mean() < 0.08


def test_labels_of_a_fold_flipped_its_rows_still_follow_the_labels_of_the_others(paths):
    y, rows = Y.copy(), FOLD == 1
    y[rows] = 1 - y[rows]
    before, after = out_of_fold(paths, Y), out_of_fold(paths, y)
    for name in MEMBERS:
        assert np.array_equal(after[name][rows], before[name][rows])
    # the stack is fitted on predictions of models that were trained on fold 1: only its own labels are left out
    assert log_loss(Y[rows], after["stack"][rows]) < log_loss(y[rows], after["stack"][rows]) - 0.1
    assert log_loss(Y[~rows], after["stack"][~rows]) > 1.2 * log_loss(Y[~rows], before["stack"][~rows])

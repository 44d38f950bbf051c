"""How many labels are enough: mean F1 by number of labelled rows, with and without pseudo-labels.

`python benchmarks/labels.py [COMP] [ROWS ...]`, after `make features` for concat_lite2 (COMP is coco19 unless named).
Frozen features and the gated fusion network; the other training rows and the test rows are the unlabelled ones. Every
row of fold k is predicted by networks trained without labels and images of fold k; thresholds come from the labelled
rows of the other folds. Gains are paired over all rows.
"""

import sys
import time
from dataclasses import replace

import numpy as np

from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition
from tandem.config.experiments import FusionExperiment
from tandem.config.load_experiments import load_experiment
from tandem.config.training import Fusion, FusionTraining
from tandem.data.labelled_rows import read_labelled_rows
from tandem.decoding import Rule, binarize
from tandem.decoding.thresholds import tune_global
from tandem.metrics import f1_per_row, paired_mean
from tandem.models.base import TrainingRun
from tandem.models.fusion import FusionModel
from tandem.models.inputs import Inputs
from tandem.training.pseudo_labels import confidence
from tandem.training.split_inputs import read_inputs

SIZES = (250, 500, 1000, 2000, 4000, 8000)
WEIGHT = 1.0  # of a row's label that the teacher is sure of


def experiment(paths: Paths) -> FusionExperiment:
    features = load_experiment(paths.configs / "concat_lite2.toml")
    return FusionExperiment(
        kind="fusion",
        frozen=(features.image,),
        caption=features.caption,
        fusion=Fusion(hidden=256, heads=1),
        train=FusionTraining(epochs=8, min_steps=200, batch=256),
    )


def predict(cfg: FusionExperiment, k: int, train: Inputs, y, weights, parts: list[Inputs]) -> list[np.ndarray]:
    model = FusionModel(cfg, y.shape[1])
    model.fit(train, y, TrainingRun(cfg.seed * 1000 + k, weights=weights))
    return [model.predict_proba(part) for part in parts]


def out_of_fold(cfg, inputs: Inputs, test: Inputs, y, fold, labelled) -> tuple[np.ndarray, np.ndarray]:
    """(n, c) each: the teacher's probabilities, and those of the student that learned from it."""
    taught, learned = np.zeros(y.shape), np.zeros(y.shape)
    for k in np.unique(fold):
        held_out = np.flatnonzero(fold == k)
        own = np.flatnonzero(labelled & (fold != k))
        others = np.flatnonzero(~labelled & (fold != k))
        train, rows = inputs.take(own), inputs.take(held_out)
        pool = inputs.take(others).followed_by(test) if len(others) else test
        taught[held_out], soft = predict(cfg, k, train, y[own], None, [rows, pool])
        weights = np.concatenate([np.ones((len(own), y.shape[1])), WEIGHT * confidence(soft)])
        both = np.concatenate([y[own], soft])
        (learned[held_out],) = predict(cfg, k, train.followed_by(pool), both, weights, [rows])
    return taught, learned


def f1_of_rows(proba, y, fold, labelled, rule: Rule) -> np.ndarray:
    """(n,) F1 of each row, its threshold tuned on the labelled rows of the other folds."""
    sets = np.zeros(y.shape, bool)
    for k in np.unique(fold):
        known = labelled & (fold != k)
        sets[fold == k] = binarize(proba[fold == k], tune_global(proba[known], y[known], rule), rule)
    return f1_per_row(y, sets, rule.beta, rule.zero_division)


def main(comp: str = "coco19", *sizes: str) -> None:
    paths = Paths(comp)
    cfg = experiment(paths)
    if not all(paths.features(e.slug, split).exists() for e in cfg.encoders for split in ("train", "test")):
        print(f"left out: needs make folds features EXPS=concat_lite2 COMP={comp}")
        return
    rows = read_labelled_rows(paths)
    rule = replace(Rule.of(load_competition(paths.competition)), metric="f1_samples")
    inputs, test = (read_inputs(paths, cfg, split) for split in ("train", "test"))
    order = np.random.default_rng(0).permutation(len(rows.ids))
    print("labelled  teacher  student     gain  95 % interval        seconds")
    for size in map(int, sizes or SIZES):
        if size > len(order):
            continue
        start = time.perf_counter()
        labelled = np.zeros(len(order), bool)
        labelled[order[:size]] = True
        found = out_of_fold(cfg, inputs, test, rows.y, rows.fold, labelled)
        f1 = [f1_of_rows(proba, rows.y, rows.fold, labelled, rule) for proba in found]
        gain, low, high = paired_mean(f1[1] - f1[0], rows.group)
        spent = time.perf_counter() - start
        numbers = f"{f1[0].mean():8.4f} {f1[1].mean():8.4f} {gain:+8.4f}  {low:+.4f} to {high:+.4f}"
        print(f"{size:8,} {numbers} {spent:10.0f}", flush=True)
        if size == 500:
            print(f"figure pseudo_gain_500 {gain:.4f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The gain of pseudo-labels with few labels: 250 to all labelled rows of a competition, the rest without labels.

Both sides are the network of configs/fast.toml: frozen image and caption features, gated. No network of fold k was
trained on a label of fold k, nor was the teacher whose probabilities it learns from; it is scored on all rows of fold
k, with 0.5 and the most probable label where a row would be empty, so nothing is tuned. Needs the features of `--comp`:
make train COMP=coco19 EXPS=fast.
"""

import argparse
import contextlib
import io
import sys
import time
from pathlib import Path

import numpy as np

from tandem.artifacts.paths import Paths
from tandem.config.experiments import FusionExperiment
from tandem.config.load_experiments import load_experiment
from tandem.data.labelled_rows import read_labelled_rows
from tandem.decoding import Rule
from tandem.decoding.label_rule import binarize
from tandem.models.base import TrainingRun
from tandem.models.fusion import FusionModel
from tandem.models.inputs import Inputs
from tandem.training.pseudo_labels import confidence
from tandem.training.split_inputs import read_inputs

SIZES = (250, 500, 1000, 2000, 4000)
ROUNDS = 2
WEIGHT = 0.5  # as in configs/fusion_pseudo.toml


def fitted(cfg: FusionExperiment, inputs: Inputs, y: np.ndarray, seed: int, weights=None) -> FusionModel:
    model = FusionModel(cfg, y.shape[1])
    with contextlib.redirect_stderr(io.StringIO()):  # a bar an epoch would be hundreds
        model.fit(inputs, y, TrainingRun(seed, weights=weights))
    return model


def one_fold(
    cfg: FusionExperiment, inputs: Inputs, y: np.ndarray, fold: np.ndarray, k: int, labelled: np.ndarray
) -> list[np.ndarray]:
    """(n_k, c) probabilities of fold k: of the teacher, then of the student of each round."""
    known, unknown = (np.flatnonzero(side & (fold != k)) for side in (labelled, ~labelled))
    held_out, everything = (inputs.take(np.flatnonzero(fold == k)), inputs.take(np.concatenate([known, unknown])))
    model = fitted(cfg, inputs.take(known), y[known], k)
    found = [model.predict_proba(held_out)]
    for step in range(1, ROUNDS + 1 if len(unknown) else 1):
        soft = model.predict_proba(inputs.take(unknown))
        weights = np.concatenate([np.ones((len(known), y.shape[1])), WEIGHT * confidence(soft)])
        model = fitted(cfg, everything, np.concatenate([y[known], soft]), 100 * step + k, weights)
        found.append(model.predict_proba(held_out))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--comp", default="coco19")
    parser.add_argument("--folds", type=int, default=2, help="how many folds are held out, one after the other")
    args = parser.parse_args()
    paths, cfg = Paths(args.comp), load_experiment(Path("configs/fast.toml"))
    if not all(paths.features(e.slug, "train").exists() for e in cfg.encoders):
        print(f"skipped: {args.comp} has no features yet; run: make train COMP={args.comp} EXPS=fast")
        return
    rows, inputs = read_labelled_rows(paths), read_inputs(paths, cfg, "train")
    folds = sorted(set(rows.fold.tolist()))[: args.folds]
    scored = np.concatenate([np.flatnonzero(rows.fold == k) for k in folds])
    order = np.random.default_rng(0).permutation(len(rows.ids))
    rule, y = Rule(), rows.y[scored]
    print(f"{args.comp}: F1 per row of {len(scored):,} held-out rows, {len(folds)} of {rows.fold.max() + 1} folds")
    print("| labelled rows | labels alone | + pseudo-labels | gain, 95 % interval | second round | gain | s |")
    print("|---|---|---|---|---|---|---|")
    for size in (*(n for n in SIZES if n < len(order)), len(order)):
        start, labelled = time.perf_counter(), np.zeros(len(order), bool)
        labelled[order[:size]] = True
        rounds = zip(*(one_fold(cfg, inputs, rows.y, rows.fold, k, labelled) for k in folds), strict=True)
        sets = [binarize(np.concatenate(parts), 0.5, rule) for parts in rounds]
        cells = [f"{rule.score(y, sets[0]):.4f}"]
        for students in sets[1:]:
            gain, low, high = rule.gain(y, sets[0], students, rows.group[scored])
            cells += [f"{rule.score(y, students):.4f}", f"{gain:+.4f} [{low:+.4f}, {high:+.4f}]"]
        cells += [""] * (1 + 2 * ROUNDS - len(cells))
        print(f"| {size:,} | {' | '.join(cells)} | {time.perf_counter() - start:.0f} |", flush=True)
        if size == 500:
            gain_at_500 = rule.gain(y, sets[0], sets[1])[0]
    if len(order) > 500:
        print(f"figure pseudo_gain_500 {gain_at_500:.4f} F1")


if __name__ == "__main__":
    sys.exit(main())

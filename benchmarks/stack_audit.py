"""The stack's cross-fitted score against the score of the same stacks on rows that nothing was fitted on.

No label of fold k is used directly for the stacked predictions of fold k. But the members' predictions for the other
folds, on which that stack is fitted, come from models that were trained on fold k. Here each fold's models and its
stack, as they predict the rows of fold k, also predict new rows: the two scores differ by that indirect influence and
by chance. The plain mean of the same members' logits is fitted on nothing, so its difference is chance alone; it is
subtracted, and the rest averaged over made data sets. As deployed, the mean of all folds' models and the stack of all
rows predict the new rows. The members are linear models with hardly any penalty, so that they overfit.
"""

import argparse
import sys
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from tandem.decoding import Rule, binarize
from tandem.ensemble.fit_stack import StackCV
from tandem.ensemble.stacking import BOUND, Stack, StackInputs, fixed_stack
from tandem.logits import logit, sigmoid
from tandem.metrics import log_loss, paired_mean

LABELS, WIDTH, FOLDS = 6, 30, 5  # a member sees half of the 2 x WIDTH numbers of a row
NEW = 10_000  # rows that nothing is fitted on
RULE = Rule()


@dataclass(frozen=True)
class Rows:
    members: tuple[np.ndarray, np.ndarray]  # (n, WIDTH) what each member sees
    y: np.ndarray  # (n, LABELS)


def draw(n: int, truth: np.ndarray, rng: np.random.Generator) -> Rows:
    """Rows whose labels follow `truth` (2 * WIDTH, LABELS)."""
    x = rng.normal(size=(n, 2 * WIDTH))
    y = (rng.random((n, LABELS)) < sigmoid(x @ truth - 1)).astype(np.uint8)
    return Rows((x[:, :WIDTH], x[:, WIDTH:]), y)


def fit_member(x: np.ndarray, y: np.ndarray) -> list[LogisticRegression]:
    return [LogisticRegression(C=10.0, max_iter=200).fit(x, column) for column in y.T]


def predict(model: list[LogisticRegression], x: np.ndarray) -> np.ndarray:
    return np.column_stack([one.predict_proba(x)[:, 1] for one in model])


def scores(proba: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(F1 per row at 0.5 with at least one label, log loss)."""
    return np.array([RULE.score(y, binarize(proba, 0.5, RULE)), log_loss(y, proba)])


def inputs_of(models: list[list[LogisticRegression]], rows: Rows) -> StackInputs:
    return StackInputs.of([predict(model, x) for model, x in zip(models, rows.members, strict=True)], None)


def mean_of_folds(models: list[list[list[LogisticRegression]]], rows: Rows) -> StackInputs:
    """As test rows are predicted: each member's mean logits over the models of all folds."""
    each = [[logit(predict(fold[m], rows.members[m]), BOUND) for fold in models] for m in range(2)]
    return StackInputs.of([sigmoid(np.mean(part, axis=0)) for part in each], None)


def audit(n: int, seed: int, threads: int) -> np.ndarray:
    """(5, 2) scores of the stack: cross-fitted, the same stacks on new rows, on new rows as deployed; then of the plain
    mean: cross-fitted, the same on new rows."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(2 * WIDTH, LABELS)) * (rng.random((2 * WIDTH, LABELS)) < 0.2)
    rows, new, fold = draw(n, truth, rng), draw(NEW, truth, rng), np.arange(n) % FOLDS
    models = [[fit_member(x[fold != k], rows.y[fold != k]) for x in rows.members] for k in range(FOLDS)]
    held_out = [np.zeros(rows.y.shape) for _ in rows.members]
    for k in range(FOLDS):
        for proba, model, x in zip(held_out, models[k], rows.members, strict=True):
            proba[fold == k] = predict(model, x[fold == k])
    cv = StackCV(StackInputs.of(held_out, None), rows.y, fold, seed, threads)
    stacks: list[Stack] = [cv.fit(frozenset({k})) for k in range(FOLDS)]
    mean = fixed_stack(np.array([0.5, 0.5]), LABELS)
    same = [
        [scores(one.predict_proba(inputs_of(models[k], new)), new.y) for one in (stacks[k], mean)] for k in range(FOLDS)
    ]
    same_stack, same_mean = np.mean(same, axis=0)
    deployed = scores(cv.fit().predict_proba(mean_of_folds(models, new)), new.y)
    cross_fitted = [scores(proba, rows.y) for proba in (cv.cross_val_predict()[0], mean.predict_proba(cv.inputs))]
    return np.stack([cross_fitted[0], same_stack, deployed, cross_fitted[1], same_mean])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=400, help="labelled rows of a data set")
    parser.add_argument("--sets", type=int, default=40, help="data sets that are made")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    found = np.stack([audit(args.rows, seed, args.threads) for seed in range(args.sets)])
    print(f"{args.sets} data sets of {args.rows} rows and {LABELS} labels; {NEW:,} new rows each")
    for name, values in zip(("F1 per row", "log loss"), np.moveaxis(found, 2, 0), strict=True):
        cross_fitted, same, deployed, mean_cross_fitted, mean_same = values.T
        gap, low, high = paired_mean((cross_fitted - same) - (mean_cross_fitted - mean_same))
        print(f"{name}: cross-fitted {cross_fitted.mean():.4f}, the same stacks on new rows {same.mean():.4f}")
        print(f"  difference beyond that of the plain mean {gap:+.4f} [{low:+.4f}, {high:+.4f}]")
        print(f"  as deployed, on new rows {deployed.mean():.4f}")
        print(f"figure stack_optimism_{name.split()[0].lower()} {gap:+.4f}")


if __name__ == "__main__":
    sys.exit(main())

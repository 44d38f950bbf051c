"""The second level on all members' out-of-fold logits, cross-fitted: LightGBM, logistic regression, mean."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tandem.files import write_with
from tandem.models.boosting import BoostedLabels
from tandem.models.linear import OneVsRest
from tandem.predictions import logit, sigmoid

LOGISTIC_C = 0.01  # on standardised logits


def features(probas: list[np.ndarray]) -> np.ndarray:
    """(n, members x c) float32 logits, bounded so that a member's overconfidence carries no weight of its own."""
    return np.concatenate([logit(p, 1e-4) for p in probas], axis=1).astype(np.float32)


@dataclass
class Stack:
    """LightGBM a label, logistic regression a label, and the members' plain mean: averaged as logits.

    `fit` and `predict_proba` take what `features` made; the members' order must be the same.
    """

    seed: int = 0
    threads: int = 1

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Stack":
        self.mean, self.deviation = x.mean(0), x.std(0) + 1e-6
        self.boosted = BoostedLabels(self.seed, self.threads).fit(x, y)
        self.logistic = OneVsRest(LOGISTIC_C).fit(self._scale(x), y)
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        mean = x.reshape(len(x), -1, len(self.logistic.bias)).mean(1)
        return sigmoid((self.boosted.logits(x) + self.logistic.logits(self._scale(x)) + mean) / 3)

    def _scale(self, x: np.ndarray) -> np.ndarray:
        return ((x - self.mean) / self.deviation).astype(np.float64)

    def save(self, folder: Path) -> None:
        self.boosted.save(folder)
        tensors = {
            "mean": self.mean,
            "deviation": self.deviation,
            "coef": self.logistic.coef,
            "bias": self.logistic.bias,
        }
        write_with(folder / "logistic.safetensors", lambda partial: save_file(tensors, partial))

    def load(self, folder: Path) -> "Stack":
        t = load_file(folder / "logistic.safetensors")
        self.mean, self.deviation = t["mean"], t["deviation"]
        self.logistic = OneVsRest(LOGISTIC_C, t["coef"], t["bias"])
        self.boosted = BoostedLabels(self.seed, self.threads).load(folder, len(t["bias"]))
        return self


def cross_fit_stack(x: np.ndarray, y: np.ndarray, fold: np.ndarray, seed: int, threads: int) -> np.ndarray:
    """(n, c) probabilities; rows of fold k come from a second level that saw no label of fold k."""
    proba = np.zeros(y.shape)
    for k in np.unique(fold):
        held_out = fold == k
        proba[held_out] = Stack(seed, threads).fit(x[~held_out], y[~held_out]).predict_proba(x[held_out])
    return proba

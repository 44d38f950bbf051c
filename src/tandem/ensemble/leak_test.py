"""Whether out-of-fold predictions may come from models that were trained on the rows themselves.

Such models are surer on training rows than on test rows, and rightly so. Predictions are first recalibrated on the
training rows (shift and scale of the logits), so that a model that is over- or underconfident on all rows gives no
alarm: their entropy is then the log loss that they reach on the training rows, and the one that they expect on the test
rows. Their ratio is near 1 for honest predictions, where train and test rows are alike. Where these differ, it moves
for all models, so it is compared with the lowest one of the other members.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tandem.ensemble.hill_climbing import fit_shift_and_scale
from tandem.logits import clip_proba, logit, sigmoid

WARNING = "may have been trained on its own rows"
BOUND = 1e-4  # of probabilities: clips extreme logits
LOWER = 0.12  # an alarm: the logarithm of the ratio is lower than that of every other member by more than this
ALONE = 0.3  # the same, below 0, where there is no other member to compare with
ERRORS = 3.0  # and by more than so many standard errors
FAR_BETTER = 0.5  # without test rows an alarm: a log loss below this share of the lowest one of the others


@dataclass(frozen=True)
class Confidence:
    """How sure recalibrated predictions are, in nats per row."""

    log_loss: float  # on the training rows
    test: float | None  # the log loss that they expect on the test rows; None without test rows
    log_ratio: float = 0.0  # of the log loss expected on training rows to that on test rows
    error: float = 0.0  # standard error of `log_ratio`

    @property
    def ratio(self) -> float:
        return float(np.exp(self.log_ratio))


def confidence(oof: np.ndarray, test: np.ndarray | None, y: np.ndarray, known: np.ndarray | None = None) -> Confidence:
    """Of probabilities (n, c) out of fold and (m, c) of the test rows; y (n, c), of which only `known` cells count."""
    z = logit(oof, BOUND)
    shift, scale = fit_shift_and_scale(z, y, known)
    train = clip_proba(sigmoid(shift + scale * z))
    cells = -np.where(y > 0, np.log(train), np.log1p(-train))
    log_loss = float((cells if known is None else cells * known).sum(1).mean())
    if test is None:
        return Confidence(log_loss, None)
    here = _entropy(train)
    there = _entropy(clip_proba(sigmoid(shift + scale * logit(test, BOUND))))
    error = np.sqrt(sum(part.var() / len(part) / part.mean() ** 2 for part in (here, there)))
    return Confidence(log_loss, float(there.mean()), float(np.log(here.mean() / there.mean())), float(error))


def _entropy(proba: np.ndarray) -> np.ndarray:
    """(n,) sum over the labels, in nats."""
    return -(proba * np.log(proba) + (1 - proba) * np.log1p(-proba)).sum(1)


def leak_warning(own: Confidence, others: Mapping[str, Confidence]) -> str:
    """Why predictions may have been made by models that saw their rows, with the numbers; "" where nothing says so."""
    if own.test is None:
        best = min(others, key=lambda name: others[name].log_loss, default="")
        if not best or own.log_loss >= FAR_BETTER * others[best].log_loss:
            return ""
        return (
            f"{WARNING}: its log loss is {own.log_loss:.3f} a row, that of {best}, the best of the others, "
            f"{others[best].log_loss:.3f}; there are no test rows to compare with"
        )
    lowest = min(others, key=lambda name: others[name].log_ratio, default="")
    against, error, margin = (others[lowest].log_ratio, others[lowest].error, LOWER) if lowest else (0.0, 0.0, ALONE)
    lower = min(against, 0.0) - own.log_ratio
    if lower <= margin or lower <= ERRORS * np.hypot(own.error, error):
        return ""
    seen = (
        f"{WARNING}: recalibrated, its log loss is {own.log_loss:.3f} a row on the training rows, and it expects "
        f"{own.test:.3f} on the test rows, ratio {own.ratio:.2f}"
    )
    compared = (
        f"the lowest ratio of the others is {others[lowest].ratio:.2f} ({lowest})" if lowest else "near 1 is honest"
    )
    return f"{seen}; {compared}"

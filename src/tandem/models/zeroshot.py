"""Zero-shot: how much an image, and perhaps its caption, resembles the prompts of each label, as probabilities."""

from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.special import logsumexp

from tandem.artifacts.atomic_io import write_with
from tandem.artifacts.contributions import BOTH, NO_CAPTION, NO_IMAGE, TERMS
from tandem.artifacts.whole_files import MODEL, reading
from tandem.config.clip import ZeroShotExperiment
from tandem.logits import sigmoid, smoothed_log_odds
from tandem.models.base import TrainingRun
from tandem.models.inputs import Inputs, row_slices

PRECISION = 4.0  # of the normal prior of a label's scale around that of all labels, in standard deviations
STEPS, LARGEST_STEP, ENOUGH = 60, 1.0, 1e-5  # of Newton's method


class ZeroShotModel:
    """Reads the similarities in the last columns of the encoders' features; a logit is the sum of a part of each
    modality and a constant. Only the scale, mean and shift of a label come from training rows."""

    def __init__(self, cfg: ZeroShotExperiment, n_labels: int) -> None:
        if cfg.calibration == "none" and n_labels < 2:
            raise ValueError('calibration = "none" is a softmax over the labels: it needs two or more')
        self.cfg, m = cfg, len(cfg.encoders)
        self.n_labels = n_labels
        self.mean = np.zeros((m, n_labels))  # of each modality's similarities, over the training rows
        self.scale, self.shift = np.ones((m, n_labels)), np.zeros(n_labels)

    def fit(self, inputs: Inputs, y: np.ndarray, run: TrainingRun) -> list[dict]:
        """Fits the calibration (Platt 1999) on these rows; nothing is drawn."""
        if self.cfg.calibration == "none":
            return []
        given, weights = self._similarities(inputs), np.ones(y.shape) if run.weights is None else run.weights
        has = self._available(inputs)
        for i, values in enumerate(given):
            rows = has[i] if has[i].any() else ~has[i]
            self.mean[i] = values[rows].mean(0)
            self.scale[i] = 1 / max(float((values[rows] - self.mean[i]).std()), 1e-6)
        slope, self.shift = fit_calibration(self._parts(inputs).sum(0), y, weights)
        self.scale *= slope
        return []

    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """(n, c)."""
        return sigmoid(self.predict_terms(inputs)[BOTH].sum(-1))

    def predict_terms(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """(n, c, 6) TERMS that add up to the logit; without a caption or an image, that part alone counts."""
        settings = {BOTH: self._available(inputs)}
        if self.cfg.captions:
            settings[NO_CAPTION] = np.array([[True], [False]]) & np.ones(len(inputs), bool)
            settings[NO_IMAGE] = ~settings[NO_CAPTION]
        return {setting: self._terms(inputs, used) for setting, used in settings.items()}

    def _terms(self, inputs: Inputs, used: np.ndarray) -> np.ndarray:
        out = np.zeros((len(inputs), self.n_labels, len(TERMS)), np.float32)
        out[:, :, : len(self.mean)] = np.moveaxis(self._parts(inputs, used), 0, -1)  # image, caption
        out[:, :, TERMS.index("base")] = self.shift
        return out

    def _parts(self, inputs: Inputs, used: np.ndarray | None = None) -> np.ndarray:
        """(m, n, c): what each modality adds to the logit; their mean where a row has both."""
        used = self._available(inputs) if used is None else used
        values = np.stack(self._similarities(inputs))
        if self.cfg.calibration == "none":
            values = np.stack([softmax_logits(one) for one in values])
        share = used / np.maximum(used.sum(0), 1)  # (m, n)
        return share[:, :, None] * self.scale[:, None] * (values - self.mean[:, None])

    def _available(self, inputs: Inputs) -> np.ndarray:
        """(m, n) bool: which modalities a row has; all rows have an image."""
        image = np.ones(len(inputs), bool)
        if not self.cfg.captions:
            return image[None]
        return np.stack([image, image if inputs.captioned is None else inputs.captioned])

    def _similarities(self, inputs: Inputs) -> list[np.ndarray]:
        """(n, c) of each modality: the mean over the views."""
        features = [inputs.features[encoder.slug] for encoder in self.cfg.encoders]
        return [
            np.concatenate([self._mean_of_views(values[rows]) for rows in row_slices(len(inputs))])
            for values in features
        ]

    def _mean_of_views(self, values: np.ndarray) -> np.ndarray:
        return values[:, :, -self.n_labels :].astype(np.float64).mean(1)

    def save(self, path: Path) -> None:
        tensors = {"mean": self.mean, "scale": self.scale, "shift": self.shift}
        write_with(path, lambda partial: save_file(tensors, partial))

    def load(self, path: Path) -> Self:
        with reading(path, MODEL):
            tensors = load_file(path)
            self.mean, self.scale, self.shift = tensors["mean"], tensors["scale"], tensors["shift"]
        return self


def softmax_logits(values: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of the softmax p over the labels, (n, c).

    >>> softmax_logits(np.array([[2.0, 0.0]])).tolist()
    [[2.0, -2.0]]
    """
    out = np.empty(values.shape)
    for j in range(values.shape[1]):
        out[:, j] = values[:, j] - logsumexp(np.delete(values, j, axis=1), axis=1)
    return out


def fit_calibration(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(slope (c,), shift (c,)) of the probability sigmoid(slope x + shift) of each label, for standardised x (n, c).

    Targets are smoothed as in Platt (1999). A label's slope has a normal prior around one that all labels share, so
    that few positives move it little. No slope is negative: more similar is never less likely.
    """
    positives, negatives = (weights * y).sum(0), (weights * (1 - y)).sum(0)
    target = np.where(y > 0.5, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    start = smoothed_log_odds(y, weights > 0)
    shared, shift = _newton(x, target, weights, np.zeros(len(start)), start, None)
    center = np.maximum(shared, 0)
    slope, shift = _newton(x, target, weights, center, shift, center)
    return np.where(slope > 0, slope, 0.0), np.where(slope > 0, shift, start)


def _newton(
    x: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    slope: np.ndarray,
    shift: np.ndarray,
    center: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The slopes and shifts (c,) of lowest log loss; one slope for all labels where `center` of the prior is None."""
    for _ in range(STEPS):
        p = sigmoid(slope * x + shift)
        error, curve = weights * (p - target), weights * p * (1 - p)
        g_slope, g_shift = (error * x).sum(0), error.sum(0)
        h_slope, h_both, h_shift = (curve * x * x).sum(0), (curve * x).sum(0), curve.sum(0) + 1e-6
        if center is not None:
            g_slope, h_slope = g_slope + PRECISION * (slope - center), h_slope + PRECISION
        # the shifts are eliminated first
        gradient, hessian = g_slope - h_both * g_shift / h_shift, h_slope - h_both**2 / h_shift
        if center is None:
            gradient, hessian = gradient.sum(), hessian.sum() + PRECISION
            gradient = gradient + PRECISION * (slope[0] - 1)
        step = np.clip(gradient / np.maximum(hessian, 1e-9), -LARGEST_STEP, LARGEST_STEP)
        shift_step = np.clip((g_shift - h_both * step) / h_shift, -LARGEST_STEP, LARGEST_STEP)
        slope, shift = slope - step, shift - shift_step
        if max(np.abs(step).max(), np.abs(shift_step).max()) < ENOUGH:
            break
    return slope, shift

"""The linear learner of a stack with many labels: its cost grows with rows x labels, not with labels squared.

A label's features are its own logits, the extras, and a summary of the other labels: the principal components of the
members' mean logits, less the label's own share of them. The prior of its coefficients is centred on the members'
weighted mean, so a label with few positives stays close to it.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
from scipy.special import expit
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from tandem.logits import bce_from_logits

RANK = 16  # principal components, at most
VARIANCES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)  # of the normal prior of a standardised feature's coefficient
TRIED = 64  # labels, at most, on which the variance is chosen: it is one number for all labels
ENOUGH = 0.01  # nats: Newton's method ends where it expects to lower the summed loss by less


@dataclass(frozen=True)
class Linear:
    """Logistic regressions of all labels; features are centred by their means over the rows fitted."""

    components: np.ndarray  # (r, c) orthonormal
    own: np.ndarray  # (m, c) coefficients of the label's own logits
    others: np.ndarray  # (r, c) of the summary of the other labels
    extras: np.ndarray  # (e, c)
    extras_mean: np.ndarray  # (e,)
    bias: np.ndarray  # (c,)

    def context(self, mean: np.ndarray, extras: np.ndarray) -> np.ndarray:
        """(n, c) the part of the row's other labels and extras, from centred mean logits (n, c) and extras (n, e)."""
        own_share = mean * (self.components * self.others).sum(0)
        return mean @ self.components.T @ self.others - own_share + (extras - self.extras_mean) @ self.extras

    def tensors(self) -> dict[str, np.ndarray]:
        """By name, as they are written to a file."""
        return {f"linear_{field.name}": getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, tensors: Mapping[str, np.ndarray]) -> "Linear | None":
        """From what `tensors` gave; None where it is not among them."""
        if "linear_bias" not in tensors:
            return None
        return cls(**{field.name: tensors[f"linear_{field.name}"] for field in fields(cls)})


class LinearFit:
    """Fits `Linear` on some rows; a label's features are put together when they are needed."""

    def __init__(
        self,
        logits: np.ndarray,
        extras: np.ndarray,
        y: np.ndarray,
        known: np.ndarray | None,
        weights: np.ndarray,
        threads: int,
    ) -> None:
        """`weights` (m,): of the weighted mean of logits (n, m, c) that is the centre of the prior."""
        n, m, c = logits.shape
        self.y, self.known, self.weights, self.threads = y, known, weights, threads
        self.center = logits.mean(0)
        self.own = np.empty((c, m, n), np.float32)  # side by side, as each label needs them
        np.subtract(logits.transpose(2, 1, 0), self.center.T[:, :, None], out=self.own)
        self.mean = self.own.mean(1)  # (c, n)
        self.components = _principal_components(self.mean)
        self.summary = self.components @ self.mean  # (r, n)
        self.extras_mean = extras.mean(0)
        self.extras = (extras - self.extras_mean).T

    def choose_variance(self, held_out: np.ndarray) -> tuple[float, np.ndarray]:
        """(variance of lowest loss on the rows `held_out` (n,) bool, (m,) by how much each member lowers that loss).

        Losses are sums over up to TRIED labels.
        """
        tried = np.unique(np.linspace(0, self.y.shape[1] - 1, TRIED).astype(int)).tolist()
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(self.threads) as pool:
            losses = np.sum(list(pool.map(lambda j: self._held_out_losses(j, held_out), tried)), axis=0)
        best = int(losses[:, 0].argmin())
        return VARIANCES[best], losses[best, 1:] - losses[best, 0]

    def fit(self, variance: float, done: Callable[[int], object]) -> Linear:
        """All labels; calls `done(1)` after each."""
        coefficients = []
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(self.threads) as pool:
            for one in pool.map(lambda j: self._fit_label(j, variance), range(self.y.shape[1])):
                coefficients.append(one)
                done(1)
        found, m, r = np.array(coefficients, np.float32).T, len(self.weights), len(self.components)
        own, others, extras, bias = np.split(found, [m, m + r, len(found) - 1])
        return Linear(self.components, own, others, extras, self.extras_mean, bias[0])

    def _features(self, j: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(features (d, n) of label j, the last one 1; their scale (d,); the prior's centre (d,) in units of it)."""
        others = self.summary - np.outer(self.components[:, j], self.mean[j])
        x = np.concatenate([self.own[j], others, self.extras, np.ones((1, len(self.y)), np.float32)])
        scale = np.append(x[:-1].std(1) + 1e-6, np.float32(1))
        center = np.zeros(len(x))
        center[: len(self.weights)], center[-1] = self.weights, self.weights @ self.center[:, j]
        return x / scale[:, None], scale, center * scale

    def _known(self, j: int) -> np.ndarray:
        return np.ones(len(self.y), bool) if self.known is None else self.known[:, j]

    def _fit_label(self, j: int, variance: float) -> np.ndarray:
        x, scale, center = self._features(j)
        rows = slice(None) if self.known is None else self.known[:, j]
        return _newton(x[:, rows], self.y[rows, j], center, variance, center) / scale

    def _held_out_losses(self, j: int, held_out: np.ndarray) -> np.ndarray:
        """(variances, 1 + m) summed loss of label j's rows held out, and of the same without each member's part."""
        (x, _, center), known, out = self._features(j), self._known(j), []
        train, test, w = known & ~held_out, known & held_out, center
        x_train, y_train, x_test, y_test = x[:, train], self.y[train, j], x[:, test], self.y[test, j]
        for variance in VARIANCES:
            w = _newton(x_train, y_train, center, variance, w)
            z = w @ x_test
            logits = np.stack([z, *(z - w[i] * x_test[i] for i in range(len(self.weights)))])
            out.append(bce_from_logits(logits, y_test).sum(1))
        return np.array(out)


def _principal_components(mean: np.ndarray) -> np.ndarray:
    """(r, c) orthonormal directions of the largest variance of mean logits (c, n), which are centred."""
    rank = min(RANK, *mean.shape)
    return np.ascontiguousarray(randomized_svd(mean, rank, n_iter=4, random_state=0)[0].T)


def _newton(x: np.ndarray, y: np.ndarray, center: np.ndarray, variance: float, start: np.ndarray) -> np.ndarray:
    """(d,) coefficients of a logistic regression on features x (d, n), by Newton's method from `start`.

    Their prior is normal around `center`, of this variance; that of the last one, the intercept, has variance 1.
    """
    precision = np.append(np.full(len(x) - 1, 1 / variance), 1.0)

    def loss(w: np.ndarray) -> float:
        return float(
            bce_from_logits(w.astype(np.float32) @ x, y).sum(dtype=np.float64) + 0.5 * precision @ (w - center) ** 2
        )

    w = start
    for _ in range(20):
        p = expit(w.astype(np.float32) @ x)
        gradient = x @ (p - y) + precision * (w - center)
        hessian = (x * (p * (1 - p))) @ x.T + np.diag(precision)
        step = np.linalg.solve(hessian, gradient)
        expected, size = 0.5 * float(gradient @ step), 1.0
        if expected > 1.0:  # a shorter step where the full one does not lower the loss
            before = loss(w)
            while size > 1e-3 and loss(w - size * step) > before:
                size /= 2
        w = w - size * step
        if expected < ENOUGH:
            break
    return w

"""Functions of the user's that training calls: a loss, a sampler of rows, an augmentation."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tandem.config.code_loader import OwnCodeError, defined_at, load_object, own_errors

Sampler = Callable[[int, np.random.Generator], np.ndarray]  # (epoch, generator) -> rows


def load_function(reference: str) -> Callable[..., Any]:
    """Raises OwnCodeError where FILE.py:NAME is no function."""
    found = load_object(reference)
    if not callable(found) or isinstance(found, type):
        raise OwnCodeError(f"{reference}: expected a function, got {type(found).__name__}")
    return found


def own_loss(reference: str, smoothing: float = 0.0) -> Callable[..., torch.Tensor]:
    """`function(logits, y)` -> (b, c), the loss of each cell; unknown labels are left out of its mean here.

    logits  (b, c) float32
    y       (b, c) 0 or 1, or probabilities; smoothed
    A function with a third parameter `weights`, (b, c) or None, 0 where a label is unknown, may return a scalar.
    """
    function, where = load_function(reference), reference
    takes_weights = "weights" in inspect.signature(function).parameters

    def loss(logits: torch.Tensor, y: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        more = {"weights": weights} if takes_weights else {}
        with own_errors(where):
            found = function(logits.float(), y * (1 - smoothing) + smoothing / 2, **more)
        if not isinstance(found, torch.Tensor) or found.shape not in ((), logits.shape):
            got = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise OwnCodeError(f"{defined_at(function)}: found {got}; expected a loss of each cell {tuple(y.shape)}")
        if not found.ndim:
            if not takes_weights:
                raise OwnCodeError(
                    f"{defined_at(function)}: a scalar; return the loss of each cell {tuple(y.shape)}, or take a "
                    "parameter `weights`, 0 where a label is unknown"
                )
            return found
        return found.mean() if weights is None else (found * weights).sum() / weights.sum().clamp_min(1e-6)

    return loss


def own_sampler(reference: str, y: np.ndarray, weights: np.ndarray | None) -> Sampler | None:
    """`function(y, weights, epoch, rng)` -> (n,) numbers of the rows of an epoch, each as often as it likes; None where
    there is none.

    y        (n, c) labels of the training rows
    weights  (n, c), 0 where a label is unknown; None: all are known
    rng      numpy generator of this epoch: what is drawn from it is the same in every run
    """
    if not reference:
        return None
    function, n = load_function(reference), len(y)

    def sample(epoch: int, rng: np.random.Generator) -> np.ndarray:
        with own_errors(reference):
            rows = np.asarray(function(y, weights, epoch, rng))
        if rows.shape != (n,) or rows.dtype.kind not in "iu" or (n and not 0 <= rows.min() <= rows.max() < n):
            what = f"{rows.dtype} {rows.shape}"
            expected = f"({n},) integers from 0 to {n - 1}, the number of each row of an epoch; rows may come twice"
            raise OwnCodeError(f"{defined_at(function)}: found {what}; expected {expected}")
        return rows

    return sample


def own_augmentation(reference: str) -> Callable[[np.ndarray, np.random.Generator], np.ndarray] | None:
    """`function(image, rng)` -> the image (size, size, 3) uint8, changed; called last, by several threads at once.
    None where there is none."""
    if not reference:
        return None
    function = load_function(reference)

    def augment(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        with own_errors(reference):
            found = np.asarray(function(image, rng))
        if found.shape != image.shape or found.dtype != np.uint8:
            what = f"{found.dtype} {found.shape}"
            raise OwnCodeError(f"{defined_at(function)}: found {what}; expected uint8 {image.shape}")
        return found

    return augment

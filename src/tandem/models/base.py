"""What a model is: the interface that the fold loop, prediction and explanation rely on."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from tandem.models.inputs import Inputs


@dataclass(frozen=True)
class Watched:
    """Held-out rows whose F1 the training log shows; nothing is chosen by it."""

    inputs: Inputs
    y: np.ndarray  # (n, c)
    known: np.ndarray | None = None  # (n, c) bool; None: all are


@dataclass(frozen=True)
class TrainingRun:
    """What is particular to one call of `fit`."""

    seed: int
    checkpoint: Path | None = None  # a killed run continues from it, to the same weights
    on_epoch: Callable[[dict[str, Any]], None] = lambda entry: None  # called with the log entry of each epoch
    weights: np.ndarray | None = None  # (n, c) of each cell of y, 0 where it is unknown; None: all are known
    watched: Watched | None = None
    clock: Callable[[], float] = time.monotonic  # seconds; says when the next checkpoint is due

    @property
    def known(self) -> np.ndarray | None:
        """(n, c) bool: which cells of y are known; None: all are."""
        return None if self.weights is None else self.weights > 0


class Model(Protocol):
    """One network or linear model, for one fold of an experiment; n rows, c labels.

    A class of kind "custom" is made as `MyModel(c, **settings)`. Its attribute `inputs`, a dictionary written out,
    declares what it reads: `{"pixels": 224}` images, `{"captions": True}` texts, `{"image": {}, "caption": {}}` frozen
    features, `{"trunk": {}, "tokens": {}}` cached maps. They are in `Inputs.files`, `captions`, `features`, `maps`.
    """

    def fit(self, inputs: Inputs, y: np.ndarray, run: TrainingRun) -> list[dict[str, Any]] | None:
        """Trains on y (n, c) by `run.weights`; one log entry per epoch. y is 0 or 1, a pseudo-label a probability."""

    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """(n, c) probabilities."""

    def save(self, path: Path) -> None:
        """Writes one .safetensors file."""

    def load(self, path: Path) -> Self:
        """Reads what `save` wrote for the same experiment; returns itself."""


@runtime_checkable
class ExplainingModel(Model, Protocol):
    """A model whose logits are split into terms: what the image, the caption and their combination add."""

    def predict_terms(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """(n, c, 6) TERMS that add up to the logit; by setting: both, and where it can, no_caption and no_image."""

"""What a model is: the interface that the fold loop, prediction and explanation rely on, and the class of each kind."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from tandem.config.experiments import Experiment
from tandem.models.inputs import Inputs

# kind of experiment -> module of tandem.models, class
MODELS = {
    "head": ("mlp_head", "HeadModel"),
    "fusion": ("fusion", "FusionModel"),
    "finetune": ("finetune", "FinetunedModel"),
    "tfidf": ("tfidf", "TfidfModel"),
}


@dataclass(frozen=True)
class TrainingRun:
    """What is particular to one call of `fit`.

    checkpoint  a file written after each epoch; a killed run continues from it and ends in the same weights
    on_epoch    called with the log entry of each epoch
    weights     (n, c) weight of each label in the loss, None = 1; only for kinds that have a [pseudo] section
    """

    seed: int
    checkpoint: Path | None = None
    on_epoch: Callable[[dict[str, Any]], None] = lambda entry: None
    weights: np.ndarray | None = None


class Model(Protocol):
    """One network or linear model, for one fold of an experiment; n rows, c labels."""

    def fit(self, inputs: Inputs, y: np.ndarray, run: TrainingRun) -> list[dict[str, Any]]:
        """Trains on y (n, c), 0 or 1, or probabilities where `run.weights` is given; one log entry an epoch."""

    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """(n, c) probabilities."""

    def save(self, path: Path) -> None:
        """Writes one .safetensors file."""

    def load(self, path: Path) -> Self:
        """Reads what `save` wrote for the same experiment; returns itself."""


@runtime_checkable
class ExplainingModel(Model, Protocol):
    """A model whose logits are sums of terms."""

    def predict_terms(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """(n, c, 5) TERMS that add up to the logit; by setting: both, and where it can, no_caption and no_image."""


def make_model(experiment: Experiment, n_labels: int) -> Model:
    """The untrained model of an experiment; imports only the module that it needs."""
    module, name = MODELS[experiment.kind]
    return getattr(import_module(f"tandem.models.{module}"), name)(experiment, n_labels)

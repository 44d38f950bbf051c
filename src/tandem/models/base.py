"""What a model is: the interface that the fold loop, prediction and explanation rely on; its kinds; folds as one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from tandem.artifacts.contributions import BOTH, TERMS, term_of
from tandem.config.experiments import Experiment
from tandem.logits import logit, sigmoid
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
    """What is particular to one call of `fit`."""

    seed: int
    checkpoint: Path | None = None  # written after each epoch; a killed run continues from it, to the same weights
    on_epoch: Callable[[dict[str, Any]], None] = lambda entry: None  # called with the log entry of each epoch
    weights: np.ndarray | None = None  # (n, c) of each label in the loss; only for kinds that have a [pseudo] section


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


class FoldEnsemble:
    """The fold models of an experiment as one: logits and terms are the mean of theirs."""

    def __init__(self, experiment: Experiment, models: Sequence[Model]) -> None:
        self.experiment, self.models = experiment, list(models)

    @classmethod
    def load(cls, experiment: Experiment, n_labels: int, files: Iterable[Path]) -> Self:
        """Reads a model of `experiment` from each of `files`."""
        return cls(experiment, [make_model(experiment, n_labels).load(file) for file in files])

    def probabilities(self, inputs: Inputs) -> np.ndarray:
        """(n, c) float32."""
        return sigmoid(self.logits(inputs)).astype(np.float32)

    def logits(self, inputs: Inputs) -> np.ndarray:
        """(n, c): mean of the models' logits."""
        if self.experiment.explains:
            return self.terms(inputs)[BOTH].sum(-1)
        each = (logit(model.predict_proba(inputs)) / len(self.models) for model in self.models)
        return sum(each, np.zeros(()))

    def terms(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """(n, c, 5) TERMS that add up to `logits`, by setting; other models have one term, named by their inputs."""
        if not self.experiment.explains:
            one = np.eye(len(TERMS))[TERMS.index(term_of(self.experiment.reads))]
            return {BOTH: one * self.logits(inputs)[..., None]}
        total: dict[str, np.ndarray] = {}
        for model in self.models:
            assert isinstance(model, ExplainingModel)
            for setting, terms in model.predict_terms(inputs).items():
                total[setting] = total.get(setting, 0.0) + terms / len(self.models)
        return total


def in_setting(terms: Mapping[str, np.ndarray], setting: str) -> np.ndarray:
    """The terms in this setting; a model that reads one modality has only those of `both`."""
    return terms.get(setting, terms[BOTH])

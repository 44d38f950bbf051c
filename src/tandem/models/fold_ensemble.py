"""The fold models of an experiment as one."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from tandem.artifacts.contributions import BOTH, TERMS, term_of
from tandem.config.experiments import Experiment
from tandem.logits import logit, sigmoid
from tandem.models.base import ExplainingModel, Model
from tandem.models.inputs import Inputs
from tandem.models.registry import make_model


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

    def logits(self, inputs: Inputs, setting: str = BOTH) -> np.ndarray:
        """(n, c): mean of the models' logits in this setting, of those that have it."""
        if self.experiment.explains:
            return in_setting(self.terms(inputs), setting).sum(-1)
        each = (logit(model.predict_proba(inputs)) / len(self.models) for model in self.models)
        return sum(each, np.zeros(()))

    def terms(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """(n, c, 6) TERMS that add up to `logits`, by setting; other models have one term, named by their inputs."""
        if not self.experiment.has_terms:
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

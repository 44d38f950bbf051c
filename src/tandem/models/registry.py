"""The model class of each kind of experiment: add a model here."""

from importlib import import_module

from tandem.config.experiments import Experiment
from tandem.models.base import Model

# kind of experiment -> module of tandem.models, class
MODELS = {
    "head": ("mlp_head", "HeadModel"),
    "fusion": ("fusion", "FusionModel"),
    "finetune": ("finetune", "FinetunedModel"),
    "tfidf": ("tfidf", "TfidfModel"),
    "zeroshot": ("zeroshot", "ZeroShotModel"),
}


def make_model(experiment: Experiment, n_labels: int) -> Model:
    """The untrained model of an experiment; imports only the module that it needs."""
    module, name = MODELS[experiment.kind]
    return getattr(import_module(f"tandem.models.{module}"), name)(experiment, n_labels)

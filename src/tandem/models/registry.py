"""The model class of each kind of experiment: add a model here, or as `kind = "custom"` in a file of your own."""

from importlib import import_module
from typing import TypeVar

from tandem.config.experiments import Experiment
from tandem.config.own_code import CLASS_OF_SESSION, SESSION
from tandem.models.base import Model

C = TypeVar("C", bound=type)

# kind of experiment -> module of tandem.models, class
MODELS = {
    "head": ("mlp_head", "HeadModel"),
    "fusion": ("fusion", "FusionModel"),
    "finetune": ("finetune", "FinetunedModel"),
    "tfidf": ("tfidf", "TfidfModel"),
    "zeroshot": ("zeroshot", "ZeroShotModel"),
    "custom": ("custom", "CustomModel"),
}


def make_model(experiment: Experiment, n_labels: int) -> Model:
    """The untrained model of an experiment; imports only the module that it needs."""
    module, name = MODELS[experiment.kind]
    return getattr(import_module(f"tandem.models.{module}"), name)(experiment, n_labels)


def register(own_class: C) -> C:
    """Makes a class usable as `model = "ITS NAME"` of kind "custom" in this process, such as a notebook; returns it, so
    it works as a decorator. What others or make shall use belongs in a file: `model = "my_models.py:MyModel"`.

    >>> @register
    ... class Rates:
    ...     inputs = {"captions": True}
    >>> SESSION.pop("Rates") is Rates
    True
    """
    if not isinstance(own_class, type) or not CLASS_OF_SESSION.fullmatch(own_class.__name__):
        raise ValueError(f"register({own_class!r}): expected a class")
    SESSION[own_class.__name__] = own_class
    return own_class

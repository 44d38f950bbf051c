"""The model class of each kind of experiment."""

from importlib import import_module

from tandem.config.experiments import Experiment, FusionExperiment

MODELS = {
    "head": ("mlp_head", "HeadModel"),
    "fusion": ("fusion", "FusionModel"),
    "finetune": ("finetune", "ImageModel"),
    "tfidf": ("tfidf", "TfidfModel"),
}


def make_model(experiment: Experiment, n_labels: int):
    """The model of an experiment: fit / predict_proba / save / load, and predict_terms where it explains.

    Imports only what that one needs.
    """
    module, name = MODELS[experiment.kind]
    return getattr(import_module(f"tandem.models.{module}"), name)(experiment, n_labels)


def as_trained(experiment: Experiment, rows: int) -> Experiment:
    """With so many labelled rows: where they are fewer than `tune_from`, the late stages keep their weights."""
    if not isinstance(experiment, FusionExperiment) or rows >= experiment.train.tune_from:
        return experiment
    train = experiment.train.model_copy(update={"backbone_lr": 0.0, "caption_lr": 0.0})
    return experiment.model_copy(update={"train": train})

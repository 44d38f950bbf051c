"""Explains the predictions of one experiment for one image of its competition."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tandem.artifacts.contributions import BOTH
from tandem.artifacts.paths import Paths
from tandem.config.encoders import Encoder
from tandem.config.experiments import Experiment, FusionExperiment, sees
from tandem.data.image_io import load_rgb
from tandem.data.split_tables import read_captions, read_images
from tandem.explain.attribution import heat_maps, logits_with
from tandem.explain.explanation import (
    ExperimentPrediction,
    Explanation,
    find_row,
    read_prediction,
    shown_labels,
)
from tandem.explain.words import Words, word_effects
from tandem.features.extract import make
from tandem.models.inputs import Inputs
from tandem.models.registry import make_model
from tandem.training.fold_job import Job
from tandem.training.split_inputs import read_inputs


def explain_image(paths: Paths, image: str, name: str) -> Explanation:
    """Of a training row by the model of its held-out fold, of a test row by the mean of all fold models.

    Raises ValueError if no row has that id or the models are stale, FileNotFoundError if there are none.
    """
    if not paths.experiment_config(name).exists():
        files = paths.experiment(name).parent.glob("*/oof.parquet")
        known = sorted({file.parent.name for file in files} - {"stack"})
        raise FileNotFoundError(
            f"EXP={name!r}: expected one of {', '.join(known)}; the terms of the stack are shown as well"
            if known
            else f"nothing is trained for {paths.comp!r}; run: make submit COMP={paths.comp}"
        )
    tables = {split: read_images(paths.images(split)) for split in ("train", "test")}
    split, row = find_row(image, {split: table["id"] for split, table in tables.items()})
    job = Job(paths, name)
    predictions, missing = _predictions(paths, name, job.rows.names, split, image)
    truth = job.rows.y[job.rows.ids.index(image)].astype(bool) if split == "train" else None
    folds, models = _fold_models(job, split, image)
    caption = _caption(paths, split, image)
    found = Explanation(
        paths.comp,
        image,
        split,
        models,
        job.rows.names,
        caption,
        load_rgb(paths.input / tables[split]["file"][row]),
        truth,
        tuple(predictions),
        shown_labels(predictions, truth),
    )
    reasons = {
        "heat map": why_no_heat_map(job.experiment, name),
        "words": why_no_words(job.experiment, name, caption),
    }
    missing += [f"{what}: {reason}" for what, reason in reasons.items() if reason]
    if all(reasons.values()) and not job.experiment.explains:
        return replace(found, missing=tuple(missing))
    loaded = _load(job, folds)
    inputs = job.inputs if split == "train" else read_inputs(paths, job.experiment, split)[1]
    one = inputs.take(np.array([row]))
    parts: dict = {"missing": tuple(missing)}
    if job.experiment.explains:
        parts["single_input"] = _alone(loaded, one)
    if not reasons["heat map"]:
        parts["heat"] = heat_maps(loaded, one, found.shown, blank=False)  # an empty one was read too
    if caption and not reasons["words"]:
        parts["words"] = ask_words(loaded, job.experiment, one, caption, encode_with(make))
    return replace(found, **parts)


def _predictions(
    paths: Paths, name: str, names: Sequence[str], split: str, image: str
) -> tuple[list[ExperimentPrediction], list[str]]:
    """(the prediction of the experiment and, if there is one, of the stack; what is missing)."""
    own = read_prediction(paths, name, names, split, image)
    if not paths.test("stack").exists():
        return [own], [f"terms of the stack: there is no stack yet, run make stack COMP={paths.comp}"]
    return [own, read_prediction(paths, "stack", names, split, image)], []


def _fold_models(job: Job, split: str, image: str) -> tuple[list[int], str]:
    """(the folds whose models are used, a description of them)."""
    if split == "test":
        return job.folds, f"the mean of {len(job.folds)} fold models"
    fold = int(job.rows.fold[job.rows.ids.index(image)])
    return [fold], f"the model of fold {fold}, not trained on this image"


def why_no_heat_map(experiment: Experiment, name: str) -> str:
    """The reason, or "" if there is a heat map."""
    if not isinstance(experiment, FusionExperiment):
        return f"{name} is of kind {experiment.kind}, not fusion"
    return "" if experiment.trunk else f"{name} has no trunk, so no feature map of the image"


def why_no_words(experiment: Experiment, name: str, caption: str | None) -> str:
    """The reason, or "" if there are word effects."""
    if caption is None:
        return "this competition has no captions"
    if "caption" not in sees(experiment):
        return f"{name} does not use captions"
    return "" if caption.strip() else "this image has no caption"


def ask_words(models: Sequence, experiment: Experiment, row: Inputs, caption: str, encode: Callable) -> Words:
    return word_effects(caption, lambda captions: logits_with(models, experiment, row, captions, encode))


def encode_with(make_encoder: Callable) -> Callable[[Encoder, Sequence[str]], np.ndarray]:
    """Captions -> (n, views, ...); each encoder is loaded at its first use."""
    made: dict[Encoder, Callable] = {}

    def encode(cfg: Encoder, captions: Sequence[str]) -> np.ndarray:
        if cfg not in made:
            made[cfg] = make_encoder(cfg)
        return np.concatenate(list(made[cfg](captions)))

    return encode


def _caption(paths: Paths, split: str, image: str) -> str | None:
    if not paths.captions(split).exists():
        return None
    ids, captions = read_captions(paths.captions(split))
    return captions[ids.index(image)]


def _load(job: Job, folds: list[int]) -> list:
    stale = [k for k in folds if not job.fold_is_current(k)]
    if stale:
        raise ValueError(
            f"{job.paths.model(job.name, stale[0], '')}: not trained on the current data and settings; "
            f"run: make train COMP={job.paths.comp} EXPS={job.name}"
        )
    files = [job.paths.model(job.name, k, ".safetensors") for k in folds]
    return [make_model(job.experiment, len(job.rows.names)).load(file) for file in files]


def _alone(models: list, row: Inputs) -> dict[str, np.ndarray]:
    """(c,) mean logits with the caption or the photo missing, where the models can do without."""
    said = [model.predict_terms(row) for model in models]
    return {
        name: np.mean([terms[name][0].sum(-1) for terms in said], axis=0) for name in said[0] if name != BOTH
    }

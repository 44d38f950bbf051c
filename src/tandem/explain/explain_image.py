"""Explains the predictions of one experiment for one image of its competition."""

from dataclasses import replace

import numpy as np

from tandem.artifacts.contributions import BOTH
from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition
from tandem.config.experiments import Experiment
from tandem.config.own_code import located_code
from tandem.data.image_io import load_rgb
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.split_tables import has_caption, read_captions, read_image_rows
from tandem.explain.attribution import heat_maps, logits_with
from tandem.explain.explanation import (
    Explanation,
    best_of_captions,
    default_experiment,
    find_row,
    read_prediction,
    shown_labels,
)
from tandem.explain.occlusion import occlusion_maps
from tandem.explain.words import word_effects
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.graph.keys import STACK
from tandem.models.fold_ensemble import FoldEnsemble
from tandem.runtime.wrong_values import unknown
from tandem.training.split_inputs import read_inputs


def explain_image(paths: Paths, image: str, name: str = "") -> Explanation:
    """Explains a training row by the model of its held-out fold, a test row by the mean of all fold models.

    Without a name, by the `default_experiment`; without images, else by the best; the same, or the first that is
    scored, for the stack, whose terms are shown with those of any experiment. Raises ValueError if no row has that id
    or the models are stale, FileNotFoundError if there are none.
    """
    experiment, stack = choose_experiment(Experiments(paths), name)
    name, text_only = experiment.name, load_competition(paths.competition).images is None
    experiment.require_current()
    tables = {split: read_image_rows(file) for split in ("train", "test") if (file := paths.images(split)).exists()}
    by_split = {key: {split: table[key] for split, table in tables.items()} for key in ("id", "file")}
    split, row = find_row(image, by_split["id"], {} if text_only else by_split["file"])
    image = tables[split]["id"][row]
    rows = read_labelled_rows(paths)
    stacked = (paths.oof if split == "train" else paths.test)(stack.name).exists()
    missing = [] if stacked else [f"terms of the stack: there is no stack yet, run make stack COMP={paths.comp}"]
    used = (experiment, stack) if stacked else (experiment,)
    predictions = [read_prediction(one, rows.names, split, image) for one in used]
    told = None if split == "test" or rows.known is None else rows.known[row]
    if split == "test":
        truth, folds, models = None, experiment.folds, f"the mean of {len(experiment.folds)} fold models"
    else:
        truth, fold = rows.y[row].astype(bool), int(rows.fold[row])
        folds, models = [fold], f"the model of fold {fold}, not trained on this {'text' if text_only else 'image'}"
    texts = paths.captions(split)
    caption = dict(zip(*read_captions(texts), strict=True))[image] if texts.exists() else None
    photo = None if text_only else load_rgb(paths.input / tables[split]["file"][row])
    shown = shown_labels(predictions, truth)
    found = Explanation(paths.comp, image, split, models, rows.names, caption, photo, truth, tuple(predictions), shown)
    config = experiment.config
    no_map = "this competition has no images" if text_only else why_no_heat_map(config, name)
    reasons = {"heat map": no_map, "words": why_no_words(config, name, caption)}
    missing += [f"{what}: {reason}" for what, reason in reasons.items() if reason]
    parts: dict = {"missing": tuple(missing), "known": told}
    if all(reasons.values()) and not config.explains:
        return replace(found, **parts)
    if not all(paths.features(encoder.slug, split).exists() for encoder in config.encoders):
        again = f"make features COMP={paths.comp} EXPS={name}"
        raise FileNotFoundError(f"the features that {name} reads were removed, as by make clean-cache; run: {again}")
    ensemble = FoldEnsemble.load(located_code(config, paths.root), len(rows.names), experiment.models_of(folds))
    one = read_inputs(paths, config, split).take(np.array([row]))
    if config.explains:
        terms = ensemble.terms(one)
        parts["single_input"] = {key: part[0].sum(-1) for key, part in terms.items() if key != BOTH}
    if not reasons["heat map"]:
        # without a caption, `both` is `no_caption`
        if config.has_trunk:
            parts["heat"] = heat_maps(ensemble, one, found.shown, without_caption=False)
        else:
            assert photo is not None, "without images there is a reason for no heat map"
            parts |= {"heat": occlusion_maps(ensemble, one, found.shown, photo), "covered": True}
    if caption and not reasons["words"]:
        parts["words"] = word_effects(caption, lambda texts: logits_with(ensemble, one, texts))
    return replace(found, **parts)


def choose_experiment(experiments: Experiments, name: str) -> tuple[ExperimentDir, ExperimentDir]:
    """The experiment of this name, see `explain_image`, and the stack that is shown with it."""
    scored = [one.name for one in experiments.scored() if not one.is_stack and one.config.labels_new_images]
    stack = experiments[STACK]
    if scored and (name == STACK or name in [one.name for one in experiments.scored() if one.is_stack]):
        stack = experiments[name]
        name = default_experiment(experiments, stack.members if stack.is_trained else ()) or scored[0]
    text_only = experiments.competition.images is None
    name = name or default_experiment(experiments) or (best_of_captions(experiments) if text_only else "") or "fusion"
    experiment = experiments[name]
    if not experiment.is_trained or experiment.is_stack or experiment.is_external:
        comp = experiment.paths.comp
        if not scored:
            raise FileNotFoundError(f"nothing is trained for {comp!r}; run: make submit COMP={comp}")
        stacks = [one.name for one in experiments.scored() if one.is_stack]
        raise unknown("EXP", name, "expected a trained experiment that labels new images, or a stack", scored + stacks)
    return experiment, stack


def why_no_heat_map(experiment: Experiment, name: str) -> str:
    """The reason, or "" if there is a heat map."""
    if "image" not in experiment.reads:
        return f"{name}, of kind {experiment.kind}, does not use images"
    return "" if experiment.has_trunk or experiment.image_sizes else f"{name} uses image features made elsewhere"


def why_no_words(experiment: Experiment, name: str, caption: str | None) -> str:
    """The reason, or "" if there are word effects."""
    if caption is None:
        return "this competition has no captions"
    if "caption" not in experiment.reads:
        return f"{name} does not use captions"
    return "" if has_caption(caption) else "this image has no caption"

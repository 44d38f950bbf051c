"""Asks the trained models of one experiment about one image of its competition."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tandem.artifacts.contributions import BOTH
from tandem.artifacts.paths import Paths
from tandem.config.encoders import Encoder
from tandem.config.experiments import Experiment
from tandem.data.image_io import load_rgb
from tandem.data.split_tables import read_captions, read_images
from tandem.explain.attribution import heat_maps, logits_with
from tandem.explain.explanation import Account, Explanation, find_row, read_account, told_labels
from tandem.explain.words import Words, word_effects
from tandem.features.extract import load_encoder
from tandem.models.fold_ensemble import FoldEnsemble
from tandem.models.inputs import Inputs
from tandem.training.fold_job import Job
from tandem.training.split_inputs import read_inputs


def explain_image(paths: Paths, image: str, name: str) -> Explanation:
    """Of a training row with the model that did not see it, of a test row with all folds' models, their mean.

    Raises ValueError where no row has that id or the models are not current, FileNotFoundError where there are none.
    """
    if not paths.experiment_config(name).exists():
        files = paths.experiment(name).parent.glob("*/oof.parquet")
        known = sorted({file.parent.name for file in files} - {"stack"})
        raise FileNotFoundError(
            f"EXP={name!r}: expected one of {', '.join(known)}; the stack's terms are told beside it"
            if known
            else f"nothing is trained for {paths.comp!r}; run: make submit COMP={paths.comp}"
        )
    tables = {split: read_images(paths.images(split)) for split in ("train", "test")}
    split, row = find_row(image, {split: table["id"] for split, table in tables.items()})
    job = Job(paths, name)
    accounts, missing = _accounts(paths, name, job.rows.names, split, image)
    truth = job.rows.y[job.rows.ids.index(image)].astype(bool) if split == "train" else None
    folds, models = _asked(job, split, image)
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
        tuple(accounts),
        told_labels(accounts, truth),
    )
    reasons = {
        "heat map": no_heat(job.experiment, name),
        "words": no_words(job.experiment, name, caption),
    }
    missing += [f"{what}: {reason}" for what, reason in reasons.items() if reason]
    if all(reasons.values()) and not job.experiment.explains:
        return replace(found, missing=tuple(missing))
    loaded = _load(job, folds)
    inputs = job.inputs if split == "train" else read_inputs(paths, job.experiment, split)
    one = inputs.take(np.array([row]))
    parts: dict = {"missing": tuple(missing)}
    if job.experiment.explains:
        parts["alone"] = _alone(loaded, one)
    if not reasons["heat map"]:
        parts["heat"] = heat_maps(loaded, one, found.told, without_caption=False)  # an empty one was read too
    if not reasons["words"]:
        parts["words"] = ask_words(loaded, one, caption, encode_with(load_encoder))
    return replace(found, **parts)


def _accounts(
    paths: Paths, name: str, names: Sequence[str], split: str, image: str
) -> tuple[list[Account], list[str]]:
    """(what the experiment says and, where there is one, the stack; what can't be told)."""
    own = read_account(paths, name, names, split, image)
    if not paths.test("stack").exists():
        return [own], [f"the stack's terms: there is none yet, run make stack COMP={paths.comp}"]
    return [own, read_account(paths, "stack", names, split, image)], []


def _asked(job: Job, split: str, image: str) -> tuple[list[int], str]:
    """(the folds whose models are asked, these in words)."""
    if split == "test":
        return job.folds, f"the mean of {len(job.folds)} folds' models"
    fold = int(job.rows.fold[job.rows.ids.index(image)])
    return [fold], f"the model of fold {fold}, which did not see it"


def no_heat(experiment: Experiment, name: str) -> str:
    """Why there is no heat map, or ""."""
    if not experiment.explains:
        return f"{name} is of kind {experiment.kind}, not fusion"
    return "" if experiment.has_trunk else f"{name} has no trunk, so no map of the photo"


def no_words(experiment: Experiment, name: str, caption: str | None) -> str:
    """Why there are no words to leave out, or ""."""
    if caption is None:
        return "this competition has no captions"
    if "caption" not in experiment.reads:
        return f"{name} reads no captions"
    return "" if caption.strip() else "this image has no caption"


def ask_words(ensemble: FoldEnsemble, row: Inputs, caption: str, encode: Callable) -> Words:
    return word_effects(caption, lambda captions: logits_with(ensemble, row, captions, encode))


def encode_with(make_encoder: Callable) -> Callable[[Encoder, Sequence[str]], np.ndarray]:
    """Captions -> (n, views, ...); an encoder is made when it is first asked."""
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


def _load(job: Job, folds: list[int]) -> FoldEnsemble:
    stale = [k for k in folds if not job.fold_is_current(k)]
    if stale:
        raise ValueError(
            f"{job.paths.model(job.name, stale[0], '')}: not trained on the data and settings of today; "
            f"run: make train COMP={job.paths.comp} EXPS={job.name}"
        )
    files = [job.paths.model(job.name, k, ".safetensors") for k in folds]
    return FoldEnsemble.load(job.experiment, len(job.rows.names), files)


def _alone(ensemble: FoldEnsemble, row: Inputs) -> dict[str, np.ndarray]:
    """(c,) mean logits with the caption or the image missing, where the models can predict so."""
    terms = ensemble.terms(row)
    return {setting: part[0].sum(-1) for setting, part in terms.items() if setting != BOTH}

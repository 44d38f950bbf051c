"""The explanation of one image: predictions, the terms of their logits, heat maps and word effects."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np
from PIL import Image

from tandem.artifacts.contributions import BOTH, read_image_terms
from tandem.artifacts.predictions import Predictions
from tandem.config.metric_names import merit
from tandem.decoding.decision import Decision, decide
from tandem.explain.words import Words
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.logits import sigmoid
from tandem.runtime.wrong_values import WrongValue

LEAST, MOST = 3, 8  # labels shown in detail
FALSE_NEGATIVE, FALSE_POSITIVE = "FN", "FP"
ERRORS = {FALSE_NEGATIVE: "false negative: missed", FALSE_POSITIVE: "false positive: wrongly predicted"}


@dataclass(frozen=True)
class ExperimentPrediction:
    """The prediction of one experiment for one image."""

    experiment: str
    proba: np.ndarray  # (c,), out of fold for a training row
    pred: np.ndarray  # (c,) bool, decoded
    terms: np.ndarray | None  # (c, 6) TERMS, which add up to the logits; None if the experiment has none
    decision: Decision | None = None  # the rule that chose the labels, and the set that came second


@dataclass(frozen=True)
class Explanation:
    """Everything that is shown for one image."""

    comp: str
    image: str
    split: str
    models: str  # a description of those that were used
    names: tuple[str, ...]
    caption: str | None
    photo: Image.Image | None  # None of a competition without images
    truth: np.ndarray | None  # (c,) bool for a training row
    predictions: tuple[ExperimentPrediction, ...]  # of the experiment, and of the stack if there is one
    shown: tuple[int, ...]  # indices of the labels shown in detail, most probable first
    single_input: dict[str, np.ndarray] = field(default_factory=dict)  # (c,) logits without caption or without image
    heat: np.ndarray | None = None  # (shown, h, w), at least 0
    covered: bool = False  # how `heat` was made: by covering parts of the image, not from a feature map
    words: Words | None = None
    missing: tuple[str, ...] = ()  # what could not be computed, each with the reason
    known: np.ndarray | None = None  # (c,) bool: which labels of a training row are known; None: all are

    def error(self, prediction: ExperimentPrediction, j: int) -> str:
        """FN where label j was missed, FP where it was wrongly predicted, else ""; an unknown label is no error."""
        unknown = self.truth is None or (self.known is not None and not self.known[j])
        if self.truth is None or unknown or prediction.pred[j] == self.truth[j]:
            return ""
        return FALSE_NEGATIVE if self.truth[j] else FALSE_POSITIVE

    def verdict(self, prediction: ExperimentPrediction) -> list[tuple[str, str]]:
        """("", "predicted horse"), then (FN, "missed cat"), (FP, "wrongly predicted dog"), or that all is right."""
        order = np.argsort(-prediction.proba, kind="stable").tolist()

        def names(wanted: list[int]) -> str:
            return ", ".join(printable(self.names[j]) for j in wanted)

        parts = [("", f"predicted {names([j for j in order if prediction.pred[j]]) or 'no label'}")]
        for kind, verb in ((FALSE_NEGATIVE, "missed"), (FALSE_POSITIVE, "wrongly predicted")):
            if wrong := [j for j in order if self.error(prediction, j) == kind]:
                parts.append((kind, f"{verb} {names(wrong)}"))
        if self.truth is None:
            return [*parts, ("", "the true labels are not known")]
        return parts if len(parts) > 1 else [*parts, ("", "all right")]

    def true_label(self, j: int) -> str:
        """What is shown of label j of a training row: "yes", "unknown" or ""."""
        if self.known is not None and not self.known[j]:
            return "unknown"
        return "yes" if self.truth is not None and self.truth[j] else ""


def find_row(
    image: str, ids: Mapping[str, Sequence[str]], files: Mapping[str, Sequence[str]] | None = None
) -> tuple[str, int]:
    """(split, row number) of an id, or of an image file by its name or path; `files` has those of the rows of a split.

    Raises ValueError with similar ids where there is none, with the candidates where several rows have the file.
    """
    for split, known in ids.items():
        if image in known:
            return split, known.index(image)
    found = [
        (split, row)
        for split, names in (files or {}).items()
        for row, name in enumerate(names)
        if _same_file(image, name)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(ids[split][row] for split, row in found[:5])
        raise ValueError(f"ID={image!r}: {len(found)} rows have an image of this name; expected one of the ids {some}")
    every = [name for known in ids.values() for name in known]
    near = difflib.get_close_matches(PurePath(image).stem or image, every, n=3, cutoff=0.5)
    counts = " or ".join(f"{len(known):,} of {split}" for split, known in ids.items())
    hint = f"similar: {', '.join(near)}" if near else f"such as {every[0]}" if every else "there are none"
    message = f"ID={image!r}: expected an image id, or the name of its file, of one of the {counts}; {hint}"
    raise WrongValue(message, {"ID": (near or every)[0]} if every else {})


def _same_file(said: str, file: str) -> bool:
    """Whether one path is the end of the other, as a.jpg is of train/a.jpg and that of input/x/train/a.jpg."""
    short, long = sorted((PurePath(said).parts, PurePath(file).parts), key=len)
    return bool(short) and long[-len(short) :] == short


def default_experiment(experiments: Experiments, preferred: Sequence[str] = ()) -> str:
    """The trained experiment with terms, one of `preferred` where there is one: `fusion`, else the first by name; "" if
    there is none."""
    names = [one.name for one in experiments.scored() if not one.is_stack and one.config.explains]
    names = [name for name in names if name in preferred] or names
    return "fusion" if "fusion" in names else next(iter(names), "")


def best_of_captions(experiments: Experiments) -> str:
    """The trained experiment with the best score that reads captions alone; "" if there is none."""
    scored = [one for one in experiments.scored() if not one.is_stack and one.reads == {"caption"}]
    return max(scored, key=lambda one: merit(one.scores)).name if scored else ""


def read_prediction(experiment: ExperimentDir, names: Sequence[str], split: str, image: str) -> ExperimentPrediction:
    """The stored prediction for one image.

    Raises FileNotFoundError if the experiment is not trained and decoded, ValueError if its labels are not `names`.
    """
    paths, name = experiment.paths, experiment.name
    file = paths.oof(name) if split == "train" else paths.test(name)
    for needed in (file, paths.thresholds(name)):
        if not needed.exists():
            raise FileNotFoundError(f"{needed} does not exist; run: {experiment.command}")
    predictions = Predictions.read(file)
    if predictions.names != tuple(names):
        raise ValueError(f"{file} was made with another label list; run: {experiment.command}")
    proba, terms = predictions.aligned_to([image]), None
    has_terms = experiment.is_stack or experiment.config.has_terms
    if has_terms and paths.contributions(name).exists():  # heads of older versions wrote none
        setting = BOTH if split == "train" and not experiment.is_stack else split
        terms = read_image_terms(paths.contributions(name), setting, image)
    decision = decide(experiment.decoder(), proba[0])
    return ExperimentPrediction(name, proba[0], decision.chosen, terms, decision)


def shown_labels(predictions: Sequence[ExperimentPrediction], truth: np.ndarray | None) -> tuple[int, ...]:
    """Predicted and true labels, then the most probable other ones, ordered by the first prediction."""
    proba = predictions[0].proba
    wanted = np.any([p.pred for p in predictions] + ([] if truth is None else [truth]), axis=0)
    order = np.argsort(-proba, kind="stable").tolist()
    first = [j for j in order if wanted[j]][:MOST]
    others = [j for j in order if not wanted[j]][: max(0, LEAST - len(first))]
    return tuple(sorted(first + others, key=lambda j: -proba[j]))


def largest_gap(proba: np.ndarray, terms: np.ndarray) -> float:
    """Largest difference between a probability (c,) and the sigmoid of the summed terms (c, 6)."""
    return float(np.abs(sigmoid(terms.astype(np.float64).sum(-1)) - proba).max())


def used_terms(terms: np.ndarray) -> list[int]:
    """Indices of the terms (c, 6) that are not 0 for all labels."""
    return np.flatnonzero(np.abs(terms).max(0) > 0).tolist()


def printable(text: str) -> str:
    """White space as spaces, and no control characters (cursor movement, text direction).

    >>> printable("a" + chr(27) + "[2J" + chr(10) + "b")
    'a�[2J b'
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)

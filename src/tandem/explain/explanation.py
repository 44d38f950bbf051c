"""The explanation of one image: what each experiment says, from which terms, and what the networks went by."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.contributions import BOTH, NO_CAPTION, NO_IMAGE, read_image_terms
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.experiments import read_resolved
from tandem.decoding import Decoder
from tandem.explain.words import Words

LEAST, MOST = 3, 8  # labels that are told in full
# how TERMS are called where a person reads them
SPOKEN = {
    "image": "seen",
    "caption": "read",
    "fusion": "both together",
    "context": "other labels",
    "base": "base rate",
}
ALONE = {NO_CAPTION: "the photo alone", NO_IMAGE: "the caption alone"}


@dataclass(frozen=True)
class Account:
    """One experiment's word on one image.

    proba    (c,), of a training row out of fold
    decided  (c,) bool: the labels that its decoder gives
    terms    (c, 5) TERMS, which add up to the logits; None where it can't tell them
    """

    experiment: str
    proba: np.ndarray
    decided: np.ndarray
    terms: np.ndarray | None


@dataclass(frozen=True)
class Explanation:
    """All that is told of one image.

    models   which models were asked, in words
    truth    (c,) bool of a training row, else None
    told     numbers of the labels that are told in full, most probable first
    alone    (c,) logits a setting, with the caption or the photo missing
    heat     (told, h, w), at least 0
    missing  what can't be told of this image, and why
    """

    comp: str
    image: str
    split: str
    models: str
    names: tuple[str, ...]
    caption: str | None
    photo: Image.Image
    truth: np.ndarray | None
    accounts: tuple[Account, ...]
    told: tuple[int, ...]
    alone: dict[str, np.ndarray] = field(default_factory=dict)
    heat: np.ndarray | None = None
    words: Words | None = None
    missing: tuple[str, ...] = ()


def find_row(image: str, ids: dict[str, Sequence[str]]) -> tuple[str, int]:
    """(split, number of the row) of an id; raises ValueError with ids that look like it."""
    for split, known in ids.items():
        if image in known:
            return split, known.index(image)
    every = [name for known in ids.values() for name in known]
    near = difflib.get_close_matches(image, every, n=3, cutoff=0.5)
    counts = " or ".join(f"{len(known):,} of {split}" for split, known in ids.items())
    hint = f"near: {', '.join(near)}" if near else f"such as {every[0]}" if every else "there are none"
    raise ValueError(f"ID={image!r}: expected an image id, one of the {counts}; {hint}")


def explaining(paths: Paths) -> str | None:
    """The trained experiment that says why: `fusion`, else the first by name, None where there is none."""
    files = sorted(paths.experiment_config("fusion").parent.glob("*.json"))
    names = [file.stem for file in files if paths.thresholds(file.stem).exists()]
    names = [name for name in names if read_resolved(paths.experiment_config(name)).explains]
    return "fusion" if "fusion" in names else next(iter(names), None)


def read_account(paths: Paths, experiment: str, names: Sequence[str], split: str, image: str) -> Account:
    """What is on disk about the labels `names`.

    Raises FileNotFoundError where the experiment has not been trained and decoded, ValueError where it was on others.
    """
    file = paths.oof(experiment) if split == "train" else paths.test(experiment)
    what = f"make stack COMP={paths.comp}" if experiment == "stack" else _train(paths, experiment)
    for needed in (file, paths.thresholds(experiment)):
        if not needed.exists():
            raise FileNotFoundError(f"{needed} does not exist; run: {what}")
    predictions = Predictions.read(file)
    if predictions.names != tuple(names):
        raise ValueError(f"{file} was made with another label list; run: {what}")
    proba = predictions.aligned_to([image])
    decoder = Decoder.from_json(read_json(paths.thresholds(experiment)))
    terms, contributions = None, paths.contributions(experiment)
    if experiment == "stack" or read_resolved(paths.experiment_config(experiment)).explains:
        setting = BOTH if split == "train" and experiment != "stack" else split
        terms = read_image_terms(contributions, setting, image)
    return Account(experiment, proba[0], decoder(proba)[0].astype(bool), terms)


def _train(paths: Paths, experiment: str) -> str:
    return f"make train COMP={paths.comp} EXPS={experiment}"


def told_labels(accounts: Sequence[Account], truth: np.ndarray | None) -> tuple[int, ...]:
    """The labels that are given or true, and the most probable ones, as the first account ranks them."""
    first = accounts[0].proba
    wanted = np.any([account.decided for account in accounts], axis=0)
    if truth is not None:
        wanted |= truth
    order = np.argsort(-first, kind="stable")
    told = [int(j) for j in order if wanted[j]][:MOST]
    more = [int(j) for j in order if not wanted[j]][: max(0, LEAST - len(told))]
    return tuple(sorted(told + more, key=lambda j: -first[j]))


def gap(account: Account) -> float:
    """Largest difference between a probability and what the terms add up to, as probability."""
    total = 1 / (1 + np.exp(-account.terms.astype(np.float64).sum(-1)))
    return float(np.abs(total - account.proba).max())


def printable(text: str) -> str:
    """White space as spaces, and without characters that would move a terminal's cursor or turn the text's direction.

    >>> printable("a" + chr(27) + "[2J" + chr(10) + "b")
    'a�[2J b'
    """
    return "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text
    )

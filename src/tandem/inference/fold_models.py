"""The trained folds of an experiment on new rows, and the frozen encoders that several experiments share."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.contributions import BOTH, NO_CAPTION, TERMS, term_of
from tandem.artifacts.paths import Paths
from tandem.config.encoders import Encoder
from tandem.config.experiments import (
    Experiment,
    FinetuneExperiment,
    FusionExperiment,
    located,
    read_resolved,
    sees,
)
from tandem.features.extract import make
from tandem.graph.currency import is_current
from tandem.logits import logit
from tandem.models.inputs import Inputs, Maps
from tandem.models.registry import make_model


def own_size(experiment: Experiment) -> int | None:
    """Of the squares that it reads itself, not through an encoder's features."""
    if isinstance(experiment, FinetuneExperiment):
        return experiment.size
    if isinstance(experiment, FusionExperiment) and experiment.trunk and not experiment.cached:
        return experiment.trunk.size
    return None


def sizes(experiment: Experiment) -> set[int]:
    """Of all squares that it sees images as.

    >>> sizes(FinetuneExperiment(kind="finetune", size=64))
    {64}
    """
    found = {e.size for e in experiment.encoders if e.reads == "image"}
    return found | {own_size(experiment)} - {None}


def needs_captions(experiment: Experiment) -> bool:
    """Whether it can say nothing of a photo alone."""
    seen = sees(experiment)
    return "caption" in seen and not (experiment.explains and "image" in seen)


@dataclass(frozen=True)
class NewRows:
    """Images decoded once, and their captions.

    squares   (n, size, size, 3) uint8 a size
    captions  (n,) str, "" for none
    features  what encoders said of them so far, by their slugs
    """

    squares: dict[int, Sequence[np.ndarray]]
    captions: Sequence[str]
    features: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.captions)

    def take(self, rows: Sequence[int]) -> "NewRows":
        squares = {size: [images[i] for i in rows] for size, images in self.squares.items()}
        return NewRows(squares, [self.captions[i] for i in rows])


class Encoders:
    """Frozen encoders, each loaded at its first use and called once for the rows that it is given.

    Several threads may call, each for rows of its own.
    """

    def __init__(self):
        self._made: dict[str, Callable] = {}
        self._one = threading.Lock()  # a tokenizer serves one thread at a time

    def __call__(self, cfg: Encoder, rows: NewRows) -> np.ndarray:
        """(n, views, ...) float16, as features are on disk."""
        if cfg.slug not in rows.features:
            image = cfg.reads == "image"
            with nullcontext() if image else self._one:
                blocks = list(self.made(cfg)(rows.squares[cfg.size] if image else rows.captions))
            rows.features[cfg.slug] = np.concatenate(blocks).astype(np.float16)
        return rows.features[cfg.slug]

    def made(self, cfg: Encoder) -> Callable[[Sequence], Iterator[np.ndarray]]:
        if cfg.slug not in self._made:
            self._made[cfg.slug] = make(cfg)
        return self._made[cfg.slug]


class Member:
    """An experiment's models, loaded once."""

    def __init__(self, paths: Paths, name: str, folds: int = 0):
        """`folds`: only the first so many models; 0 is all.

        Raises FileNotFoundError where it is not trained, ValueError where it is no longer as it was scored.
        """
        config, run = paths.experiment_config(name), paths.run(name)
        if not (config.exists() and run.exists() and paths.thresholds(name).exists()):
            raise FileNotFoundError(f"{name!r} is not trained; run: make train COMP={paths.comp} EXPS={name}")
        if not is_current(paths, name):
            raise ValueError(
                f"{name!r} has other settings than it was trained with, or its training was broken off; "
                f"run: make train COMP={paths.comp} EXPS={name}"
            )
        self.name = name
        self.experiment = located(read_resolved(config), paths.root)
        n_labels = len(read_json(paths.thresholds(name))["labels"])
        numbers = range(len(read_json(run)["seconds_per_fold"]))[: folds or None]
        files = [paths.model(name, k, ".safetensors") for k in numbers]
        self.models = [make_model(self.experiment, n_labels).load(file) for file in files]

    def terms(self, rows: NewRows, encoders: Encoders, blind: bool = False) -> np.ndarray:
        """(n, c, 5) of TERMS that add up to the mean of the folds' logits; `blind`: as if there were no captions."""
        inputs, total = self.inputs(rows, encoders), 0.0
        for model in self.models:
            if self.experiment.explains:
                terms = model.predict_terms(inputs)
                total += terms[NO_CAPTION if blind and NO_CAPTION in terms else BOTH]
            else:
                logits = logit(model.predict_proba(inputs))
                total += np.eye(len(TERMS))[TERMS.index(term_of(sees(self.experiment)))] * logits[..., None]
        return total / len(self.models)

    def inputs(self, rows: NewRows, encoders: Encoders) -> Inputs:
        """What its models are given of these rows."""
        cfg, blocks, maps = self.experiment, [], []
        for encoder in cfg.encoders:
            values = encoders(encoder, rows)
            (maps if encoder.kind in ("trunk", "tokens") else blocks).append(values)
        direct = own_size(cfg)
        return Inputs(
            len(rows),
            blocks=tuple(blocks),
            captions=rows.captions,
            files=rows.squares[direct] if direct else None,
            maps=tuple(Maps((values,)) for values in maps),
        )

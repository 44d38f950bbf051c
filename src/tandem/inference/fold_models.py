"""The trained folds of an experiment on new rows, and the frozen encoders that several experiments share."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np

from tandem.artifacts.contributions import BOTH, NO_CAPTION
from tandem.config.encoders import Encoder
from tandem.features.extract import load_encoder
from tandem.graph.experiment_dir import ExperimentDir
from tandem.models.base import FoldEnsemble, in_setting
from tandem.models.inputs import Inputs, build_inputs


@dataclass(frozen=True)
class NewRows:
    """Images decoded once, and their captions.

    squares   (n, size, size, 3) uint8 by size
    captions  (n,) str, "" for none
    features  (n, views, ...) float16 by slug of the encoder, of those that were run so far
    """

    squares: Mapping[int, Sequence[np.ndarray]]
    captions: Sequence[str]
    features: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.captions)

    def take(self, rows: Sequence[int]) -> "NewRows":
        squares = {size: [images[i] for i in rows] for size, images in self.squares.items()}
        return NewRows(squares, [self.captions[i] for i in rows])


class Encoders:
    """Frozen encoders, each loaded at its first use and run once for the same `NewRows`.

    Several threads may call, each with rows of its own.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Callable[[Sequence], Iterator[np.ndarray]]] = {}
        self._caption_lock = threading.Lock()  # a tokenizer serves one thread at a time

    def __call__(self, cfg: Encoder, rows: NewRows) -> np.ndarray:
        """(n, views, ...) float16, as features are on disk."""
        if cfg.slug not in rows.features:
            size = cfg.image_size
            with self._caption_lock if size is None else nullcontext():
                blocks = list(self.load(cfg)(rows.captions if size is None else rows.squares[size]))
            rows.features[cfg.slug] = np.concatenate(blocks).astype(np.float16)
        return rows.features[cfg.slug]

    def load(self, cfg: Encoder) -> Callable[[Sequence], Iterator[np.ndarray]]:
        if cfg.slug not in self._loaded:
            self._loaded[cfg.slug] = load_encoder(cfg)
        return self._loaded[cfg.slug]


@dataclass(frozen=True)
class NewSource:
    """New rows, encoded when a model asks for their features; their ids are their numbers."""

    rows: NewRows
    encoders: Encoders

    @property
    def ids(self) -> list[str]:
        return [str(i) for i in range(len(self.rows))]

    @property
    def captions(self) -> Sequence[str]:
        return self.rows.captions

    def images(self, size: int) -> Sequence[np.ndarray]:
        return self.rows.squares[size]

    def features(self, encoder: Encoder) -> np.ndarray:
        return self.encoders(encoder, self.rows)


class Member:
    """A trained experiment with its fold models, loaded once."""

    def __init__(self, trained: ExperimentDir, folds: int = 0) -> None:
        """`folds`: only this number of models, the first ones; 0 is all.

        Raises FileNotFoundError where it is not trained, ValueError where its models are stale.
        """
        trained.require_current()
        self.name, self.experiment = trained.name, trained.config
        self.ensemble = FoldEnsemble.load(self.experiment, len(trained.labels), trained.models(folds))

    def terms(self, rows: NewRows, encoders: Encoders, without_captions: bool = False) -> np.ndarray:
        """(n, c, 5) of TERMS that add up to the mean of the folds' logits."""
        terms = self.ensemble.terms(self.inputs(rows, encoders))
        return in_setting(terms, NO_CAPTION if without_captions else BOTH)

    def inputs(self, rows: NewRows, encoders: Encoders) -> Inputs:
        """What its models read of these rows."""
        return build_inputs(self.experiment, NewSource(rows, encoders))

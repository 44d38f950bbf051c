"""The trained folds of an experiment on new rows, and the frozen encoders that several experiments share."""

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np

from tandem.artifacts.contributions import BOTH, NO_CAPTION
from tandem.config.encoders import AddedFeatures, Encoder, ImageSize
from tandem.config.experiments import located
from tandem.features.extract import load_encoder
from tandem.graph.experiment_dir import ExperimentDir
from tandem.models.fold_ensemble import FoldEnsemble, in_setting
from tandem.models.inputs import Inputs, build_inputs


class Encoders:
    """Frozen encoders, each loaded at its first use; several threads may call."""

    def __init__(self) -> None:
        self._loaded: dict[str, Callable[[Sequence], Iterator[np.ndarray]]] = {}
        self._caption_lock = threading.Lock()  # a tokenizer serves one thread at a time

    def load(self, encoder: Encoder) -> Callable[[Sequence], Iterator[np.ndarray]]:
        if encoder.slug not in self._loaded:
            self._loaded[encoder.slug] = load_encoder(encoder)
        return self._loaded[encoder.slug]

    def encode(self, encoder: Encoder, items: Sequence) -> np.ndarray:
        """(n, views, ...) float16, as features are on disk."""
        with self._caption_lock if encoder.image_size is None else nullcontext():
            return np.concatenate(list(self.load(encoder)(items))).astype(np.float16)


@dataclass(frozen=True)
class NewRows:
    """Decoded images and their captions; features are computed at first use and kept. Ids are the row numbers."""

    encoders: Encoders
    squares: Mapping[ImageSize, Sequence[np.ndarray]]  # (n, size, size, 3) uint8 by size
    captions: Sequence[str]  # (n,), "" for none
    encoded: dict[str, np.ndarray] = field(default_factory=dict)  # by slug of the encoder

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def ids(self) -> list[str]:
        return [str(i) for i in range(len(self))]

    @property
    def caption_lists(self) -> list[list[str]]:
        return [[caption] for caption in self.captions]

    def images(self, size: int) -> Sequence[np.ndarray]:
        return self.squares[size]

    def features(self, encoder: Encoder) -> np.ndarray:
        """(n, views, ...) float16."""
        if encoder.slug not in self.encoded:
            items = self.captions if encoder.image_size is None else self.squares[encoder.image_size]
            self.encoded[encoder.slug] = self.encoders.encode(encoder, items)
        return self.encoded[encoder.slug]

    def added(self, features: AddedFeatures) -> np.ndarray:
        raise ValueError(f"the features {features.name!r} are of the tables' rows alone")  # `Member` says more

    def take(self, rows: Sequence[int]) -> "NewRows":
        squares = {size: [images[i] for i in rows] for size, images in self.squares.items()}
        return NewRows(self.encoders, squares, [self.captions[i] for i in rows])


class Member:
    """A trained experiment with its fold models, loaded once."""

    def __init__(self, trained: ExperimentDir, folds: int = 0) -> None:
        """Loads the first `folds` models, or all (0); raises FileNotFoundError where the experiment is not trained,
        ValueError where its models are stale."""
        trained.require_current().require_models()
        self.name, self.experiment, self._trained = trained.name, located(trained.config, trained.paths.root), trained
        self.folds = trained.folds[: folds or None]  # of its models
        self.ensemble = FoldEnsemble.load(self.experiment, len(trained.labels), trained.models(folds))

    def of_fold(self, fold: int) -> "Member | None":
        """With the models of one fold alone, which did not see its rows; None where there are none, as in a bundle of
        fewer folds."""
        if fold not in self._trained.folds:
            return None
        if fold not in self.folds:
            files = self._trained.models_of([fold])
            models = FoldEnsemble.load(self.experiment, len(self._trained.labels), files).models
        else:
            seeds, at = self._trained.config.seeds, self.folds.index(fold)
            models = self.ensemble.models[at * seeds : (at + 1) * seeds]
        member = copy.copy(self)
        member.folds, member.ensemble = [fold], FoldEnsemble(self.experiment, models)
        return member

    def inputs(self, rows: NewRows) -> Inputs:
        return build_inputs(self.experiment, rows)

    def logits(self, rows: NewRows, without_captions: bool = False) -> np.ndarray:
        """(n, c): the mean of the folds' logits."""
        return self.ensemble.logits(self.inputs(rows), NO_CAPTION if without_captions else BOTH)

    def logits_and_terms(self, rows: NewRows, without_captions: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(`logits` to the last bit, (n, c, 6) of TERMS that add up to them)."""
        inputs = self.inputs(rows)
        terms = in_setting(self.ensemble.terms(inputs), NO_CAPTION if without_captions else BOTH)
        summed = self.experiment.explains or not self.experiment.has_terms
        return terms.sum(-1) if summed else self.ensemble.logits(inputs), terms

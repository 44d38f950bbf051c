"""Decoders fitted without the rows they are scored on, and the choice between them (nested cross-validation).

A decoder for fold k is tuned on the other folds. All other choices (how far thresholds are shrunk, the kind of
calibration, the decoder itself) are made within those folds, by leaving out one more of them, so that the reported
score includes the cost of every choice.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from tandem.decoding.calibration import KINDS, Calibration, calibrate, fit_size_weights
from tandem.decoding.decoder import DECODERS, Decoder, default_decoder
from tandem.decoding.label_rule import Rule
from tandem.decoding.thresholds import shrink, tune_ascent, tune_global, tune_per_class
from tandem.metrics import log_loss, paired_interval

STRENGTHS = (0.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, np.inf)

Folds = frozenset[int]
NONE: Folds = frozenset()
T = TypeVar("T")


@dataclass
class NestedCV:
    """All decoders of one experiment's out-of-fold probabilities.

    proba (n, c), y (n, c) 0/1, fold (n,). Every fitted part is cached by the folds that were left out, because the
    nested fits share most of them.
    """

    proba: np.ndarray
    y: np.ndarray
    fold: np.ndarray
    rule: Rule
    threads: int = 1
    _cache: dict[tuple, Any] = field(default_factory=dict)

    @cached_property
    def folds(self) -> list[int]:
        return [int(k) for k in np.unique(self.fold)]

    def decoder(self, name: str, without: Folds = NONE) -> Decoder:
        """The decoder `name` (of DECODERS, or "auto") fitted on all rows but those of the folds `without`."""
        return self._cached(("decoder", name, without), lambda: self._fit(name, without))

    def cross_val_predict(self, name: str, without: Folds = NONE) -> np.ndarray:
        """(n, c) bool: each fold decoded by a decoder fitted without it; all False in the folds `without`."""

        def predict() -> np.ndarray:
            pred = np.zeros(self.proba.shape, bool)
            for left_out, rows in self._splits(without):
                pred[rows] = self.decoder(name, left_out)(self.proba[rows])
            return pred

        return self._cached(("cross_val_predict", name, without), predict)

    def score(self, name: str, without: Folds = NONE) -> float:
        """The competition's metric of `cross_val_predict`, over the pooled rows."""
        rows = self._kept(without)
        return self.rule.score(self.y[rows], self.cross_val_predict(name, without)[rows])

    def gain(self, name: str, without: Folds = NONE) -> tuple[float, float, float]:
        """(gain over the default decoder, lower, upper): paired 95 % interval, both cross-fitted."""
        rows, default = self._kept(without), default_decoder(self.rule.metric)
        baseline, other = (self.cross_val_predict(n, without)[rows] for n in (default, name))
        return paired_interval(self.rule.metric, self.y[rows], baseline, other, self.rule.beta)

    def choose(self, without: Folds = NONE) -> str:
        """The decoder of best cross-fitted score, or the default one where the gain over it may be chance."""
        scores = {name: self.score(name, without) for name in DECODERS}
        best = max(scores, key=lambda name: scores[name])
        return best if self.gain(best, without)[1] > 0 else default_decoder(self.rule.metric)

    def prepare(self) -> "NestedCV":
        """Fits what the nested choices share, on all threads; changes no result."""
        once = [NONE, *(frozenset({k}) for k in self.folds)]
        unions = {a | b | c for a in once for b in once for c in once}
        left_out = [folds for folds in unions if len(folds) < len(self.folds)]
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(self._ascent, left_out))
            list(pool.map(lambda folds: [self._calibration(kind, folds) for kind in KINDS], left_out))
        return self

    def _fit(self, name: str, without: Folds) -> Decoder:
        rule, (proba, y) = self.rule, self._rows(without)
        c = proba.shape[1]
        if name == "auto":
            return self.decoder(self.choose(without), without)
        if name == "fixed":
            return Decoder(name, rule, np.full(c, 0.5))
        if name == "global":
            return Decoder(name, rule, np.full(c, self._ascent(without)[1]))
        if name == "per_class":
            return Decoder(name, rule, tune_per_class(proba, y, rule))
        if name == "ascent":
            return Decoder(name, rule, self._ascent(without)[0])
        if name == "shrunk":
            strength = self._best_strength(without)
            return Decoder(name, rule, self._shrunk(without, strength), strength=strength)
        calibration = self._best_calibration(without)
        if name == "expected":
            return Decoder(name, rule, None, calibration)
        if name == "gfm":
            return Decoder(name, rule, None, calibration, fit_size_weights(calibration(proba), y))
        raise ValueError(f"no decoder {name!r}; there are {[*DECODERS, 'auto']}")

    def _best_strength(self, without: Folds) -> float:
        """How far to shrink: the best of STRENGTHS on folds that the thresholds were not tuned on."""
        rows = self._kept(without)
        scores = []
        for strength in STRENGTHS:
            pred = np.zeros(self.proba.shape, bool)
            for left_out, held_out in self._splits(without):
                thresholds = self._shrunk(left_out, strength)
                pred[held_out] = Decoder("shrunk", self.rule, thresholds)(self.proba[held_out])
            scores.append(self.rule.score(self.y[rows], pred[rows]))
        return STRENGTHS[int(np.argmax(scores))]

    def _shrunk(self, without: Folds, strength: float) -> np.ndarray:
        own, common = self._ascent(without)
        return shrink(own, common, self._rows(without)[1].sum(0), strength)

    def _ascent(self, without: Folds) -> tuple[np.ndarray, float]:
        """(thresholds by coordinate ascent, the best global threshold)."""

        def fit() -> tuple[np.ndarray, float]:
            proba, y = self._rows(without)
            return tune_ascent(proba, y, self.rule), tune_global(proba, y, self.rule)

        return self._cached(("ascent", without), fit)

    def _best_calibration(self, without: Folds) -> Calibration:
        """Of the kind with the lowest cross-fitted log loss."""

        def choose() -> Calibration:
            rows = self._kept(without)
            losses = {}
            for kind in KINDS:
                proba = np.zeros(self.proba.shape)
                for left_out, held_out in self._splits(without):
                    proba[held_out] = self._calibration(kind, left_out)(self.proba[held_out])
                losses[kind] = log_loss(self.y[rows], proba[rows])
            return self._calibration(min(losses, key=lambda kind: losses[kind]), without)

        return self._cached(("best calibration", without), choose)

    def _calibration(self, kind: str, without: Folds) -> Calibration:
        return self._cached(("calibration", kind, without), lambda: calibrate(kind, *self._rows(without)))

    def _kept(self, without: Folds) -> np.ndarray:
        """(n,) bool: the rows outside the folds `without`."""
        return ~np.isin(self.fold, list(without))

    def _rows(self, without: Folds) -> tuple[np.ndarray, np.ndarray]:
        """(proba, y) outside the folds `without`."""
        if not without:
            return self.proba, self.y
        rows = self._kept(without)
        return self.proba[rows], self.y[rows]

    def _splits(self, without: Folds) -> list[tuple[Folds, np.ndarray]]:
        """(folds to leave out, rows to decode), in turn; where one fold remains, it is both fitted and decoded."""
        left = [k for k in self.folds if k not in without]
        if len(left) == 1:
            return [(without, self.fold == left[0])]
        return [(without | {k}, self.fold == k) for k in left]

    def _cached(self, key: tuple, make: Callable[[], T]) -> T:
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

"""Decoders fitted without the rows they are scored on, and the choice between them (nested cross-validation).

A decoder for fold k is tuned on the other folds. All other choices (how far thresholds are shrunk, the kind of
calibration, the decoder itself) are made within those folds, by leaving out one more of them, so that the reported
score includes the cost of every choice.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
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
    """All decoders of one experiment's out-of-fold probabilities."""

    proba: np.ndarray  # (n, c)
    y: np.ndarray  # (n, c) 0/1
    fold: np.ndarray  # (n,)
    rule: Rule
    threads: int = 1
    _cache: dict[tuple, Any] = field(default_factory=dict)  # by the folds left out: the nested fits share most parts

    @cached_property
    def folds(self) -> list[int]:
        return [int(k) for k in np.unique(self.fold)]

    def decoder(self, name: str, without: Folds = NONE) -> Decoder:
        """The decoder `name` (of DECODERS, or "auto") fitted on all rows but those of the folds `without`."""
        return self._cached(("decoder", name, without), lambda: self._fit(name, without))

    def cross_val_predict(self, name: str, without: Folds = NONE) -> np.ndarray:
        """(n, c) bool: each fold decoded by a decoder fitted without it; all False in the folds `without`."""
        key = ("cross_val_predict", name, without)
        return self._cached(key, lambda: self._apply(without, partial(self.decoder, name)).astype(bool))

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
        best = max(DECODERS, key=lambda name: self.score(name, without))
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
        if name == "auto":
            return self.decoder(self.choose(without), without)
        rule, (proba, y) = self.rule, self._rows(without)
        if name in ("expected", "gfm"):
            calibration = self._cached(("best calibration", without), lambda: self._best_calibration(without))
            sizes = fit_size_weights(calibration(proba), y) if name == "gfm" else None
            return Decoder(name, rule, None, calibration, sizes)
        if name == "shrunk":
            return self._shrunk(self._best_strength(without), without)
        if name == "per_class":
            return Decoder(name, rule, tune_per_class(proba, y, rule))
        if name == "fixed":
            return Decoder(name, rule, np.full(proba.shape[1], 0.5))
        if name not in ("global", "ascent"):
            raise ValueError(f"no decoder {name!r}; there are {[*DECODERS, 'auto']}")
        own, common = self._ascent(without)
        return Decoder(name, rule, own if name == "ascent" else np.full(len(own), common))

    def _best_strength(self, without: Folds) -> float:
        """How far to shrink: the best of STRENGTHS on folds that the thresholds were not tuned on."""
        rows = self._kept(without)

        def score(strength: float) -> float:
            return self.rule.score(self.y[rows], self._apply(without, partial(self._shrunk, strength))[rows])

        return max(STRENGTHS, key=score)

    def _shrunk(self, strength: float, without: Folds) -> Decoder:
        own, common = self._ascent(without)
        thresholds = shrink(own, common, self._rows(without)[1].sum(0), strength)
        return Decoder("shrunk", self.rule, thresholds, strength=strength)

    def _ascent(self, without: Folds) -> tuple[np.ndarray, float]:
        """(thresholds by coordinate ascent, the best global threshold)."""

        def fit() -> tuple[np.ndarray, float]:
            proba, y = self._rows(without)
            return tune_ascent(proba, y, self.rule), tune_global(proba, y, self.rule)

        return self._cached(("ascent", without), fit)

    def _best_calibration(self, without: Folds) -> Calibration:
        """The calibration of the kind with the lowest cross-fitted log loss."""
        rows = self._kept(without)

        def loss(kind: str) -> float:
            return log_loss(self.y[rows], self._apply(without, partial(self._calibration, kind))[rows])

        return self._calibration(min(KINDS, key=loss), without)

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

    def _apply(self, without: Folds, fit: Callable[[Folds], Callable[[np.ndarray], np.ndarray]]) -> np.ndarray:
        """(n, c): each fold through what is fitted without it, or on it where it is the only one; zero in `without`."""
        out, left = np.zeros(self.proba.shape), [k for k in self.folds if k not in without]
        for k in left:
            out[self.fold == k] = fit(without | {k} if len(left) > 1 else without)(self.proba[self.fold == k])
        return out

    def _cached(self, key: tuple, make: Callable[[], T]) -> T:
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

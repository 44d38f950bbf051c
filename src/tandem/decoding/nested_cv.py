"""Decoders fitted and scored without ever seeing the rows they are scored on, and the choice between them.

A decoder for fold k is tuned on the other folds. What is chosen on the way (how far thresholds are shrunk, the kind
of calibration, the decoder itself) is chosen inside those folds, by leaving out one more of them: nested
cross-fitting, so that the headline score pays for every choice.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tandem.decoding.calibration import KINDS, Calibration, calibrate, fit_sizes
from tandem.decoding.decoder import DECODERS, Decoder, standing
from tandem.decoding.label_rule import Rule
from tandem.decoding.thresholds import shrink, tune_ascent, tune_global, tune_per_class
from tandem.metrics import log_loss, paired_interval

STRENGTHS = (0.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, np.inf)

Folds = frozenset[int]
NONE: Folds = frozenset()


@dataclass
class CrossFit:
    """All decoders of one experiment's out-of-fold probabilities.

    proba (n, c), y (n, c) 0/1, fold (n,). Every fitted part is kept, keyed by the folds that were left out, because
    the nested fits share most of them.
    """

    proba: np.ndarray
    y: np.ndarray
    fold: np.ndarray
    rule: Rule
    threads: int = 1

    def __post_init__(self):
        self._kept: dict = {}

    @cached_property
    def folds(self) -> list[int]:
        return [int(k) for k in np.unique(self.fold)]

    def decoder(self, name: str, without: Folds = NONE) -> Decoder:
        """The decoder `name` (of DECODERS, or "auto") fitted on all rows but those of the folds `without`."""
        return self._once(("decoder", name, without), lambda: self._fit(name, without))

    def cross_fitted(self, name: str, without: Folds = NONE) -> np.ndarray:
        """(n, c) bool: each fold decoded by a decoder that did not see it; all False in the folds `without`."""

        def decode() -> np.ndarray:
            pred = np.zeros(self.proba.shape, bool)
            for left_out, rows in self._splits(without):
                pred[rows] = self.decoder(name, left_out)(self.proba[rows])
            return pred

        return self._once(("cross_fitted", name, without), decode)

    def score(self, name: str, without: Folds = NONE) -> float:
        """The competition's metric of `cross_fitted`, over the pooled rows."""
        rows = ~np.isin(self.fold, list(without))
        return self.rule.score(self.y[rows], self.cross_fitted(name, without)[rows])

    def prepare(self) -> "CrossFit":
        """Fits what the nested choices share, on all threads; changes no result."""
        once = [NONE, *(frozenset({k}) for k in self.folds)]
        sets = {a | b | c for a in once for b in once for c in once}
        sets = [s for s in sets if len(s) < len(self.folds)]
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(self._ascent, sets))
            list(pool.map(lambda s: [self._calibration(kind, s) for kind in KINDS], sets))
        return self

    def _fit(self, name: str, without: Folds) -> Decoder:
        rule, (proba, y) = self.rule, self._rows(without)
        c = proba.shape[1]
        if name == "auto":
            return self.decoder(self.choice(without), without)
        if name == "fixed":
            return Decoder(name, rule, np.full(c, 0.5))
        if name == "global":
            return Decoder(name, rule, np.full(c, self._ascent(without)[1]))
        if name == "per_class":
            return Decoder(name, rule, tune_per_class(proba, y, rule))
        if name == "ascent":
            return Decoder(name, rule, self._ascent(without)[0])
        if name == "shrunk":
            strength = self._strength(without)
            return Decoder(name, rule, self._shrunk(without, strength), strength=strength)
        calibration = self._best_calibration(without)
        if name == "expected":
            return Decoder(name, rule, None, calibration)
        if name == "gfm":
            return Decoder(name, rule, None, calibration, fit_sizes(calibration(proba), y))
        raise ValueError(f"no decoder {name!r}; there are {[*DECODERS, 'auto']}")

    def choice(self, without: Folds = NONE) -> str:
        """The decoder with the best cross-fitted score, or the standing one where the gain over it may be chance."""
        scores = {name: self.score(name, without) for name in DECODERS}
        best = max(scores, key=scores.get)
        return best if self.gain(best, without)[1] > 0 else standing(self.rule.metric)

    def gain(self, name: str, without: Folds = NONE) -> tuple[float, float, float]:
        """(gain over the standing decoder, and its 95 % interval), both cross-fitted and paired row by row."""
        rows = ~np.isin(self.fold, list(without))
        stays, other = (self.cross_fitted(n, without)[rows] for n in (standing(self.rule.metric), name))
        return paired_interval(self.rule.metric, self.y[rows], stays, other, self.rule.beta)

    def _strength(self, without: Folds) -> float:
        """How far to shrink: the best of STRENGTHS on folds that the thresholds did not see."""
        rows = ~np.isin(self.fold, list(without))
        scores = []
        for strength in STRENGTHS:
            pred = np.zeros(self.proba.shape, bool)
            for left_out, held in self._splits(without):
                thresholds = self._shrunk(left_out, strength)
                pred[held] = Decoder("shrunk", self.rule, thresholds)(self.proba[held])
            scores.append(self.rule.score(self.y[rows], pred[rows]))
        return STRENGTHS[int(np.argmax(scores))]

    def _shrunk(self, without: Folds, strength: float) -> np.ndarray:
        own, common = self._ascent(without)
        return shrink(own, common, self._rows(without)[1].sum(0), strength)

    def _ascent(self, without: Folds) -> tuple[np.ndarray, float]:
        def fit() -> tuple[np.ndarray, float]:
            proba, y = self._rows(without)
            return tune_ascent(proba, y, self.rule), tune_global(proba, y, self.rule)

        return self._once(("ascent", without), fit)

    def _best_calibration(self, without: Folds) -> Calibration:
        def choose() -> Calibration:
            rows = ~np.isin(self.fold, list(without))
            losses = {}
            for kind in KINDS:
                proba = np.zeros(self.proba.shape)
                for left_out, held in self._splits(without):
                    proba[held] = self._calibration(kind, left_out)(self.proba[held])
                losses[kind] = log_loss(self.y[rows], proba[rows])
            return self._calibration(min(losses, key=losses.get), without)

        return self._once(("best calibration", without), choose)

    def _calibration(self, kind: str, without: Folds) -> Calibration:
        return self._once(("calibration", kind, without), lambda: calibrate(kind, *self._rows(without)))

    def _rows(self, without: Folds) -> tuple[np.ndarray, np.ndarray]:
        if not without:
            return self.proba, self.y
        rows = ~np.isin(self.fold, list(without))
        return self.proba[rows], self.y[rows]

    def _splits(self, without: Folds) -> list[tuple[Folds, np.ndarray]]:
        """(folds to leave out, rows to decode), in turn; where one fold remains, it is both fitted and decoded."""
        left = [k for k in self.folds if k not in without]
        if len(left) == 1:
            return [(without, self.fold == left[0])]
        return [(without | {k}, self.fold == k) for k in left]

    def _once(self, key: tuple, make):
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

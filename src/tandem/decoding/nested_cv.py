"""Decoders fitted without the rows they are scored on, and the choice between them (nested cross-validation).

A decoder for fold k is tuned on the other folds. All other choices (how far thresholds are shrunk, the kind of
calibration, the decoder itself) are made within those folds, by leaving out one more of them, so that the reported
score includes the cost of every choice. More than BLOCKS folds are left out a block at a time; where a choice must be
made within one fold, as with two or three folds in all, parts of it are left out.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np

from tandem.decoding.calibration import KINDS, Calibration, calibrate, fit_size_weights
from tandem.decoding.decoder import DECODERS, SETS, TUNED, Decoder, default_decoder
from tandem.decoding.label_rule import Rule
from tandem.decoding.thresholds import hide_unknown, shrink, tune_ascent, tune_global, tune_per_class
from tandem.metrics import log_loss

BLOCKS = 5  # of folds, at most
FITTED = 200_000  # rows, at most, that anything is fitted on: of more a part, the same in every run; all are scored
PARTS = 4  # of a fold that is the only one left: enough for three choices, each within the rows of the one before
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
    group: np.ndarray | None = None  # (n,): rows of one group, such as near-duplicates, are one draw; None: none are
    known: np.ndarray | None = None  # (n, c) bool: cells that count; None: all
    _cache: dict[tuple, Any] = field(default_factory=dict)  # by the folds left out: the nested fits share most parts

    def __post_init__(self) -> None:
        if self.known is not None:
            self.y = np.where(self.known, self.y, 0).astype(np.uint8)

    @cached_property
    def blocks(self) -> list[Folds]:
        """The folds in blocks that are left out together: each alone where there are at most BLOCKS."""
        folds = [int(k) for k in np.unique(self.fold)]
        return [frozenset(folds[i::BLOCKS]) for i in range(min(BLOCKS, len(folds)))]

    @cached_property
    def _part(self) -> np.ndarray:
        """(n,) the part of its fold that a row is in, -1 to -PARTS, so that no part is taken for a fold."""
        part = np.zeros(len(self.y), np.int64)
        for k in np.unique(self.fold):
            rows = self.fold == k
            group = np.arange(rows.sum()) if self.group is None else np.unique(self.group[rows], return_inverse=True)[1]
            part[rows] = -1 - group % PARTS
        return part

    @cached_property
    def fitted(self) -> np.ndarray:
        """(n,) bool: the rows that thresholds, calibrations and choices within a fit are made on."""
        n = len(self.y)
        if n <= FITTED:
            return np.ones(n, bool)
        return np.isin(np.arange(n), np.random.default_rng(n).choice(n, FITTED, replace=False))

    def _next(self, without: Folds) -> list[Folds]:
        """What to leave out besides `without`, one at a time; empty where it would be all that is left: then no choice
        can be made by score, and the first or the most cautious is taken."""
        left = [block - without for block in self.blocks if block - without]
        if len(left) == 1:
            left = [frozenset({k}) for k in left[0]]
        if len(left) == 1:
            left = [frozenset({k}) for k in np.unique(self._part[self._kept(without)]).tolist()]
        return left if len(left) > 1 else []

    def decoder(self, name: str, without: Folds = NONE) -> Decoder:
        """The decoder `name` (of DECODERS, or "auto") fitted on all rows but those of the folds `without`."""
        return self._cached(("decoder", name, without), lambda: self._fit(name, without))

    def cross_val_predict(self, name: str, without: Folds = NONE) -> np.ndarray:
        """(n, c) bool: each fold decoded by a decoder fitted without it; all False in the folds `without`."""
        key = ("cross_val_predict", name, without)
        return self._cached(key, lambda: self._apply(without, partial(self.decoder, name)).astype(bool))

    def score(self, name: str, without: Folds = NONE) -> float:
        """The metric of label sets (`Rule.sets`) of `cross_val_predict`, over the pooled rows."""
        rows = self._kept(without)
        return self.rule.sets.score(self.y[rows], self.cross_val_predict(name, without)[rows], self._known(rows))

    def gain(self, name: str, without: Folds = NONE, over: str = "") -> tuple[float, float, float]:
        """(gain over the default decoder, or `over`, lower, upper): paired 95 % interval, both cross-fitted."""
        rows, default = self._kept(without), over or default_decoder(self.rule.metric)
        baseline, other = (self.cross_val_predict(n, without)[rows] for n in (default, name))
        group = None if self.group is None else self.group[rows]
        return self.rule.sets.gain(self.y[rows], baseline, other, group, self._known(rows))

    def choose(self, without: Folds = NONE) -> str:
        """The decoder of best cross-fitted score, or the default one where the gain over it may be chance; the one that
        the competition names, if it does."""
        if self.rule.decoder != "auto":
            return self.rule.decoder
        default = default_decoder(self.rule.metric)
        if not self._next(without):
            return default
        best = self._best(DECODERS, without)
        return best if self.gain(best, without)[1] > 0 else default

    def choose_thresholds(self) -> str:
        """The one of TUNED, decoders with a tuned threshold for each label, of best cross-fitted score."""
        return self._best(TUNED, NONE) if self._next(NONE) else TUNED[0]

    def _best(self, names: Iterable[str], without: Folds) -> str:
        return max(names, key=lambda name: self.rule.sets.judge.merit(self.score(name, without)))

    def cross_val_values(self) -> np.ndarray:
        """(n, c) what the metric scores, cross-fitted: label sets by "auto", or probabilities. Log loss scores
        calibrated ones; to a metric that ranks, calibration makes no difference or is no gain."""
        if self.rule.judge.needs == "labels":
            return self.cross_val_predict("auto")
        return self._apply(NONE, self.calibration) if self.rule.metric == "log_loss" else self.proba

    def calibration(self, without: Folds = NONE) -> Calibration:
        """The calibration of the kind with the lowest cross-fitted log loss, fitted on all rows but `without`."""
        return self._cached(("best calibration", without), lambda: self._best_calibration(without))

    def prepare(self) -> "NestedCV":
        """Fits what the nested choices share, on all threads; changes no result."""
        left_out = {NONE}
        for _ in range(3):  # to score a choice of decoder, which scores one of calibration or strength
            left_out |= {folds | more for folds in left_out for more in self._next(folds)}
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(self._ascent, left_out))
            list(pool.map(lambda folds: [self._calibration(kind, folds) for kind in KINDS], left_out))
        return self

    def _fit(self, name: str, without: Folds) -> Decoder:
        if name == "auto":
            return self.decoder(self.choose(without), without)
        rule = self.rule
        if name in SETS:
            calibration = self.calibration(without)
            return Decoder(name, rule, None, calibration, self._sizes(calibration, without) if name == "gfm" else None)
        if name == "shrunk":
            return self._shrunk(self._best_strength(without), without)
        if name == "per_class":
            return Decoder(name, rule, tune_per_class(*self._tuning_rows(without)))
        if name == "fixed":
            return Decoder(name, rule, np.full(self.proba.shape[1], 0.5))
        if name not in ("global", "ascent"):
            raise ValueError(f"no decoder {name!r}; there are {[*DECODERS, 'auto']}")
        own, common = self._ascent(without)
        return Decoder(name, rule, own if name == "ascent" else np.full(len(own), common))

    def _best_strength(self, without: Folds) -> float:
        """How far to shrink: the best of STRENGTHS on folds that the thresholds were not tuned on."""
        rows = self._fitted(without)

        def score(strength: float) -> float:
            pred = self._apply(without, partial(self._shrunk, strength), rows)[rows]
            return self.rule.sets.merit(self.y[rows], pred, self._known(rows))

        return max(STRENGTHS, key=score) if self._next(without) else np.inf

    def _shrunk(self, strength: float, without: Folds) -> Decoder:
        own, common = self._ascent(without)
        thresholds = shrink(own, common, self._rows(without)[1].sum(0), strength)
        return Decoder("shrunk", self.rule, thresholds, strength=strength)

    def _ascent(self, without: Folds) -> tuple[np.ndarray, float]:
        """(thresholds by coordinate ascent, the best global threshold)."""

        def fit() -> tuple[np.ndarray, float]:
            tuned_on = self._tuning_rows(without)
            return tune_ascent(*tuned_on), tune_global(*tuned_on)

        return self._cached(("ascent", without), fit)

    def _best_calibration(self, without: Folds) -> Calibration:
        """The calibration of the kind with the lowest cross-fitted log loss."""
        rows = self._fitted(without)

        def loss(kind: str) -> float:
            proba = self._apply(without, partial(self._calibration, kind), rows)[rows]
            return log_loss(self.y[rows], proba, self._known(rows))

        return self._calibration(min(KINDS, key=loss) if self._next(without) else KINDS[0], without)

    def _calibration(self, kind: str, without: Folds) -> Calibration:
        def fit() -> Calibration:
            return calibrate(kind, *self._rows(without), self._known(self._fitted(without)))

        return self._cached(("calibration", kind, without), fit)

    def _sizes(self, calibration: Calibration, without: Folds) -> np.ndarray | None:
        """Weights of the set sizes, from rows without unknown cells; None where there are none."""
        proba, y = self._rows(without)
        if self.known is not None:
            whole = self.known[self._fitted(without)].all(1)
            proba, y = proba[whole], y[whole]
        return fit_size_weights(calibration(proba), y) if len(y) else None

    def _tuning_rows(self, without: Folds) -> tuple[np.ndarray, np.ndarray, Rule]:
        """(proba, y, rule) that thresholds are tuned on."""
        return hide_unknown(*self._rows(without), self.rule.tuned, self._known(self._fitted(without)))

    def _known(self, rows: np.ndarray) -> np.ndarray | None:
        return None if self.known is None else self.known[rows]

    def _kept(self, without: Folds) -> np.ndarray:
        """(n,) bool: the rows outside the folds, or parts, `without`."""
        return self._cached(
            ("kept", without), lambda: ~(np.isin(self.fold, list(without)) | np.isin(self._part, list(without)))
        )

    def _fitted(self, without: Folds) -> np.ndarray:
        """(n,) bool: those of them that are fitted on."""
        return self._kept(without) & self.fitted

    def _rows(self, without: Folds) -> tuple[np.ndarray, np.ndarray]:
        """(proba, y) outside the folds `without`, to fit on."""
        if not without and len(self.y) <= FITTED:
            return self.proba, self.y
        rows = self._fitted(without)
        return self.proba[rows], self.y[rows]

    def _apply(
        self,
        without: Folds,
        fit: Callable[[Folds], Callable[[np.ndarray], np.ndarray]],
        among: np.ndarray | None = None,
    ) -> np.ndarray:
        """(n, c): each block or part through what is fitted without it; zero in `without` and outside `among`."""
        out, kept = np.zeros(self.proba.shape), self._kept(without) if among is None else among
        for more in self._next(without):
            rows = kept & ~self._kept(more)
            out[rows] = fit(without | more)(self.proba[rows])
        return out

    def _cached(self, key: tuple, make: Callable[[], T]) -> T:
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

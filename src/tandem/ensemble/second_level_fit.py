"""Fits a second level of a stack: with few labels two learners for each, with many one linear learner for all."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from tandem.ensemble.hill_climbing import hill_climb
from tandem.ensemble.lightgbm import Boosted
from tandem.ensemble.linear import LinearFit
from tandem.ensemble.logistic import Logistic
from tandem.ensemble.stacking import SecondLevel, StackInputs

# From here on `linear` takes the place of `boosted` and `logistic`, whose cost grows with the square of the number of
# labels. benchmarks/stack.py, 1,000 rows: processor 7 s and 1 s with 10 labels, 17 s and 4 s with 20, at a log loss of
# 0.1613 and 0.1606, 0.1584 and 0.1563. Its members are close to linear; so fewer labels keep what was tuned on photos.
MANY_LABELS = 30


@dataclass
class SecondLevelFit:
    """Fits the learners on some rows.

    One of the folds in `fold` (n,) is held out to choose penalties and numbers of trees. A member whose logits do not
    lower the held-out loss of the linear learner is left out, and the others are fitted again.
    """

    inputs: StackInputs
    y: np.ndarray
    fold: np.ndarray
    seed: int
    threads: int
    known: np.ndarray | None
    done: Callable[[int], object]

    @property
    def held_out(self) -> np.ndarray:
        """(n,) bool."""
        fold = self.fold
        return fold == fold.min() if len(np.unique(fold)) > 1 else np.arange(len(fold)) % 5 == 0

    def __call__(self, members: list[int]) -> SecondLevel:
        """On these members, or those of them that help."""
        return (self.linear if self.y.shape[1] >= MANY_LABELS else self.boosted_and_logistic)(members)

    def boosted_and_logistic(self, members: list[int]) -> SecondLevel:
        """Two learners for each label."""
        used, m, seed, labels = self.inputs.keep(members), len(members), self.seed, range(self.y.shape[1])

        def problem(j: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            rows = slice(None) if self.known is None else self.known[:, j]
            return used.features(j)[rows], self.y[rows, j], self.held_out[rows]

        # threads of BLAS beside these take six times as much processor time, for the same bits
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(self.threads) as pool:
            logistic = list(pool.map(lambda j: Logistic.fit(*problem(j)), labels))
            helpful = _helpful(members, np.sum([model.gains[:m] for model in logistic], axis=0))
            if len(helpful) < m:
                return self.boosted_and_logistic(helpful)
            boosted = []
            for model in pool.map(lambda j: Boosted.fit(*problem(j), seed + j, m), labels):
                boosted.append(model)
                self.done(1)
        weights = hill_climb(used.logits, self.y, seed, self.known)
        return SecondLevel(members, used.logits.mean(0), weights, boosted, logistic, used.extras_range)

    def linear(self, members: list[int]) -> SecondLevel:
        """One learner for all labels."""
        used = self.inputs.keep(members)
        weights = hill_climb(used.logits, self.y, self.seed, self.known)
        fit = LinearFit(used.logits, used.extras, self.y, self.known, weights, self.threads)
        variance, gains = fit.choose_variance(self.held_out)
        helpful = _helpful(members, gains)
        if len(helpful) < len(members):
            return self.linear(helpful)
        linear = fit.fit(variance, self.done)
        return SecondLevel(members, fit.center, weights, extras_range=used.extras_range, linear=linear)


def _helpful(members: list[int], gains: np.ndarray) -> list[int]:
    """Those with a gain; all where none has one."""
    return [member for member, gain in zip(members, gains, strict=True) if gain > 0] or members

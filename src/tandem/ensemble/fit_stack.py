"""Fits stacks on the members' out-of-fold probabilities, cross-fitted on the same folds.

A stack for fold k is fitted on no label of fold k, on either level: what the third level learns comes from second
levels that also left out the fold on which it is learned.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tandem.ensemble.hill_climbing import fit_shift_and_scale, hill_climb
from tandem.ensemble.lightgbm import Boosted
from tandem.ensemble.logistic import Logistic
from tandem.ensemble.stacking import LEARNERS, SecondLevel, Stack, StackInputs, fixed_stack
from tandem.metrics import log_loss, log_loss_rows, paired_mean

LEARNED = "stack"  # among the candidates

Gains = dict[str, dict[str, tuple[float, float, float]]]


@dataclass(frozen=True)
class StackFit:
    """The chosen stack, and the candidates that it was chosen from.

    names          (m,) of the members
    kept           name of the chosen candidate
    candidates     out-of-fold probabilities (n, c) by name, the simplest first
    gains          see `choose`
    contributions  (n, c, m + 2) of the chosen one, see Stack; out of fold where it is learned
    """

    names: list[str]
    stack: Stack
    kept: str
    candidates: dict[str, np.ndarray]
    gains: Gains
    contributions: np.ndarray

    @property
    def proba(self) -> np.ndarray:
        """(n, c) out-of-fold probabilities of the chosen one."""
        return self.candidates[self.kept]

    @property
    def dropped(self) -> list[str]:
        """Members that a learned stack leaves out."""
        used = self.stack.second.members if self.kept == LEARNED else range(len(self.names))
        return [name for i, name in enumerate(self.names) if i not in used]

    def summary(self, y: np.ndarray) -> dict[str, Any]:
        """What run.json holds about it."""
        stack, second = self.stack, self.stack.second
        return {
            "kept": self.kept,
            "dropped": self.dropped,
            "candidates": {name: log_loss(y, proba) for name, proba in self.candidates.items()},
            "gains": self.gains,
            "third_level": dict(zip(LEARNERS, stack.weights.tolist(), strict=True)),
            "shift": stack.shift,
            "scale": stack.scale,
            "weights": dict(zip([self.names[i] for i in second.members], second.weights.tolist(), strict=True)),
        }


def fit_stack(
    probas: Mapping[str, np.ndarray], words: np.ndarray | None, y: np.ndarray, fold: np.ndarray, seed: int, threads: int
) -> StackFit:
    """Fits a stack, and keeps it where it beats both the best member and the plain mean.

    probas  out-of-fold probabilities (n, c) by member
    words   (n,) word counts of the captions, None without captions
    """
    names, m = list(probas), len(probas)
    inputs = StackInputs.of(list(probas.values()), words)
    cv = StackCV(inputs, y, fold, seed, threads)
    learned, contributions = cv.cross_val_predict()
    best = int(np.argmin([log_loss(y, proba) for proba in probas.values()]))
    weights = {names[best]: np.eye(m)[best], "mean": np.full(m, 1 / m)}
    fixed = {name: fixed_stack(w, y.shape[1]).centered(inputs) for name, w in weights.items()}
    candidates = {name: stack.predict_proba(inputs) for name, stack in fixed.items()} | {LEARNED: learned}
    kept, gains = choose(y, candidates)
    stack = cv.fit() if kept == LEARNED else fixed[kept]
    if kept != LEARNED:
        contributions = stack.contributions(inputs)
    return StackFit(names, stack, kept, candidates, gains, contributions)


def fit_no_caption_stack(
    probas: Mapping[int, np.ndarray], y: np.ndarray, fold: np.ndarray, seed: int
) -> tuple[Stack, np.ndarray]:
    """(mean of the members that need no caption, its cross-fitted probabilities (n, c)).

    probas  their out-of-fold probabilities (n, c) without captions, by their positions among all members
    """
    positions, inputs = list(probas), StackInputs.of(list(probas.values()), None)
    stack = fit_mean_stack(inputs, y, seed)
    members = [positions[i] for i in stack.second.members]
    cross_fitted = np.zeros(y.shape)
    for k in np.unique(fold):
        train, rows = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        fitted = fit_mean_stack(inputs.take(train), y[train], seed)
        cross_fitted[rows] = fitted.predict_proba(inputs.take(rows))
    return replace(stack, second=replace(stack.second, members=members)), cross_fitted


def fit_mean_stack(inputs: StackInputs, y: np.ndarray, seed: int) -> Stack:
    """A weighted mean of the members' logits, shifted and scaled; fitted on all rows."""
    weights = hill_climb(inputs.logits, y, seed)
    shift, scale = fit_shift_and_scale(np.einsum("nmc,m->nc", inputs.logits, weights), y)
    return replace(fixed_stack(weights, y.shape[1]).centered(inputs), shift=shift, scale=scale)


@dataclass
class StackCV:
    """Stacks fitted without some folds; second levels are cached, because the nested fits share most of them."""

    inputs: StackInputs
    y: np.ndarray
    fold: np.ndarray
    seed: int
    threads: int
    _cache: dict[frozenset[int], SecondLevel] = field(default_factory=dict)

    def fit(self, without: frozenset[int] = frozenset()) -> Stack:
        """Fitted on all rows but those of the folds `without`."""
        second = self._second_level(without)
        inner = [int(k) for k in np.unique(self.fold) if k not in without]
        if len(inner) == 1:
            weights, shift, scale = np.full(len(LEARNERS), 1 / len(LEARNERS)), 0.0, 1.0
        else:
            weights, shift, scale = self._third_level(without, inner)
        return Stack(second, weights, shift, scale, self.inputs.has_words)

    def cross_val_predict(self) -> tuple[np.ndarray, np.ndarray]:
        """(probabilities (n, c), contributions (n, c, m + 2)) of each row by a stack fitted without its fold."""
        n, m, c = self.inputs.logits.shape
        proba, contributions = np.zeros((n, c)), np.zeros((n, c, m + 2), np.float32)
        for k in np.unique(self.fold):
            rows = np.flatnonzero(self.fold == k)
            stack, inputs = self.fit(frozenset({int(k)})), self.inputs.take(rows)
            proba[rows] = stack.predict_proba(inputs)
            contributions[rows] = stack.contributions(inputs)
        return proba, contributions

    def _third_level(self, without: frozenset[int], inner: Sequence[int]) -> tuple[np.ndarray, float, float]:
        """(weights of the LEARNERS, shift, scale), learned on the folds `inner`."""
        logits = np.zeros((len(self.y), len(LEARNERS), self.y.shape[1]), np.float32)
        for k in inner:
            rows = self.fold == k
            logits[rows] = self._second_level(without | {k}).logits(self.inputs.take(rows))
        rows = np.isin(self.fold, inner)
        logits, y = logits[rows], self.y[rows]
        weights = hill_climb(logits, y, self.seed)
        return weights, *fit_shift_and_scale(np.einsum("nlc,l->nc", logits, weights), y)

    def _second_level(self, without: frozenset[int]) -> SecondLevel:
        if without not in self._cache:
            rows = ~np.isin(self.fold, list(without))
            self._cache[without] = fit_second_level(
                self.inputs.take(rows), self.y[rows], self.fold[rows], self.seed, self.threads
            )
        return self._cache[without]


def fit_second_level(
    inputs: StackInputs, y: np.ndarray, fold: np.ndarray, seed: int, threads: int, members: list[int] | None = None
) -> SecondLevel:
    """Fits all four learners.

    One of the folds in `fold` (n,) is held out to choose penalties and numbers of trees. A member whose logits do not
    lower the held-out loss of the logistic regression is left out, and the others are fitted again.
    """
    members = list(range(inputs.logits.shape[1])) if members is None else members
    held_out = fold == fold.min() if len(np.unique(fold)) > 1 else np.arange(len(fold)) % 5 == 0
    used, m = inputs.keep(members), len(members)

    def fit_logistic(j: int) -> Logistic:
        return Logistic.fit(used.features(j), y[:, j], held_out)

    def fit_boosted(j: int) -> Boosted:
        return Boosted.fit(used.features(j), y[:, j], held_out, seed + j, monotone=m)

    labels = range(y.shape[1])
    with ThreadPoolExecutor(threads) as pool:
        logistic = list(pool.map(fit_logistic, labels))
        gains = np.sum([model.gains[:m] for model in logistic], axis=0)
        helpful = [member for member, gain in zip(members, gains, strict=True) if gain > 0]
        if helpful and len(helpful) < m:
            return fit_second_level(inputs, y, fold, seed, threads, helpful)
        boosted = list(pool.map(fit_boosted, labels))
    weights = hill_climb(used.logits, y, seed)
    return SecondLevel(members, used.logits.mean(0), weights, boosted, logistic)


def choose(y: np.ndarray, candidates: Mapping[str, np.ndarray]) -> tuple[str, Gains]:
    """(name of the candidate to keep, gains of each over each one before with 95 % intervals); simplest first.

    A later one is kept if its log loss a row is lower, outside the paired interval, than that of every one before it.
    Chosen by log loss, on the same rows: it has far less noise than the metric, whose score is not used here.
    """
    losses = {name: log_loss_rows(y, proba) for name, proba in candidates.items()}
    names, gains = list(candidates), {}
    kept = names[0]
    for i, name in enumerate(names):
        gains[name] = {before: paired_mean(losses[before] - losses[name]) for before in names[:i]}
        if i and all(low > 0 for _, low, _ in gains[name].values()):
            kept = name
    return kept, gains

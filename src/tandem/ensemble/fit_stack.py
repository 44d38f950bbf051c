"""Fits stacks on the members' out-of-fold probabilities, cross-fitted on the same folds.

A stack for fold k is fitted without labels of fold k, on both levels: its third level is fitted on predictions of
second levels that left out fold k and the fold that they predict.
"""

from collections.abc import Mapping
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


@dataclass(frozen=True)
class StackFit:
    """The chosen one of several stacks."""

    stack: Stack
    proba: np.ndarray  # (n, c), out of fold where it is learned
    contributions: np.ndarray  # (n, c, m + 2), see Stack; out of fold where it is learned
    summary: dict[str, Any]  # what run.json holds about it


def fit_stack(
    probas: Mapping[str, np.ndarray], words: np.ndarray | None, y: np.ndarray, fold: np.ndarray, seed: int, threads: int
) -> StackFit:
    """Fits a stack on the members' probabilities (n, c) and the captions' word counts (n,), None without captions.

    The learned stack is kept where it beats both the best member and the plain mean.
    """
    names, m = list(probas), len(probas)
    inputs = StackInputs.of(list(probas.values()), words)
    cv = StackCV(inputs, y, fold, seed, threads)
    learned, contributions = cv.cross_val_predict()
    best = int(np.argmin([log_loss(y, proba) for proba in probas.values()]))
    weights = {names[best]: np.eye(m)[best], "mean": np.full(m, 1 / m)}
    fixed = {name: fixed_stack(w, y.shape[1], inputs) for name, w in weights.items()}
    candidates = {name: stack.predict_proba(inputs) for name, stack in fixed.items()} | {LEARNED: learned}
    kept, gains = choose(y, candidates)
    stack = cv.fit() if kept == LEARNED else fixed[kept]
    if kept != LEARNED:
        contributions = stack.contributions(inputs)
    used = [names[i] for i in stack.second.members]
    summary = {
        "kept": kept,
        "dropped": [name for name in names if kept == LEARNED and name not in used],
        "candidates": {name: log_loss(y, proba) for name, proba in candidates.items()},
        "gains": gains,
        "third_level": dict(zip(LEARNERS, stack.weights.tolist(), strict=True)),
        "shift": stack.shift,
        "scale": stack.scale,
        "weights": dict(zip(used, stack.second.weights.tolist(), strict=True)),
    }
    return StackFit(stack, candidates[kept], contributions, summary)


def fit_no_caption_stack(
    probas: Mapping[int, np.ndarray], y: np.ndarray, fold: np.ndarray, seed: int
) -> tuple[Stack, np.ndarray]:
    """(mean of members that need no caption, its cross-fitted probabilities (n, c)); `probas` by member's position."""
    positions, inputs, cross_fitted = list(probas), StackInputs.of(list(probas.values()), None), np.zeros(y.shape)
    for k in np.unique(fold):
        train, rows = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        cross_fitted[rows] = _fit_mean(inputs.take(train), y[train], seed).predict_proba(inputs.take(rows))
    stack = _fit_mean(inputs, y, seed)
    members = [positions[i] for i in stack.second.members]
    return replace(stack, second=replace(stack.second, members=members)), cross_fitted


def _fit_mean(inputs: StackInputs, y: np.ndarray, seed: int) -> Stack:
    """A weighted mean of the members' logits, shifted and scaled; fitted on all rows."""
    weights, shift, scale = _fit_weights(inputs.logits, y, seed)
    return replace(fixed_stack(weights, y.shape[1], inputs), shift=shift, scale=scale)


def _fit_weights(logits: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, float, float]:
    """(weights (m,) of logits (n, m, c), shift, scale of their weighted mean)."""
    weights = hill_climb(logits, y, seed)
    return weights, *fit_shift_and_scale(np.einsum("nmc,m->nc", logits, weights), y)


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
        inner = [int(k) for k in np.unique(self.fold) if k not in without]
        third = np.full(len(LEARNERS), 1 / len(LEARNERS)), 0.0, 1.0
        if len(inner) > 1:
            logits = np.zeros((len(self.y), len(LEARNERS), self.y.shape[1]), np.float32)
            for k in inner:
                rows = self.fold == k
                logits[rows] = self._second_level(without | {k}).logits(self.inputs.take(rows))
            rows = np.isin(self.fold, inner)
            third = _fit_weights(logits[rows], self.y[rows], self.seed)
        return Stack(self._second_level(without), *third, self.inputs.has_words)

    def cross_val_predict(self) -> tuple[np.ndarray, np.ndarray]:
        """(probabilities (n, c), contributions (n, c, m + 2)) of each row by a stack fitted without its fold."""
        n, m, c = self.inputs.logits.shape
        proba, contributions = np.zeros((n, c)), np.zeros((n, c, m + 2), np.float32)
        for k in np.unique(self.fold):
            rows = np.flatnonzero(self.fold == k)
            stack, inputs = self.fit(frozenset({int(k)})), self.inputs.take(rows)
            proba[rows], contributions[rows] = stack.predict_proba(inputs), stack.contributions(inputs)
        return proba, contributions

    def _second_level(self, without: frozenset[int]) -> SecondLevel:
        if without not in self._cache:
            rows = ~np.isin(self.fold, list(without))
            inputs, y, fold = self.inputs.take(rows), self.y[rows], self.fold[rows]
            members = list(range(inputs.logits.shape[1]))
            self._cache[without] = _fit_second_level(inputs, y, fold, self.seed, self.threads, members)
        return self._cache[without]


def _fit_second_level(
    inputs: StackInputs, y: np.ndarray, fold: np.ndarray, seed: int, threads: int, members: list[int]
) -> SecondLevel:
    """Fits all four learners on these members.

    One of the folds in `fold` (n,) is held out to choose penalties and numbers of trees. A member whose logits do not
    lower the held-out loss of the logistic regression is left out, and the others are fitted again.
    """
    held_out = fold == fold.min() if len(np.unique(fold)) > 1 else np.arange(len(fold)) % 5 == 0
    used, m, labels = inputs.keep(members), len(members), range(y.shape[1])
    with ThreadPoolExecutor(threads) as pool:
        logistic = list(pool.map(lambda j: Logistic.fit(used.features(j), y[:, j], held_out), labels))
        gains = np.sum([model.gains[:m] for model in logistic], axis=0)
        helpful = [member for member, gain in zip(members, gains, strict=True) if gain > 0]
        if helpful and len(helpful) < m:
            return _fit_second_level(inputs, y, fold, seed, threads, helpful)
        boosted = list(pool.map(lambda j: Boosted.fit(used.features(j), y[:, j], held_out, seed + j, m), labels))
    return SecondLevel(members, used.logits.mean(0), hill_climb(used.logits, y, seed), boosted, logistic)


def choose(
    y: np.ndarray, candidates: Mapping[str, np.ndarray]
) -> tuple[str, dict[str, dict[str, tuple[float, float, float]]]]:
    """(name of the candidate to keep, gains of each over each one before with 95 % intervals); simplest first.

    A later one is kept if its log loss per row is lower, outside the paired interval, than that of every one before it.
    Chosen by log loss, on the same rows: it has far less noise than the metric, whose score is not used here.
    """
    losses = {name: log_loss_rows(y, proba) for name, proba in candidates.items()}
    names, gains, kept = list(candidates), {}, next(iter(candidates))
    for i, name in enumerate(names):
        gains[name] = {before: paired_mean(losses[before] - losses[name]) for before in names[:i]}
        if i and all(low > 0 for _, low, _ in gains[name].values()):
            kept = name
    return kept, gains

"""Fits stacks on the members' out-of-fold probabilities, cross-fitted on the same folds.

No label of fold k is used directly for the stacked probabilities of its rows: all levels, and the choice between the
learned stack and simpler ones, are fitted on the other folds. It has an indirect influence, as in all stacking on
out-of-fold predictions: the members' predictions for the other folds come from models that were trained on fold k. The
effect is of second order; `benchmarks/stack_audit.py` measures it on rows that nothing was fitted on.
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
from tandem.logits import sigmoid
from tandem.metrics import log_loss, log_loss_rows, paired_mean

LEARNED, MEAN = "stack", "mean"  # among the candidates
MOST_FOLDS = 5  # of more folds some are left out together: second levels are fitted without every pair
Gains = dict[str, dict[str, tuple[float, float, float]]]


@dataclass(frozen=True)
class StackFit:
    """The chosen one of several stacks."""

    stack: Stack
    proba: np.ndarray  # (n, c) out of fold, each fold by what was chosen without it
    contributions: np.ndarray  # (n, c, m + 2), see Stack; of the same stacks
    summary: dict[str, Any]  # what run.json holds about it


def fit_stack(
    probas: Mapping[str, np.ndarray],
    words: np.ndarray | None,
    y: np.ndarray,
    fold: np.ndarray,
    seed: int,
    threads: int,
    group: np.ndarray | None = None,
) -> StackFit:
    """Fits a stack on the members' probabilities (n, c) and the captions' word counts (n,), None without captions.

    The learned stack is kept where it beats both the best member and the plain mean; with fewer than three folds it is
    no candidate. For the rows of a fold the choice is made on the other folds. Rows of one `group` (n,) count as one.
    """
    numbers, position = np.unique(fold, return_inverse=True)
    names, m, fold = list(probas), len(probas), position % MOST_FOLDS
    inputs = StackInputs.of(list(probas.values()), words)
    fixed = {name: fixed_stack(np.eye(m)[i], y.shape[1], inputs) for i, name in enumerate(names)}
    fixed[MEAN] = fixed_stack(np.full(m, 1 / m), y.shape[1], inputs)
    found = {name: (stack.predict_proba(inputs), stack.contributions(inputs)) for name, stack in fixed.items()}
    cv = StackCV(inputs, y, fold, seed, threads)
    if learnable := len(np.unique(fold)) > 2:
        found[LEARNED] = cv.cross_val_predict()
    proba, contributions, per_fold = np.zeros(y.shape), np.zeros((*y.shape, m + 2), np.float32), {}
    for k in map(int, np.unique(fold)):
        outside, rows = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        known = {name: values[outside] for name, (values, _) in found.items()}
        if learnable:
            known[LEARNED] = cv.held_out_proba(frozenset({k}))[outside]
        per_fold[k] = _choose_of(known, y[outside], None if group is None else group[outside])[0]
        proba[rows], contributions[rows] = (part[rows] for part in found[per_fold[k]])
    kept, gains, candidates = _choose_of({name: values for name, (values, _) in found.items()}, y, group)
    stack = cv.fit() if kept == LEARNED else fixed[kept]
    used = [names[i] for i in stack.second.members]
    summary = {
        "kept": kept,  # chosen on all rows
        # by number of the fold: chosen without its rows
        "kept_per_fold": {int(number): per_fold[i % MOST_FOLDS] for i, number in enumerate(numbers)},
        "dropped": [name for name in names if kept == LEARNED and name not in used],
        "candidates": candidates,
        "gains": gains,
        "third_level": dict(zip(LEARNERS, stack.weights.tolist(), strict=True)),
        "shift": stack.shift,
        "scale": stack.scale,
        "weights": dict(zip(used, stack.second.weights.tolist(), strict=True)),
    }
    return StackFit(stack, proba, contributions, summary)


def _choose_of(
    probas: Mapping[str, np.ndarray], y: np.ndarray, group: np.ndarray | None
) -> tuple[str, Gains, dict[str, float]]:
    """`choose` of the best member, the mean and the learned stack, and their log losses."""
    losses = {name: log_loss(y, proba) for name, proba in probas.items()}
    best = min((name for name in probas if name not in (MEAN, LEARNED)), key=losses.__getitem__)
    candidates = {name: probas[name] for name in (best, MEAN, LEARNED) if name in probas}
    return *choose(y, candidates, group), {name: losses[name] for name in candidates}


def fit_no_caption_stack(
    probas: Mapping[int, np.ndarray], y: np.ndarray, fold: np.ndarray, seed: int
) -> tuple[Stack, np.ndarray]:
    """(mean of members that need no caption, its cross-fitted contributions (n, c, m + 2)); `probas` by position."""
    positions, inputs = list(probas), StackInputs.of(list(probas.values()), None)
    cross_fitted = np.zeros((*y.shape, len(probas) + 2), np.float32)
    for k in np.unique(fold):
        train, rows = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        cross_fitted[rows] = _fit_mean(inputs.take(train), y[train], seed).contributions(inputs.take(rows))
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
    _logits: dict[frozenset[int], np.ndarray] = field(default_factory=dict)

    def fit(self, without: frozenset[int] = frozenset()) -> Stack:
        """Fitted on all rows but those of the folds `without`."""
        third = np.full(len(LEARNERS), 1 / len(LEARNERS)), 0.0, 1.0
        if len(self._inner(without)) > 1:
            rows = np.isin(self.fold, self._inner(without))
            third = _fit_weights(self._second_level_logits(without)[rows], self.y[rows], self.seed)
        return Stack(self._second_level(without), *third, self.inputs.has_words)

    def held_out_proba(self, without: frozenset[int]) -> np.ndarray:
        """(n, c): each fold outside `without` by levels fitted without it and without these; zero in these.

        The third level leaves out one fold of the same second levels' logits, which needs no further second level.
        """
        logits, proba = self._second_level_logits(without), np.zeros(self.y.shape)
        for k in self._inner(without):
            others, rows = np.isin(self.fold, [j for j in self._inner(without) if j != k]), self.fold == k
            weights, shift, scale = _fit_weights(logits[others], self.y[others], self.seed)
            proba[rows] = sigmoid(shift + scale * np.einsum("nlc,l->nc", logits[rows], weights))
        return proba

    def _inner(self, without: frozenset[int]) -> list[int]:
        return [int(k) for k in np.unique(self.fold) if k not in without]

    def _second_level_logits(self, without: frozenset[int]) -> np.ndarray:
        """(n, 4, c): each fold outside `without` by a second level fitted without it and without these; else zero."""
        if without not in self._logits:
            logits = np.zeros((len(self.y), len(LEARNERS), self.y.shape[1]), np.float32)
            for k in self._inner(without):
                rows = self.fold == k
                logits[rows] = self._second_level(without | {k}).logits(self.inputs.take(rows))
            self._logits[without] = logits
        return self._logits[without]

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
    weights, center = hill_climb(used.logits, y, seed), used.logits.mean(0)
    return SecondLevel(members, center, weights, boosted, logistic, used.extras_range)


def choose(y: np.ndarray, candidates: Mapping[str, np.ndarray], group: np.ndarray | None = None) -> tuple[str, Gains]:
    """(name of the candidate to keep, gains of each over each one before with 95 % intervals); simplest first.

    A later one is kept if its log loss per row is lower, outside the paired interval, than that of every one before it.
    Chosen by log loss: it has far less noise than the metric, whose score is not used here. Rows of one `group` (n,),
    such as near-duplicates, count as one draw.
    """
    losses = {name: log_loss_rows(y, proba) for name, proba in candidates.items()}
    names, gains, kept = list(candidates), {}, next(iter(candidates))
    for i, name in enumerate(names):
        gains[name] = {before: paired_mean(losses[before] - losses[name], group) for before in names[:i]}
        if i and all(low > 0 for _, low, _ in gains[name].values()):
            kept = name
    return kept, gains

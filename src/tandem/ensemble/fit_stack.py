"""Fits stacks on the members' out-of-fold probabilities, cross-fitted on the same folds.

No label of fold k is used directly for the stacked probabilities of its rows: all levels, and the choice between the
learned stack and simpler ones, are fitted on the other folds. It has an indirect influence, as in all stacking on
out-of-fold predictions: the members' predictions for the other folds come from models that were trained on fold k. The
effect is of second order; `benchmarks/stack_audit.py` measures it on rows that nothing was fitted on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tandem.ensemble.hill_climbing import fit_shift_and_scale, hill_climb
from tandem.ensemble.second_level_fit import SecondLevelFit
from tandem.ensemble.stacking import LEARNERS, SecondLevel, Stack, StackInputs, fixed_stack, read_stack, write_stack
from tandem.logits import sigmoid
from tandem.metrics import log_loss_rows, paired_mean
from tandem.runtime.progress import progress

LEARNED, WEIGHTED, MEAN = "stack", "weighted", "mean"  # among the candidates
MOST_FOLDS = 5  # of more folds some are left out together: second levels are fitted without every pair
FITTED = 30_000  # rows, at most, that the learners of one second level are fitted on: of more a part is drawn
Gains = dict[str, dict[str, tuple[float, float, float]]]


@dataclass(frozen=True)
class StackFit:
    """The chosen one of several stacks."""

    stack: Stack
    proba: np.ndarray  # (n, c) out of fold, each fold by what was chosen without it
    contributions: np.ndarray  # (n, c, m + 2), see Stack; of the same stacks
    inputs: StackInputs  # of the rows it was fitted on
    fold: np.ndarray  # (n,) number of the stack that predicted a row, fitted without the rows of this number
    fold_stacks: dict[int, Stack]  # by fold as it was given: the stack that predicted its rows
    summary: dict[str, Any]  # what run.json holds about it


def fit_stack(
    probas: Mapping[str, np.ndarray],
    words: np.ndarray | None,
    y: np.ndarray,
    fold: np.ndarray,
    seed: int,
    threads: int,
    group: np.ndarray | None = None,
    known: np.ndarray | None = None,
    unfinished: Path | None = None,
) -> StackFit:
    """Fits a stack on the members' probabilities (n, c) and the captions' word counts (n,), None without captions.

    The learned stack, or the weighted mean where its log loss is lower, is kept where it beats both the best member and
    the plain mean; with fewer than three folds they are no candidates. For the rows of a fold the choice is made on the
    other folds. Rows of one `group` (n,) count as one, and only the cells that are `known` (n, c), None for all. The
    folder `unfinished` holds the second levels that are fitted, and those of a run that was ended: they are not fitted
    again.
    """
    numbers, position = np.unique(fold, return_inverse=True)
    names, m, fold = list(probas), len(probas), position % MOST_FOLDS
    inputs = StackInputs.of(list(probas.values()), words)
    fixed = {name: fixed_stack(np.eye(m)[i], y.shape[1], inputs) for i, name in enumerate(names)}
    fixed[MEAN] = fixed_stack(np.full(m, 1 / m), y.shape[1], inputs)
    losses = {name: surrogate_loss(y, stack.predict_proba(inputs), known) for name, stack in fixed.items()}
    proba, contributions = np.zeros(y.shape), np.zeros((*y.shape, m + 2), np.float32)
    inner: dict[str, dict[int, np.ndarray]] = {}
    per_fold, used = dict[int, str](), dict[int, Stack]()
    cv, means = StackCV(inputs, y, fold, seed, threads, known, unfinished), MeanCV(inputs, y, fold, seed, known)
    with progress(cv.fits * y.shape[1], "stack", "labels") as bar:
        cv.done = bar.update
        if cv.fits:
            losses[WEIGHTED], inner[WEIGHTED] = means.losses()
            proba, contributions, inner[LEARNED] = cv.cross_val_predict()
            losses[LEARNED] = surrogate_loss(y, proba, known)
        for k in map(int, np.unique(fold)):
            outside, rows = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            seen = {name: loss[outside] for name, loss in (losses | {n: of[k] for n, of in inner.items()}).items()}
            per_fold[k] = _choose_of(seen, None if group is None else group[outside])[0]
            if per_fold[k] == LEARNED:
                used[k] = cv.fold_stacks[k]
            else:
                part = inputs.take(rows)
                used[k] = means.fit(frozenset({k})) if per_fold[k] == WEIGHTED else fixed[per_fold[k]]
                proba[rows], contributions[rows] = used[k].predict_proba(part), used[k].contributions(part)
        kept, gains, candidates = _choose_of(losses, group)
        stack = cv.fit() if kept == LEARNED else means.fit() if kept == WEIGHTED else fixed[kept]
        bar.update(cv.fits * y.shape[1] - bar.n)  # the last second level is fitted only where it is kept
    summary: dict[str, Any] = {
        "kept": kept,  # chosen on all rows
        # by number of the fold: chosen without its rows
        "kept_per_fold": {int(number): per_fold[i % MOST_FOLDS] for i, number in enumerate(numbers)},
        "candidates": candidates,
        "gains": gains,
    }
    if cv.fits and len(y) > FITTED:
        summary["second_level_rows"] = FITTED  # drawn from those of each fit
    fold_stacks = {int(number): used[i % MOST_FOLDS] for i, number in enumerate(numbers)}
    return StackFit(stack, proba, contributions, inputs, fold, fold_stacks, summary | _weights(stack, names))


def _weights(stack: Stack, names: list[str]) -> dict[str, Any]:
    """Of the levels of a stack of these members, for run.json."""
    used = [names[i] for i in stack.second.members]
    return {
        "dropped": [name for name in names if len(stack.second.learners) > 2 and name not in used],
        "third_level": dict(zip(LEARNERS, stack.weights.tolist(), strict=True)),
        "shift": stack.shift,
        "scale": stack.scale,
        "weights": dict(zip(used, stack.second.weights.tolist(), strict=True)),
    }


def surrogate_loss(y: np.ndarray, proba: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """(n,) what stacks are chosen by, whatever the competition's metric: the log loss of each row.

    It is strictly proper: its optimum is the true probabilities, from which the best sets and rankings of every metric
    follow; and it has far less noise than they. Hill climbing and all learners minimise it too.
    """
    return log_loss_rows(y, proba, known=known)


def _choose_of(losses: Mapping[str, np.ndarray], group: np.ndarray | None) -> tuple[str, Gains, dict[str, float]]:
    """`choose` of the best member, the plain mean, and the weighted mean or the learned stack, whichever has the lower
    loss; and the mean losses of all four."""
    means = {name: float(loss.mean()) for name, loss in losses.items()}
    best = min((name for name in losses if name not in (MEAN, WEIGHTED, LEARNED)), key=means.__getitem__)
    fitted = min((name for name in (WEIGHTED, LEARNED) if name in losses), key=means.__getitem__, default=MEAN)
    candidates = dict.fromkeys((best, MEAN, fitted))
    kept, gains = choose({name: losses[name] for name in candidates}, group)
    return kept, gains, {name: means[name] for name in (best, MEAN, WEIGHTED, LEARNED) if name in means}


def fit_no_caption_stack(
    probas: Mapping[int, np.ndarray],
    y: np.ndarray,
    fold: np.ndarray,
    seed: int,
    known: np.ndarray | None = None,
    fold_stacks: dict[int, Stack] | None = None,
) -> tuple[Stack, np.ndarray]:
    """(mean of members that need no caption, its cross-fitted contributions (n, c, m + 2)); `probas` by position. The
    means that were fitted without each fold are added to `fold_stacks`."""
    positions, inputs = list(probas), StackInputs.of(list(probas.values()), None)
    cross_fitted = np.zeros((*y.shape, len(probas) + 2), np.float32)

    def placed(stack: Stack) -> Stack:
        members = [positions[i] for i in stack.second.members]
        return replace(stack, second=replace(stack.second, members=members))

    for k in np.unique(fold):
        train, rows = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        stack = _fit_mean(inputs.take(train), y[train], seed, None if known is None else known[train])
        cross_fitted[rows] = stack.contributions(inputs.take(rows))
        if fold_stacks is not None:
            fold_stacks[int(k)] = placed(stack)
    return placed(_fit_mean(inputs, y, seed, known)), cross_fitted


def _fit_mean(inputs: StackInputs, y: np.ndarray, seed: int, known: np.ndarray | None) -> Stack:
    """A weighted mean of the members' logits, shifted and scaled; fitted on all rows."""
    weights, shift, scale = _fit_weights(inputs.logits, y, seed, known)
    return replace(fixed_stack(weights, y.shape[1], inputs), shift=shift, scale=scale)


def _fit_weights(
    logits: np.ndarray, y: np.ndarray, seed: int, known: np.ndarray | None
) -> tuple[np.ndarray, float, float]:
    """(weights (m,) of logits (n, m, c), shift, scale of their weighted mean)."""
    weights = hill_climb(logits, y, seed, known)
    return weights, *fit_shift_and_scale(np.einsum("nmc,m->nc", logits, weights), y, known)


@dataclass
class MeanCV:
    """Weighted means of the members' logits, fitted without some folds."""

    inputs: StackInputs
    y: np.ndarray
    fold: np.ndarray
    seed: int
    known: np.ndarray | None = None
    _cache: dict[frozenset[int], Stack] = field(default_factory=dict)

    def fit(self, without: frozenset[int] = frozenset()) -> Stack:
        """Fitted on all rows but those of the folds `without`."""
        if without not in self._cache:
            rows = np.flatnonzero(~np.isin(self.fold, list(without)))
            known = None if self.known is None else self.known[rows]
            self._cache[without] = _fit_mean(self.inputs.take(rows), self.y[rows], self.seed, known)
        return self._cache[without]

    def losses(self) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """(losses (n,) of each row by a mean fitted without its fold; for each fold those by means that were fitted
        without it and without the row's own, of no use in it)."""
        folds = [int(k) for k in np.unique(self.fold)]
        return self._losses(frozenset()), {k: self._losses(frozenset({k})) for k in folds}

    def _losses(self, without: frozenset[int]) -> np.ndarray:
        proba = np.zeros(self.y.shape)
        for k in np.unique(self.fold):
            if int(k) not in without:
                rows = np.flatnonzero(self.fold == k)
                proba[rows] = self.fit(without | {int(k)}).predict_proba(self.inputs.take(rows))
        return surrogate_loss(self.y, proba, self.known)


@dataclass
class StackCV:
    """Stacks fitted without some folds; second levels are cached, because the nested fits share most of them."""

    inputs: StackInputs
    y: np.ndarray
    fold: np.ndarray
    seed: int
    threads: int
    known: np.ndarray | None = None  # (n, c) bool; None: all cells are known
    unfinished: Path | None = None  # folder that holds the cache too
    done: Callable[[int], object] = lambda labels: None  # is told of how many labels a second level has been fitted
    fold_stacks: dict[int, Stack] = field(default_factory=dict)  # by the fold that each was fitted without
    _cache: dict[frozenset[int], SecondLevel] = field(default_factory=dict)

    @property
    def fits(self) -> int:
        """Number of second levels: of all rows, without each fold, without each pair."""
        k = len(np.unique(self.fold))
        return 1 + k + k * (k - 1) // 2 if k > 2 else 0

    def fit(self, without: frozenset[int] = frozenset()) -> Stack:
        """Fitted on all rows but those of the folds `without`."""
        return self._third_level(without, self._second_level_logits(without))

    def cross_val_predict(self) -> tuple[np.ndarray, np.ndarray, dict[int, np.ndarray]]:
        """(probabilities (n, c) of each row by a stack fitted without its fold, its contributions (n, c, m + 2), for
        each fold the losses (n,) by stacks that were fitted without it and without the row's own, of no use in it)."""
        n, m, c = self.inputs.logits.shape
        proba, contributions, inner = np.zeros((n, c)), np.zeros((n, c, m + 2), np.float32), {}
        for k in self._inner(frozenset()):
            rows, logits = np.flatnonzero(self.fold == k), self._second_level_logits(frozenset({k}))
            inner[k] = surrogate_loss(self.y, self._held_out_proba(frozenset({k}), logits), self.known)
            stack, inputs = self._third_level(frozenset({k}), logits), self.inputs.take(rows)
            self.fold_stacks[k] = stack
            proba[rows], contributions[rows] = stack.predict_proba(inputs), stack.contributions(inputs)
        return proba, contributions, inner

    def _held_out_proba(self, without: frozenset[int], logits: np.ndarray) -> np.ndarray:
        """(n, c): each fold outside `without` by levels fitted without it and without these; zero in these.

        The third level leaves out one fold of the same second levels' logits, which needs no further second level.
        """
        proba, inner = np.zeros(self.y.shape), self._inner(without)
        for k in inner:
            others, rows = np.isin(self.fold, [j for j in inner if j != k]), self.fold == k
            weights, shift, scale = self._fit_weights(logits, others)
            proba[rows] = sigmoid(shift + scale * np.einsum("nlc,l->nc", logits[rows], weights))
        return proba

    def _third_level(self, without: frozenset[int], logits: np.ndarray) -> Stack:
        second, inner = self._second_level(without), self._inner(without)
        third = np.zeros(len(LEARNERS)), 0.0, 1.0
        third[0][second.learners] = 1 / len(second.learners)
        if len(inner) > 1:
            third = self._fit_weights(logits, np.isin(self.fold, inner))
        return Stack(second, *third, self.inputs.has_words)

    def _fit_weights(self, logits: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, float, float]:
        """(weights (4,) of LEARNERS, shift, scale) fitted on these rows."""
        weights = np.zeros(len(LEARNERS))
        used = self._learners
        weights[used], shift, scale = _fit_weights(logits[rows][:, used], self.y[rows], self.seed, self._known(rows))
        return weights, shift, scale

    @property
    def _learners(self) -> list[int]:
        return next(iter(self._cache.values())).learners

    def _known(self, rows: np.ndarray) -> np.ndarray | None:
        return None if self.known is None else self.known[rows]

    def _inner(self, without: frozenset[int]) -> list[int]:
        return [int(k) for k in np.unique(self.fold) if k not in without]

    def _second_level_logits(self, without: frozenset[int]) -> np.ndarray:
        """(n, 4, c): each fold outside `without` by a second level fitted without it and without these; else zero."""
        logits = np.zeros((len(self.y), len(LEARNERS), self.y.shape[1]), np.float32)
        for k in self._inner(without):
            rows = self.fold == k
            logits[rows] = self._second_level(without | {k}).logits(self.inputs.take(rows))
        return logits

    def _second_level(self, without: frozenset[int]) -> SecondLevel:
        if without not in self._cache:
            folder = self.unfinished and self.unfinished / "_".join(["without", *map(str, sorted(without))])
            if folder and (folder / "stack.json").exists():
                self._cache[without] = read_stack(folder).second
                self.done(self.y.shape[1])
                return self._cache[without]
            rows = fitted_rows(~np.isin(self.fold, list(without)))
            inputs, y, fold, known = self.inputs.take(rows), self.y[rows], self.fold[rows], self._known(rows)
            members = list(range(inputs.logits.shape[1]))
            fit = SecondLevelFit(inputs, y, fold, self.seed, self.threads, known, self.done)
            self._cache[without] = fit(members)
            if folder:
                write_stack(folder, Stack(self._cache[without], np.zeros(len(LEARNERS))))
        return self._cache[without]


def fitted_rows(kept: np.ndarray) -> np.ndarray:
    """Numbers of the rows that are `kept` (n,) bool, of more than FITTED a part that is the same in every run."""
    rows = np.flatnonzero(kept)
    if len(rows) <= FITTED:
        return rows
    return np.sort(np.random.default_rng(len(rows)).choice(rows, FITTED, replace=False))


def choose(losses: Mapping[str, np.ndarray], group: np.ndarray | None = None) -> tuple[str, Gains]:
    """(name of the candidate to keep, gains of each over each one before with 95 % intervals); simplest first.

    A later one is kept if its `surrogate_loss` (n,) is lower, outside the paired interval, than that of every one
    before it. Rows of one `group` (n,), such as near-duplicates, count as one draw.
    """
    names, gains, kept = list(losses), {}, next(iter(losses))
    for i, name in enumerate(names):
        gains[name] = {before: paired_mean(losses[before] - losses[name], group) for before in names[:i]}
        if i and all(low > 0 for _, low, _ in gains[name].values()):
            kept = name
    return kept, gains

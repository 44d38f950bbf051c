"""The second and third level on the members' out-of-fold logits, cross-fitted on the same folds.

Second level, for each label: LightGBM, logistic regression, the members' weighted mean and their plain mean. Third
level: the weights of these four, and one shift and scale of their mean. A stack for fold k is fitted on no label of
fold k, on either level: what the third level learns comes from second levels that also left out the fold on which it
is learned.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tandem.artifacts.atomic_io import read_json, write_json, write_with
from tandem.ensemble.hill_climbing import fit_shift_and_scale, hill_climb
from tandem.ensemble.lightgbm import Boosted
from tandem.ensemble.logistic import Logistic
from tandem.logits import logit, sigmoid
from tandem.metrics import log_loss_rows, paired_mean

BOUND = 1e-4  # of a member's probabilities, so that overconfidence carries no weight of its own
LEARNERS = ("boosted", "logistic", "weighted", "mean")
WEIGHTED, MEAN = 2, 3


@dataclass(frozen=True)
class Level:
    """What the second level sees of some rows.

    logits  (n, m, c) of the members
    extras  (n, e) light features of a row: labels expected, words of the caption
    """

    logits: np.ndarray
    extras: np.ndarray

    @classmethod
    def of(cls, probas: list[np.ndarray], words: np.ndarray | None) -> "Level":
        """From the members' probabilities (n, c) and the captions' numbers of words (n,)."""
        logits = np.stack([logit(p, BOUND) for p in probas], axis=1).astype(np.float32)
        extras = [np.mean([p.sum(1) for p in probas], axis=0)]
        if words is not None:
            extras.append(np.log1p(words))
        return cls(logits, np.column_stack(extras).astype(np.float32))

    def take(self, rows: np.ndarray) -> "Level":
        return Level(self.logits[rows], self.extras[rows])

    def keep(self, members: list[int]) -> "Level":
        return Level(self.logits[:, members], self.extras)

    def features(self, j: int) -> np.ndarray:
        """(n, m + c - 1 + e) for label j: each member's logit of it, the mean logits of the others, the extras."""
        others = np.delete(self.logits.mean(1), j, axis=1)
        return np.concatenate([self.logits[:, :, j], others, self.extras], axis=1)


@dataclass
class SecondLevel:
    """Four learners fitted on the same rows.

    members  which of the members it uses
    center   (m, c) mean logits of these over the rows fitted
    weights  (m,) of the weighted mean
    boosted, logistic  one a label; empty where the third level gives them no weight
    """

    members: list[int]
    center: np.ndarray
    weights: np.ndarray
    boosted: list[Boosted] = field(default_factory=list)
    logistic: list[Logistic] = field(default_factory=list)

    def logits(self, level: Level) -> np.ndarray:
        """(n, 4, c) of the LEARNERS; zero where one is empty."""
        level = level.keep(self.members)
        n, _, c = level.logits.shape
        out = np.zeros((n, len(LEARNERS), c))
        for j in range(c if self.boosted else 0):
            x = level.features(j)
            out[:, 0, j] = self.boosted[j].logits(x)
            out[:, 1, j] = self.logistic[j].logits(x)
        out[:, WEIGHTED] = np.einsum("nmc,m->nc", level.logits, self.weights)
        out[:, MEAN] = level.logits.mean(1)
        return out

    def contributions(self, level: Level) -> np.ndarray:
        """(n, 4, c, m + 2) that sum to `logits`: of each used member, of the row's other labels and extras, a constant.

        Of linear learners: coefficient x (value - its mean over the rows fitted). Of LightGBM: SHAP values.
        """
        level = level.keep(self.members)
        n, m, c = level.logits.shape
        out = np.zeros((n, len(LEARNERS), c, m + 2), np.float32)
        own = level.logits - self.center
        for i, weights in ((WEIGHTED, self.weights), (MEAN, np.full(m, 1 / m))):
            out[:, i, :, :m] = np.swapaxes(own * weights[:, None], 1, 2)
            out[:, i, :, -1] = weights @ self.center
        for j in range(c if self.boosted else 0):
            x = level.features(j)
            for i, learner in enumerate((self.boosted[j], self.logistic[j])):
                parts = learner.contributions(x)
                out[:, i, j, :m] = parts[:, :m]
                out[:, i, j, m] = parts[:, m:-1].sum(1)
                out[:, i, j, -1] = parts[:, -1]
        return out


def fit_second(
    level: Level, y: np.ndarray, fold: np.ndarray, seed: int, threads: int, members: list[int] | None = None
) -> SecondLevel:
    """Fits all four learners.

    One of the folds in `fold` (n,) is held out to choose penalties and numbers of trees. A member whose logits do not
    lower the held-out loss of the logistic regression is left out, and the others are fitted again.
    """
    members = list(range(level.logits.shape[1])) if members is None else members
    held = fold == fold.min() if len(np.unique(fold)) > 1 else np.arange(len(fold)) % 5 == 0
    used, m = level.keep(members), len(members)

    def regress(j: int) -> Logistic:
        return Logistic.fit(used.features(j), y[:, j], held)

    def boost(j: int) -> Boosted:
        return Boosted.fit(used.features(j), y[:, j], held, seed + j, monotone=m)

    labels = range(y.shape[1])
    with ThreadPoolExecutor(threads) as pool:
        logistic = list(pool.map(regress, labels))
        help_ = np.sum([model.gains[:m] for model in logistic], axis=0)
        helpful = [member for member, gain in zip(members, help_, strict=True) if gain > 0]
        if helpful and len(helpful) < m:
            return fit_second(level, y, fold, seed, threads, helpful)
        boosted = list(pool.map(boost, labels))
    weights = hill_climb(used.logits, y, seed)
    return SecondLevel(members, used.logits.mean(0), weights, boosted, logistic)


@dataclass
class Stack:
    """A second level, and the third: weights (4,) of LEARNERS, then shift + scale x their mean."""

    second: SecondLevel
    weights: np.ndarray
    shift: float = 0.0
    scale: float = 1.0

    def predict_proba(self, level: Level) -> np.ndarray:
        """(n, c)."""
        mean = np.einsum("nlc,l->nc", self.second.logits(level), self.weights)
        return sigmoid(self.shift + self.scale * mean)

    def contributions(self, level: Level) -> np.ndarray:
        """(n, c, m + 2) that sum to the logit, see SecondLevel."""
        parts = self.scale * np.einsum("nlcf,l->ncf", self.second.contributions(level), self.weights)
        parts[:, :, -1] += self.shift
        return parts

    def save(self, folder: Path) -> None:
        """Writes `stack.safetensors`, `label<j>.txt` (LightGBM's text) and, last, `stack.json`."""
        second = self.second
        tensors = {"center": second.center, "weights": second.weights, "third": self.weights}
        tensors["rescale"] = np.array([self.shift, self.scale])
        if second.logistic:
            tensors |= {
                "coef": np.stack([model.coef for model in second.logistic]),
                "mean": np.stack([model.mean for model in second.logistic]),
                "bias": np.array([model.bias for model in second.logistic]),
            }
        tensors = {name: np.ascontiguousarray(t) for name, t in tensors.items()}
        for stale in folder.glob("label*.txt"):
            stale.unlink()
        write_with(folder / "stack.safetensors", lambda partial: save_file(tensors, partial))
        for j, model in enumerate(second.boosted):
            model.save(folder / f"label{j}.txt")
        write_json(folder / "stack.json", {"members": second.members, "labels": len(second.boosted)})

    @property
    def reads_words(self) -> bool:
        """Whether the extras it was fitted on hold the caption's number of words."""
        m, c = self.second.center.shape
        return bool(self.second.logistic) and len(self.second.logistic[0].coef) == m + c - 1 + 2

    @classmethod
    def load(cls, folder: Path) -> "Stack":
        about, t = read_json(folder / "stack.json"), load_file(folder / "stack.safetensors")
        boosted = [Boosted.load(folder / f"label{j}.txt") for j in range(about["labels"])]
        logistic = [Logistic(t["coef"][j], float(t["bias"][j]), t["mean"][j]) for j in range(about["labels"])]
        second = SecondLevel(about["members"], t["center"], t["weights"], boosted, logistic)
        return cls(second, t["third"], *map(float, t["rescale"]))


def fixed_stack(level: Level, weights: np.ndarray) -> Stack:
    """A stack that is the weighted mean of the members' logits and nothing else; weights (m,)."""
    members = [int(i) for i in np.flatnonzero(weights)]
    center = level.keep(members).logits.mean(0)
    return Stack(SecondLevel(members, center, weights[members]), np.eye(len(LEARNERS))[WEIGHTED])


def mean_stack(level: Level, y: np.ndarray, able: Sequence[int], seed: int) -> Stack:
    """Fitted on all rows: a weighted mean of the logits of the members `able`, shifted and scaled."""
    weights = np.zeros(level.logits.shape[1])
    weights[list(able)] = hill_climb(level.logits[:, list(able)], y, seed)
    shift, scale = fit_shift_and_scale(np.einsum("nmc,m->nc", level.logits, weights), y)
    return replace(fixed_stack(level, weights), shift=shift, scale=scale)


def cross_fitted_mean(
    level: Level, y: np.ndarray, fold: np.ndarray, able: Sequence[int], seed: int
) -> np.ndarray:
    """(n, c) probabilities, each row's from a `mean_stack` that did not see its fold."""
    proba = np.zeros(y.shape)
    for k in np.unique(fold):
        others, rows = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        proba[rows] = mean_stack(level.take(others), y[others], able, seed).predict_proba(level.take(rows))
    return proba


@dataclass
class CrossFitStack:
    """Stacks that never saw some folds; second levels are kept, because the nested fits share most of them."""

    level: Level
    y: np.ndarray
    fold: np.ndarray
    seed: int
    threads: int
    _kept: dict = field(default_factory=dict)

    def stack(self, without: frozenset[int] = frozenset()) -> Stack:
        """Fitted on all rows but those of the folds `without`."""
        inner = [int(k) for k in np.unique(self.fold) if k not in without]
        if len(inner) == 1:
            return Stack(self._second(without), np.full(len(LEARNERS), 1 / len(LEARNERS)))
        logits = np.zeros((len(self.y), len(LEARNERS), self.y.shape[1]), np.float32)
        for k in inner:
            rows = self.fold == k
            logits[rows] = self._second(without | {k}).logits(self.level.take(rows))
        rows = np.isin(self.fold, inner)
        logits, y = logits[rows], self.y[rows]
        weights = hill_climb(logits, y, self.seed)
        mean = np.einsum("nlc,l->nc", logits, weights)
        return Stack(self._second(without), weights, *fit_shift_and_scale(mean, y))

    def cross_fitted(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, c) probabilities, and (n, c, m + 2) contributions of every member, context and base, of each row from a
        stack that did not see its fold."""
        n, m, c = self.level.logits.shape
        proba, parts = np.zeros((n, c)), np.zeros((n, c, m + 2), np.float32)
        for k in np.unique(self.fold):
            rows = np.flatnonzero(self.fold == k)
            stack, level = self.stack(frozenset({int(k)})), self.level.take(rows)
            proba[rows] = stack.predict_proba(level)
            parts[rows] = spread(stack, level)
        return proba, parts

    def _second(self, without: frozenset[int]) -> SecondLevel:
        if without not in self._kept:
            rows = ~np.isin(self.fold, list(without))
            level = self.level.take(rows)
            self._kept[without] = fit_second(level, self.y[rows], self.fold[rows], self.seed, self.threads)
        return self._kept[without]


def slim(stack: Stack, names: list[str]) -> tuple[Stack, list[str]]:
    """The stack on as few members as it needs, and their names; `names` (m,) of all.

    Learned ones read what all members expect, fixed ones nothing but their own.
    """
    if stack.second.boosted:
        return stack, names
    used = [names[i] for i in stack.second.members]
    return replace(stack, second=replace(stack.second, members=list(range(len(used))))), used


def spread(stack: Stack, level: Level) -> np.ndarray:
    """(n, c, m + 2): contributions with a column for every member, those it does not use too, context and base."""
    n, m, c = level.logits.shape
    out = np.zeros((n, c, m + 2), np.float32)
    out[:, :, [*stack.second.members, m, m + 1]] = stack.contributions(level)
    return out


def choose(
    y: np.ndarray, candidates: dict[str, np.ndarray]
) -> tuple[str, dict[str, dict[str, tuple[float, float, float]]]]:
    """(what to keep, its and the others' gains over each one before, with 95 % intervals): simplest candidate first.

    A later one is kept if its log loss a row is lower, outside the paired interval, than that of every one before it.
    Log loss, because it judges probabilities before any decoding, with far less noise than the metric; so this choice
    is none that the reported score was tuned by.
    """
    losses = {name: log_loss_rows(y, proba) for name, proba in candidates.items()}
    (kept, *_), gains = candidates, {}
    for i, name in enumerate(candidates):
        gains[name] = {b: paired_mean(losses[b] - losses[name]) for b in list(candidates)[:i]}
        if i and all(low > 0 for _, low, _ in gains[name].values()):
            kept = name
    return kept, gains

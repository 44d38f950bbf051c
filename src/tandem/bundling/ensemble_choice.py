"""The choice of an ensemble: the best by cross-fitted score within a budget of megabytes and milliseconds.

The members of a mean and the ensemble are chosen on the rows that they are scored on: these scores are slightly
optimistic, and are shown as such.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tandem.logits import bce_from_logits


@dataclass(frozen=True)
class Cost:
    """Megabytes on disk, and milliseconds per image on this machine."""

    mb: float = 0.0
    ms: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.mb + other.mb, self.ms + other.ms)

    def __mul__(self, n: int) -> "Cost":
        return Cost(self.mb * n, self.ms * n)

    def within(self, budget: "Cost") -> bool:
        return self.mb <= budget.mb and self.ms <= budget.ms


@dataclass(frozen=True)
class ExperimentCost:
    fold: Cost  # of one of its fold models
    folds: int  # number of these
    shared: frozenset[str]  # names of what it shares with others


@dataclass(frozen=True)
class Choice:
    """An ensemble with its score and cost."""

    kind: str  # "single", "mean" of the members' logits, or "stack"
    members: tuple[str, ...]
    score: float
    folds: int = 1  # fold models of each member
    cost: Cost = Cost()
    fallback: str = ""  # the experiment for images without a caption, where every member needs captions
    recipe: tuple[dict[str, Any], dict[str, Any]] = ({}, {})  # of a mean: content of thresholds.json and scores.json
    greater_is_better: bool = True
    name: str = ""  # of a stack

    @property
    def merit(self) -> float:
        """More is better: the score, with its sign turned where it is a loss."""
        return self.score if self.greater_is_better else -self.score

    @property
    def experiments(self) -> tuple[str, ...]:
        """The members and the fallback."""
        return (*self.members, self.fallback) if self.fallback else self.members

    @property
    def title(self) -> str:
        kind = f"{self.kind} {self.name}" if self.name not in ("", self.kind) else self.kind
        name = self.members[0] if self.kind == "single" else f"{kind} of {', '.join(self.members)}"
        return name + (f"; {self.fallback} without captions" if self.fallback else "")


@dataclass(frozen=True)
class Costs:
    """Costs of all parts of ensembles."""

    experiments: Mapping[str, ExperimentCost]
    shared: Mapping[str, Cost]  # by name, counted once
    base: Cost  # of every ensemble
    stack: Cost  # of the largest stack itself

    def total(self, kind: str, names: Sequence[str], folds: int) -> Cost:
        """Cost of an ensemble with up to `folds` models of each experiment."""
        experiments = [self.experiments[name] for name in names]
        shared = sorted(frozenset().union(*(e.shared for e in experiments)))
        parts = [self.shared[name] for name in shared] + [e.fold * min(folds, e.folds) for e in experiments]
        return sum(parts, start=self.base + (self.stack if kind == "stack" else Cost()))

    def with_most_folds(self, choice: Choice, budget: Cost) -> Choice:
        """The choice with as many models of each experiment as the budget allows, at least one."""
        most = max(self.experiments[name].folds for name in choice.experiments)
        costs = {k: self.total(choice.kind, choice.experiments, k) for k in range(most, 0, -1)}
        folds = next((k for k, cost in costs.items() if cost.within(budget)), 1)
        return replace(choice, folds=folds, cost=costs[folds])

    def with_fallback(self, choice: Choice, scores: Mapping[str, float], budget: Cost) -> Choice:
        """`with_most_folds`, and a fallback, if one fits, where every member needs captions: the one that allows most
        models, then the best of `scores` (on rows without a caption, of the experiments that need none)."""
        pairs = [self.with_most_folds(replace(choice, fallback=name), budget) for name in scores]
        pairs = [pair for pair in pairs if pair.cost.within(budget)]
        if not pairs or set(choice.members) & set(scores):
            return self.with_most_folds(choice, budget)
        return max(pairs, key=lambda pair: (pair.folds, scores[pair.fallback]))


def grow_means(
    logits: Mapping[str, np.ndarray],
    y: np.ndarray,
    affordable: Callable[[tuple[str, ...]], bool],
    known: np.ndarray | None = None,
) -> list[tuple[str, ...]]:
    """Groups of 1, 2, ... experiments: each adds the affordable one that lowers the log loss of the mean logits most,
    until none lowers it; logits (n, c) of every experiment, y (n, c), of which only `known` cells count, if given."""
    cells = ... if known is None else known
    groups: list[tuple[str, ...]] = []
    group: tuple[str, ...] = ()
    total, lowest = np.zeros(y.shape), np.inf
    while True:
        larger = [(*group, name) for name in logits if name not in group and affordable((*group, name))]
        losses = [float(bce_from_logits((total + logits[g[-1]]) / len(g), y)[cells].mean()) for g in larger]
        if not losses or min(losses) >= lowest:
            return groups
        lowest, group = min(losses), larger[int(np.argmin(losses))]
        total = total + logits[group[-1]]
        groups.append(group)


def choose_best(choices: Sequence[Choice], budget: Cost) -> Choice:
    """The highest score within the budget, then the most models, then the smallest; raises ValueError without one."""
    affordable = [choice for choice in choices if choice.cost.within(budget)]
    if not affordable:
        small, quick = min(choices, key=lambda c: c.cost.mb), min(choices, key=lambda c: c.cost.ms)
        found = [f"{c.title}, {c.cost.mb:.1f} MB and {c.cost.ms:.1f} ms" for c in (small, quick)]
        limits = f"{budget.mb:g} MB and {budget.ms:g} ms per image"
        raise ValueError(f"nothing fits {limits}: the smallest is {found[0]}; the quickest {found[1]}")
    return max(affordable, key=rank)


def rank(choice: Choice) -> tuple[float, int, float]:
    """More is better: the score, then the most models, then the smallest."""
    return choice.merit, choice.folds, -choice.cost.mb

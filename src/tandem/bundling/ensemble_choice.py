"""Which ensemble to pack: the best by cross-fitted score that is small and quick enough."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tandem.logits import bce_from_logits


@dataclass(frozen=True)
class Cost:
    """Megabytes on disk, and milliseconds an image on this machine."""

    mb: float = 0.0
    ms: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.mb + other.mb, self.ms + other.ms)

    def times(self, n: int) -> "Cost":
        return Cost(self.mb * n, self.ms * n)


@dataclass(frozen=True)
class Part:
    """An experiment: the cost of one of its models, how many there are, and by name what it shares with others."""

    fold: Cost
    folds: int
    shared: frozenset[str]


@dataclass(frozen=True)
class Choice:
    """An ensemble, its models a member, and what it scores and costs.

    kind   "single", "mean" of the members' logits, or "stack"
    blind  the experiment that comes along for images without a caption, where no member does without
    """

    kind: str
    members: tuple[str, ...]
    score: float
    folds: int = 1
    cost: Cost = Cost()
    blind: str = ""

    @property
    def packed(self) -> tuple[str, ...]:
        return (*self.members, self.blind) if self.blind else self.members

    @property
    def title(self) -> str:
        name = self.members[0] if self.kind == "single" else f"{self.kind} of {', '.join(self.members)}"
        return name + (f"; {self.blind} without captions" if self.blind else "")


@dataclass(frozen=True)
class Prices:
    """What everything costs: `base` every ensemble, `shared` by name once, each Part for every model, a stack's own."""

    parts: Mapping[str, Part]
    shared: Mapping[str, Cost]
    base: Cost
    stack: Cost

    def of(self, kind: str, members: Sequence[str], folds: int) -> Cost:
        total = self.base + (self.stack if kind == "stack" else Cost())
        for name in sorted(frozenset().union(*(self.parts[m].shared for m in members))):
            total += self.shared[name]
        for member in members:
            total += self.parts[member].fold.times(min(folds, self.parts[member].folds))
        return total

    def fitted(self, choice: Choice, mb: float, ms: float) -> Choice:
        """With as many models a member as fit, at least one."""
        most = max(self.parts[m].folds for m in choice.packed)
        sized = [
            replace(choice, folds=k, cost=self.of(choice.kind, choice.packed, k)) for k in range(most, 0, -1)
        ]
        return next((one for one in sized if fits(one.cost, mb, ms)), sized[-1])

    def accompanied(self, choice: Choice, blind: Mapping[str, float], mb: float, ms: float) -> Choice:
        """`fitted`, with the experiment that does without captions for which most models fit, then of best score.

        `blind`: what such experiments score. One that is a member needs none; where none fits, none comes along.
        """
        alone = self.fitted(choice, mb, ms)
        joined = [self.fitted(replace(choice, blind=name), mb, ms) for name in blind]
        joined = [one for one in joined if fits(one.cost, mb, ms)]
        if not joined or set(choice.members) & set(blind):
            return alone
        return max(joined, key=lambda one: (one.folds, blind[one.blind]))


def fits(cost: Cost, mb: float, ms: float) -> bool:
    return cost.mb <= mb and cost.ms <= ms


def grown(
    logits: Mapping[str, np.ndarray], y: np.ndarray, affordable: Callable[[tuple[str, ...]], bool]
) -> list[tuple[str, ...]]:
    """Ever larger groups of experiments: each time that one joins which lowers the log loss of the mean logits most.

    logits (n, c) of every experiment, y (n, c). Groups that are not `affordable` are passed over; it ends where none
    that is lowers the loss.
    """
    groups, picked, total, least = [], (), 0.0, np.inf
    while True:
        joined = [(*picked, name) for name in logits if name not in picked and affordable((*picked, name))]
        losses = [bce_from_logits((total + logits[group[-1]]) / len(group), y).mean() for group in joined]
        if not losses or min(losses) >= least:
            return groups
        least, picked = min(losses), joined[int(np.argmin(losses))]
        total = total + logits[picked[-1]]
        groups.append(picked)


def best(choices: Sequence[Choice], mb: float, ms: float) -> Choice:
    """The highest score that fits, then the most models, then the smallest; raises ValueError where nothing does."""
    fitting = [c for c in choices if fits(c.cost, mb, ms)]
    if not fitting:
        small = min(choices, key=lambda c: c.cost.mb)
        quick = min(choices, key=lambda c: c.cost.ms)
        raise ValueError(
            f"nothing fits {mb:g} MB and {ms:g} ms an image: the smallest is {small.title}, {small.cost.mb:.1f} MB and "
            f"{small.cost.ms:.1f} ms; the quickest {quick.title}, {quick.cost.mb:.1f} MB and {quick.cost.ms:.1f} ms"
        )
    return max(fitting, key=lambda c: (c.score, c.folds, -c.cost.mb))

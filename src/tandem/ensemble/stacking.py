"""A trained stack: two levels above the members' logits.

Second level, for each label: LightGBM, logistic regression, the members' weighted mean and their plain mean. Third
level: the weights of these four, and one shift and scale of their mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tandem.ensemble.lightgbm import Boosted
from tandem.ensemble.logistic import Logistic
from tandem.logits import logit, sigmoid

BOUND = 1e-4  # of a member's probabilities: clips extreme logits
LEARNERS = ("boosted", "logistic", "weighted", "mean")
WEIGHTED, MEAN = 2, 3


@dataclass(frozen=True)
class StackInputs:
    """Input of the second level.

    logits     (n, m, c) of the members
    extras     (n, e) features of a row: expected number of labels and, where `has_words`, log(1 + words of the caption)
    has_words  whether the word counts are among the extras
    """

    logits: np.ndarray
    extras: np.ndarray
    has_words: bool

    @classmethod
    def of(cls, probas: Sequence[np.ndarray], words: np.ndarray | None) -> "StackInputs":
        """From the members' probabilities (n, c) and the captions' word counts (n,), None without captions."""
        logits = np.stack([logit(p, BOUND) for p in probas], axis=1).astype(np.float32)
        extras = [np.mean([p.sum(1) for p in probas], axis=0)]
        if words is not None:
            extras.append(np.log1p(words))
        return cls(logits, np.column_stack(extras).astype(np.float32), words is not None)

    def take(self, rows: np.ndarray) -> "StackInputs":
        return replace(self, logits=self.logits[rows], extras=self.extras[rows])

    def keep(self, members: Sequence[int]) -> "StackInputs":
        return replace(self, logits=self.logits[:, list(members)])

    def features(self, j: int) -> np.ndarray:
        """(n, m + c - 1 + e) for label j: each member's logit of it, the mean logits of the others, the extras."""
        others = np.delete(self.logits.mean(1), j, axis=1)
        return np.concatenate([self.logits[:, :, j], others, self.extras], axis=1)


@dataclass(frozen=True)
class SecondLevel:
    """Four learners fitted on the same rows.

    members  positions of the members that it uses
    center   (m, c) mean logits of these over the rows fitted
    weights  (m,) of the weighted mean
    boosted, logistic  one a label; empty in a stack that only averages
    """

    members: list[int]
    center: np.ndarray
    weights: np.ndarray
    boosted: list[Boosted] = field(default_factory=list)
    logistic: list[Logistic] = field(default_factory=list)

    def logits(self, inputs: StackInputs) -> np.ndarray:
        """(n, 4, c) of the LEARNERS; zero where one is empty."""
        inputs = inputs.keep(self.members)
        n, _, c = inputs.logits.shape
        out = np.zeros((n, len(LEARNERS), c))
        for j in range(c if self.boosted else 0):
            x = inputs.features(j)
            out[:, 0, j] = self.boosted[j].logits(x)
            out[:, 1, j] = self.logistic[j].logits(x)
        out[:, WEIGHTED] = np.einsum("nmc,m->nc", inputs.logits, self.weights)
        out[:, MEAN] = inputs.logits.mean(1)
        return out

    def contributions(self, inputs: StackInputs) -> np.ndarray:
        """(n, 4, c, m + 2) that sum to `logits`: of each used member, of the row's other labels and extras, a constant.

        Of linear learners: coefficient x (value - its mean over the rows fitted). Of LightGBM: SHAP values.
        """
        inputs = inputs.keep(self.members)
        n, m, c = inputs.logits.shape
        out = np.zeros((n, len(LEARNERS), c, m + 2), np.float32)
        deviation = inputs.logits - self.center
        for i, weights in ((WEIGHTED, self.weights), (MEAN, np.full(m, 1 / m))):
            out[:, i, :, :m] = np.swapaxes(deviation * weights[:, None], 1, 2)
            out[:, i, :, -1] = weights @ self.center
        for j in range(c if self.boosted else 0):
            x = inputs.features(j)
            for i, parts in enumerate((self.boosted[j].contributions(x), self.logistic[j].contributions(x))):
                out[:, i, j, :m] = parts[:, :m]
                out[:, i, j, m] = parts[:, m:-1].sum(1)
                out[:, i, j, -1] = parts[:, -1]
        return out


@dataclass(frozen=True)
class Stack:
    """A second level, and the third: weights (4,) of LEARNERS, then shift + scale x their mean.

    reads_words  whether it was fitted with the captions' word counts, and needs them to predict
    """

    second: SecondLevel
    weights: np.ndarray
    shift: float = 0.0
    scale: float = 1.0
    reads_words: bool = False

    def predict_proba(self, inputs: StackInputs) -> np.ndarray:
        """(n, c)."""
        mean = np.einsum("nlc,l->nc", self.second.logits(inputs), self.weights)
        return sigmoid(self.shift + self.scale * mean)

    def contributions(self, inputs: StackInputs) -> np.ndarray:
        """(n, c, m + 2) that sum to the logit: of all m members (0 of one that is not used), the row's other labels and
        extras, a constant."""
        n, m, c = inputs.logits.shape
        used = self.scale * np.einsum("nlcf,l->ncf", self.second.contributions(inputs), self.weights)
        used[:, :, -1] += self.shift
        out = np.zeros((n, c, m + 2), np.float32)
        out[:, :, [*self.second.members, m, m + 1]] = used
        return out

    def centered(self, inputs: StackInputs) -> "Stack":
        """The same predictions; contributions of linear learners relative to the members' mean logits in these rows."""
        center = inputs.keep(self.second.members).logits.mean(0)
        return replace(self, second=replace(self.second, center=center))


def fixed_stack(weights: np.ndarray, n_labels: int) -> Stack:
    """The weighted mean of the members' logits, nothing learned; weights (m,), those of weight 0 are not used."""
    members = np.flatnonzero(weights)
    second = SecondLevel(members.tolist(), np.zeros((len(members), n_labels), np.float32), weights[members])
    return Stack(second, np.eye(len(LEARNERS))[WEIGHTED])


def drop_unused_members(stack: Stack, names: Sequence[str]) -> tuple[Stack, list[str]]:
    """The same stack on the members that it needs, and their names; `names` (m,) of all.

    A learned stack needs all: the expected number of labels is the mean over all members.
    """
    if stack.second.boosted:
        return stack, list(names)
    used = [names[i] for i in stack.second.members]
    return replace(stack, second=replace(stack.second, members=list(range(len(used))))), used

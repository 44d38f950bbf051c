"""Two predictions for the same rows: the paired difference of their scores, rows won and lost, and each label."""

from dataclasses import dataclass

import numpy as np

from tandem.decoding import Rule
from tandem.metrics import METRICS, f1_per_label, label_gains
from tandem.report.compare import Gain
from tandem.report.data_model import Decoded


@dataclass(frozen=True)
class Answers:
    """The true labels of the rows that are compared."""

    y: np.ndarray  # (n, c)
    group: np.ndarray | None = None  # (n,) near-duplicates, which count as one draw
    known: np.ndarray | None = None  # (n, c) bool


@dataclass(frozen=True)
class LabelChange:
    """A label in the sets of A and B."""

    name: str
    only_a: int  # rows
    only_b: int
    f: tuple[float, float] | None = None  # of A and B, where the answers are known
    gain: Gain | None = None  # of B over A


@dataclass(frozen=True)
class Pair:
    """B against A; without answers there are no scores, and only the sets are compared.

    order  (k,) the rows that differ, those that differ most first
    rows   (won by B, lost, equal)
    """

    n: int
    labels: list[LabelChange]
    order: np.ndarray
    differing: int
    scores: tuple[float, float] | None = None
    gain: Gain | None = None
    rows: tuple[int, int, int] | None = None
    rows_by: str = ""


def compare_pair(rule: Rule, names: tuple[str, ...], a: Decoded, b: Decoded, answers: Answers | None = None) -> Pair:
    differs = a.pred != b.pred
    only_a, only_b = (a.pred & ~b.pred).sum(0).tolist(), (b.pred & ~a.pred).sum(0).tolist()
    size = differs.sum(1).astype(float)
    if answers is None:
        labels = [LabelChange(*one) for one in zip(names, only_a, only_b, strict=True)]
        labels.sort(key=lambda one: -(one.only_a + one.only_b))
        return Pair(len(size), labels, _largest(size), int((size > 0).sum()))
    y, group, known = answers.y, answers.group, answers.known
    f = [f1_per_label(y, one.pred, rule.beta, rule.zero_division, known) for one in (a, b)]
    gains = label_gains(y, a.pred, [b.pred], rule.sets.beta, group, 0, rule.sets.zero_division, known)[0]
    labels = [
        LabelChange(name, only_a[j], only_b[j], (float(f[0][j]), float(f[1][j])), Gain(*gains[j].tolist()))
        for j, name in enumerate(names)
    ]
    labels.sort(key=lambda one: -abs(one.gain.gain) if one.gain else 0.0)
    change, by = row_gains(rule, a, b, answers)
    won, lost = int((change > 0).sum()), int((change < 0).sum())
    scores = (rule.score(y, a.scored, known), rule.score(y, b.scored, known))
    gain = Gain(*rule.gain(y, a.scored, b.scored, group, known))
    order = _largest(np.abs(change) + 1e-6 * size)
    return Pair(len(size), labels, order, int((size > 0).sum()), scores, gain, (won, lost, len(size) - won - lost), by)


def row_gains(rule: Rule, a: Decoded, b: Decoded, answers: Answers) -> tuple[np.ndarray, str]:
    """((n,) how much better B is than A at each row, by which metric): F per row where it is no mean of rows."""
    y, known = answers.y, answers.known
    own = [rule.judge.per_row(y, one.scored, rule.beta, rule.zero_division, known) for one in (a, b)]
    if own[0] is not None and own[1] is not None:
        change = own[1] - own[0]
        return np.where(np.abs(change) < 1e-12, 0, change if rule.judge.greater_is_better else -change), rule.title
    rows = [METRICS["f1_samples"].per_row(y, one.pred, rule.beta, rule.zero_division, known) for one in (a, b)]
    assert rows[0] is not None and rows[1] is not None
    return rows[1] - rows[0], f"F{rule.beta:g} per row of the label sets"


def _largest(size: np.ndarray) -> np.ndarray:
    order = np.argsort(-size, kind="stable")
    return order[size[order] > 0]

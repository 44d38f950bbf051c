"""Why a row has its labels: the rule of its decoder, and the set that came second where whole sets are chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tandem.decoding.calibration import size_distribution
from tandem.decoding.decoder import TUNED, Decoder
from tandem.decoding.expected_f import expected_values


@dataclass(frozen=True)
class Decision:
    """The labels of one row, and the rule that chose them."""

    chosen: np.ndarray  # (c,) bool
    by: str  # the rule, such as "in the set with the highest expected F1"
    reasons: tuple[str, ...]  # (c,) why each label is in the set, or is not
    value: str = ""  # what `expected` is, such as "expected F1"; "" where labels are chosen one by one
    expected: float | None = None  # of the chosen set; None where labels are chosen one by one
    runner_up: tuple[int, ...] | None = None  # labels of the set that came second; None where there is no other
    runner_up_expected: float | None = None

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """`by`, `expected` and `runner_up` with the names of its labels."""
        second = self.runner_up
        labels = None if second is None else [names[j] for j in second]
        runner_up = None if labels is None else {"labels": labels, "expected": self.runner_up_expected}
        return {"by": self.by, "expected": self.expected, "runner_up": runner_up}

    def sentence(self, names: Sequence[str]) -> str:
        """The rule with both sets and their values."""
        if self.expected is None:
            return f"Labels are chosen by: {self.by}."
        text = f"The labels are the set with the highest {self.value}: {self.expected:.3f}"
        if self.runner_up is None or self.runner_up_expected is None:
            return text + "."
        second = ", ".join(names[j] for j in self.runner_up) or "no label"
        return f"{text}; the next set is {second}: {self.runner_up_expected:.3f}."


def decide(decoder: Decoder, proba: np.ndarray) -> Decision:
    """The decision of `decoder` for one row of probabilities (c,)."""
    chosen = decoder(proba[None])[0].astype(bool)
    if decoder.thresholds is not None:
        return _by_thresholds(decoder, proba, chosen)
    value = _value_name(decoder)
    by = f"in the set with the highest {value}"
    reasons = tuple(by if one else f"not {by}" for one in chosen)
    p = decoder.calibration(proba[None])[0]
    order = np.argsort(-p, kind="stable")
    k, least, most = int(chosen.sum()), decoder.rule.least, min(decoder.rule.most, len(p))
    values = _values(decoder, p[order])
    sets = {size: tuple(order[:size].tolist()) for size in range(min(least, len(p)), most + 1) if size < len(values)}
    found = {labels: float(values[size]) for size, labels in sets.items() if size != k}
    if 0 < k < len(p):  # the second best set of the same size has the next label in place of the last
        swapped = [*order[: k - 1], order[k], order[k - 1], *order[k + 1 :]]
        found[tuple(map(int, swapped[:k]))] = float(_values(decoder, p[swapped], k)[k])
    own = float(values[k] if k < len(values) else _values(decoder, p[order], k)[k])
    second = max(found, key=found.__getitem__, default=None)
    return Decision(chosen, by, reasons, value, own, second, None if second is None else found[second])


def _value_name(decoder: Decoder) -> str:
    """What the chosen set has most of."""
    rule = decoder.rule
    if rule.metric == "accuracy_exact":
        return "probability"
    if rule.metric == "hamming" and decoder.sizes is None:
        return "expected share of right labels"
    return "expected Jaccard index" if rule.metric == "jaccard_samples" else f"expected F{rule.beta:g}"


def _values(decoder: Decoder, p: np.ndarray, least: int = 0) -> np.ndarray:
    """Values of the first 0, 1, 2, ... labels of probabilities p (c,), to `least` of them or more."""
    rule, c = decoder.rule, len(p)
    ones, zeros = np.append(0.0, np.cumsum(p)), np.append(np.cumsum((1 - p)[::-1])[::-1], 0.0)
    if rule.metric == "hamming" and decoder.sizes is None:
        return (ones + zeros) / c
    if rule.metric == "accuracy_exact":
        logs = np.append(0.0, np.cumsum(np.log(p))), np.append(np.cumsum(np.log1p(-p)[::-1])[::-1], 0.0)
        return np.exp(logs[0] + logs[1]) * _size_factors(decoder.sizes, p)
    least, jaccard = max(least, rule.least), rule.metric == "jaccard_samples"
    return expected_values(p, rule.beta, min(least, c), decoder.sizes, rule.zero_division, jaccard)


def _size_factors(sizes: np.ndarray | None, p: np.ndarray) -> np.ndarray:
    """(c + 1,) factors of the probability of a set of 0, 1, ... labels; all 1 where the labels are independent."""
    c = len(p)
    if sizes is None or not np.isfinite(sizes).all():
        return np.ones(c + 1)
    weights = np.append(sizes, np.zeros(c + 1))[: c + 1]
    total = (size_distribution(p[None], c)[0] * weights).sum()
    return weights / total if total > 0 else np.ones(c + 1)


def _by_thresholds(decoder: Decoder, proba: np.ndarray, chosen: np.ndarray) -> Decision:
    assert decoder.thresholds is not None
    rule, reached = decoder.rule, proba >= decoder.thresholds
    thresholds = [_number(threshold) for threshold in decoder.thresholds.tolist()]
    own = decoder.name in TUNED
    by = "probability at least the label's threshold" if own else f"probability at least {thresholds[0]}"
    if reached.sum() < rule.least:
        by = f"one of the {int(chosen.sum())} most probable: a row has at least {rule.least}"
    elif reached.sum() > rule.most:
        by = f"one of the {rule.most} most probable of those at or above their threshold: a row has at most {rule.most}"
    reasons, of = [], "the label's" if own else "the"
    for threshold, reaches, is_chosen in zip(thresholds, reached, chosen, strict=True):
        where = f"{of} threshold {threshold}"
        if is_chosen == reaches:
            reasons.append(f"probability {'at least' if reaches else 'below'} {where}")
        elif is_chosen:
            reasons.append(f"below {where}, but {by}")
        else:
            reasons.append(f"at or above {where}, but not {by}")
    return Decision(chosen, by, tuple(reasons))


def _number(threshold: float) -> str:
    """With two digits, or four where two would say 0 or 1.

    >>> _number(0.3149), _number(0.0042), _number(0.5)
    ('0.31', '0.0042', '0.50')
    """
    return f"{threshold:.2f}" if 0.01 <= threshold <= 0.99 else f"{threshold:.4f}"

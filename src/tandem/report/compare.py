"""Paired differences between experiments on the same rows: of the competition's metric, and of each label's F."""

from dataclasses import dataclass

from tandem.config.metric_names import merit
from tandem.metrics import f1_per_label, label_gains
from tandem.report.data_model import ReportData


@dataclass(frozen=True)
class Gain:
    """How much better one prediction scores than another for the same rows, with its paired 95 % interval."""

    gain: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        return "better" if self.low > 0 else "worse" if self.high < 0 else "may be chance"


def best_experiment(data: ReportData) -> str:
    """The one of best score among those that are decoded; "" where there is none."""
    scores = {e.name: merit(e.scores) for e in data.experiments if e.name in data.decoded}
    return max(scores, key=scores.__getitem__, default="")


def against(data: ReportData, baseline: str) -> dict[str, Gain]:
    """By experiment: its cross-fitted score minus that of `baseline`, positive where it is better."""
    start = data.decoded[baseline].scored if baseline else None
    return {
        name: Gain(*data.rule.gain(data.y, start, one.scored, data.group, data.known))
        for name, one in data.decoded.items()
        if start is not None and name != baseline
    }


def compare_labels(data: ReportData) -> dict | None:
    """For each label the F of the best experiment and of every other one, with the paired gain of these; None for
    fewer than two experiments.

    `names`: the best experiment, then the others. A row: name of the label, f (of each of `names`), gains (of the
    others), and the other one of highest F: its name as `other`, and its gain.
    """
    if len(data.decoded) < 2:
        return None
    best, rule = best_experiment(data), data.rule.sets
    names = [best, *(e.name for e in data.experiments if e.name in data.decoded and e.name != best)]
    preds = [data.decoded[name].pred for name in names]
    gains = label_gains(data.y, preds[0], preds[1:], rule.beta, data.group, 0, rule.zero_division, data.known)
    f = [f1_per_label(data.y, pred, rule.beta, rule.zero_division, data.known) for pred in preds]
    rows = []
    for j, label in enumerate(data.names):
        own = [Gain(*one[j].tolist()) for one in gains]
        first = max(range(len(own)), key=lambda i: own[i].gain)
        of_each = [float(one[j]) for one in f]
        rows.append(
            {"name": label, "f": of_each, "gains": own, "other": names[first + 1], "other_f": of_each[first + 1],
             "gain": own[first]}
        )  # fmt: skip
    return {"best": best, "names": names, "rows": rows}

"""What each part of the fusion network is worth: the same network without it, on the same held-out rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem.config import Experiment, make_experiment, merged
from tandem.decode import DECODERS, CrossFit, Rule
from tandem.metrics import log_loss, mean_average_precision, paired_interval

NO_PHOTO = {"trunk": None, "frozen": []}
NO_CAPTION = {"caption": None, "tokens": None}
# what each row changes in the experiment; None takes a section away
CHANGES: dict[str, dict] = {
    "image_only": NO_CAPTION,
    "caption_only": NO_PHOTO,
    "concat": {"fusion": {"how": "concat"}},
    "film": {"fusion": {"how": "film"}},
    "attention": {"fusion": {"how": "attention"}},
    "no_gate": {"fusion": {"gate": False}},
    "no_modality_dropout": {"fusion": {"modality_dropout": 0.0}},
    "no_count": {"fusion": {"count": 0.0}},
    "no_embedding": {"fusion": {"embedding": 0.0}},
    "learned_weights": {"fusion": {"learned_weights": True}},
    "no_mirror": {"trunk": {"mirror": False}},
    "no_frozen": {"frozen": []},
    "no_tuning": {"train": {"backbone_lr": 0.0, "caption_lr": 0.0}},
    "one_head": {"fusion": {"heads": 1}},
}
PARTS = 5  # of the held-out rows of one fold, when that alone is compared


def variants(name: str, experiment: Experiment) -> dict[str, Experiment]:
    """Every network to train, by its name: `name`-what it does without, and `name`-pseudo.

    Left out is what changes nothing, or what the experiment has no part for.
    """
    values = experiment.model_dump(exclude_none=True)
    changes = CHANGES | {"pseudo": {"pseudo": {"teacher": name}}}
    found = {}
    for key, change in changes.items():
        if any(
            isinstance(part, dict) and section not in (*values, "pseudo") for section, part in change.items()
        ):
            continue
        try:
            made = make_experiment(merged(values, change), Path(f"{name}-{key}"))
        except ValueError:  # attention without tokens, or nothing left to look at
            continue
        if made != experiment:
            found[f"{name}-{key}"] = made
    return found


def parts(fold: np.ndarray) -> np.ndarray:
    """What decoders are cross-fitted over: the folds, or, of one fold's rows, PARTS of them in turn.

    A fold's rows are predicted by one model that saw none of them, so any split of them is honest.
    """
    return np.arange(len(fold)) % PARTS if len(np.unique(fold)) == 1 else fold


@dataclass(frozen=True)
class Row:
    """One line of the table.

    gain   over the whole, with its 95 % interval, paired row by row; all 0 for the whole itself
    cost   seconds a fold, MB a fold, ms an image; None where nothing of it is its own
    """

    name: str
    group: str
    score: float
    gain: tuple[float, float, float]
    map: float
    log_loss: float
    seconds: float | None = None
    mb: float | None = None
    ms: float | None = None


def compare(
    group: str,
    probas: dict[str, np.ndarray],
    whole: str,
    y: np.ndarray,
    fold: np.ndarray,
    rule: Rule,
    threads: int = 1,
) -> list[Row]:
    """A row for each of `probas` (n, c) but the whole, which comes first in its own group."""
    base = CrossFit(probas[whole], y, fold, rule, threads).cross_fitted("auto")
    rows = []
    for name, proba in probas.items():
        sets = base if name == whole else CrossFit(proba, y, fold, rule, threads).cross_fitted("auto")
        rows.append(_row(name, group, proba, sets, base, y, rule))
    return rows


def decoders(
    whole: str, proba: np.ndarray, y: np.ndarray, fold: np.ndarray, rule: Rule, threads: int = 1
) -> list[Row]:
    """A row for each decoder of the whole's probabilities, against the one that is chosen by itself."""
    fits = CrossFit(proba, y, fold, rule, threads).prepare()
    base = fits.cross_fitted("auto")
    return [_row(name, "decoder", proba, fits.cross_fitted(name), base, y, rule) for name in DECODERS]


def _row(
    name: str, group: str, proba: np.ndarray, sets: np.ndarray, base: np.ndarray, y: np.ndarray, rule: Rule
) -> Row:
    gain = paired_interval(rule.metric, y, base, sets, rule.beta)
    return Row(
        name,
        group,
        rule.score(y, sets),
        (0.0, 0.0, 0.0) if sets is base else gain,
        mean_average_precision(y, proba),
        log_loss(y, proba),
    )


def markdown(title: str, rows: Sequence[Row], whole: str) -> str:
    """A heading and one table a group of rows."""
    lines = [f"## {title}", ""]
    head = "| | F | against the whole | 95 % interval | mAP | log loss | s a fold | MB a fold | ms an image |"
    for group in dict.fromkeys(row.group for row in rows):
        lines += [f"**{group}**", "", head, "|---|---|---|---|---|---|---|---|---|"]
        for row in (row for row in rows if row.group == group):
            gain, low, high = row.gain
            against = ("", "") if row.name == whole else (f"{gain:+.4f}", f"{low:+.4f} to {high:+.4f}")
            cost = (_number(row.seconds, 0), _number(row.mb, 1), _number(row.ms, 1))
            numbers = (f"{row.score:.4f}", *against, f"{row.map:.4f}", f"{row.log_loss:.4f}", *cost)
            lines.append(f"| {row.name.removeprefix(whole + '-')} | {' | '.join(numbers)} |")
        lines.append("")
    return "\n".join(lines)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"

"""What each part of the fusion network is worth: the same network without it, on the same held-out rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem.config.experiments import Experiment, make_experiment
from tandem.config.toml_files import merged
from tandem.decoding import DECODERS, CrossFit, Rule
from tandem.metrics import log_loss, mean_average_precision, paired_interval

NO_PHOTO = {"trunk": None, "frozen": []}
NO_CAPTION = {"caption": None, "tokens": None}
# what each row changes in the experiment; None takes a section away;
# the quick ones and those that tell most come first, for the table is there after each
CHANGES: dict[str, dict] = {
    "caption_only": NO_PHOTO,
    "no_tuning": {"train": {"backbone_lr": 0.0, "caption_lr": 0.0}},
    "image_only": NO_CAPTION,
    "no_frozen": {"frozen": []},
    "concat": {"fusion": {"how": "concat"}},
    "film": {"fusion": {"how": "film"}},
    "attention": {"fusion": {"how": "attention"}},
    "no_gate": {"fusion": {"gate": False}},
    "no_modality_dropout": {"fusion": {"modality_dropout": 0.0}},
    "no_count": {"fusion": {"count": 0.0}},
    "no_embedding": {"fusion": {"embedding": 0.0}},
    "no_mirror": {"trunk": {"mirror": False}},
    "learned_weights": {"fusion": {"learned_weights": True}},
    "one_head": {"fusion": {"heads": 1}},
}
# what only a network that sees and reads has
OF_A_JOIN = ("concat", "film", "attention", "no_gate", "no_modality_dropout", "no_embedding")
PARTS = 5  # of the held-out rows of one fold, when that alone is compared


def variants(name: str, experiment: Experiment) -> dict[str, Experiment]:
    """Every network to train, by its name: `name`-what it does without, and `name`-pseudo.

    Left out is what changes nothing, or what the experiment has no part for.
    """
    values = experiment.model_dump(exclude_none=True)
    changes = CHANGES | {"pseudo": {"pseudo": {"teacher": name}}}
    if not any(part.cached_map for part in experiment.pretrained):
        changes.pop("no_tuning")
    if len(experiment.reads) < 2:
        changes = {key: change for key, change in changes.items() if key not in OF_A_JOIN}
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
        if made != experiment and made not in found.values():
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
    name: str,
    proba: np.ndarray,
    base: np.ndarray,
    y: np.ndarray,
    fold: np.ndarray,
    rule: Rule,
    threads: int = 1,
) -> Row:
    """The row of probabilities (n, c), decoded as the whole was; `base` (n, c): the whole's cross-fitted label sets."""
    sets = CrossFit(proba, y, fold, rule, threads).cross_fitted("auto")
    return _row(group, name, proba, sets, base, y, rule)


def decoders(proba: np.ndarray, base: np.ndarray, fits: CrossFit) -> list[Row]:
    """A row for each decoder of the whole's probabilities, against the one that is chosen by itself."""
    return [
        _row("decoder", name, proba, fits.cross_fitted(name), base, fits.y, fits.rule) for name in DECODERS
    ]


def _row(
    group: str, name: str, proba: np.ndarray, sets: np.ndarray, base: np.ndarray, y: np.ndarray, rule: Rule
) -> Row:
    gain = paired_interval(rule.metric, y, base, sets, rule.beta)
    score, ap = rule.score(y, sets), mean_average_precision(y, proba)
    return Row(name, group, score, gain, ap, log_loss(y, proba))


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

"""Ablation of a fusion network: the same network without each of its parts, compared on the same held-out rows."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from tandem.config.experiments import Experiment, FusionExperiment, make_experiment
from tandem.config.toml_files import merged
from tandem.decoding import DECODERS, NestedCV, Rule
from tandem.metrics import log_loss, mean_average_precision
from tandem.report.seed_noise import gain_over_seeds

# changes of the experiment by row of the table, None removes a section; quick and informative ones first, because the
# table is written after each
CHANGES: dict[str, dict[str, Any]] = {
    "caption_only": {"trunk": None, "frozen": []},
    "no_tuning": {"train": {"backbone_lr": 0.0, "caption_lr": 0.0}},
    "image_only": {"caption": None, "tokens": None},
    "no_frozen": {"frozen": []},
    "no_label_pooling": {"fusion": {"label_pooling": False}},
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
# changes that need a network with image and caption
BOTH_MODALITIES = ("concat", "film", "attention", "no_gate", "no_modality_dropout", "no_embedding")
MANY_ROWS = 10**9  # labelled rows with which every setting has an effect
PARTS = 5  # of the held-out rows, where these are of one fold

COLOURS = {"parts": "tab:blue", "experiments": "tab:grey", "decoder": "tab:orange"}


def variants(name: str, experiment: FusionExperiment, rows: int = MANY_ROWS) -> dict[str, Experiment]:
    """Every other network to train on so many labelled rows: `name`-CHANGE for each of CHANGES that gives another
    network, and `name`-pseudo."""
    values = experiment.model_dump(exclude_none=True)
    changes = CHANGES | {"pseudo": {"pseudo": {"teacher": name}}}
    if not any(part.cached_map for part in experiment.pretrained):
        changes.pop("no_tuning", None)
    if experiment.trunk is None:
        changes.pop("no_label_pooling", None)
    if len(experiment.reads) < 2:
        changes = {key: change for key, change in changes.items() if key not in BOTH_MODALITIES}
    found: dict[str, Experiment] = {}
    seen: list[Experiment] = [experiment.as_trained(rows)]
    for key, change in changes.items():
        sections = {section for section, part in change.items() if isinstance(part, dict)}
        if sections <= {*values, "pseudo"}:
            with suppress(ValueError):  # attention without tokens, or no input is left
                variant = make_experiment(merged(values, change), Path(f"{name}-{key}"))
                if variant.as_trained(rows) not in seen:
                    found[f"{name}-{key}"] = variant
                    seen.append(variant.as_trained(rows))
    return found


def with_seeds(
    name: str, experiment: FusionExperiment, seeds: int, rows: int = MANY_ROWS
) -> tuple[list[list[str]], dict[str, Experiment]]:
    """(for the full network, then for each variant, its names with each seed; all these networks by name)."""
    networks, of_seed = dict[str, Experiment](), []
    for s in range(seeds):
        own, full = f"{name}-seed{s}" if s else name, experiment.model_copy(update={"seed": experiment.seed + s})
        found = {own: full, **variants(own, full, rows)}
        networks |= found
        of_seed.append(list(found))
    return [list(names) for names in zip(*of_seed, strict=True)], networks


def split_for_decoders(fold: np.ndarray, group: np.ndarray | None = None) -> np.ndarray:
    """(n,) the rows' folds; of a single one PARTS parts, rows of one `group` (n,) in the same: one model predicted all
    its rows, so any split is valid."""
    if len(np.unique(fold)) > 1:
        return fold
    return (np.arange(len(fold)) if group is None else np.unique(group, return_inverse=True)[1]) % PARTS


@dataclass(frozen=True)
class Row:
    """One line of the table; costs are None where it needs no network of its own."""

    group: str
    name: str
    score: float
    gain: float  # over the full network, with its paired 95 % interval
    low: float
    high: float
    map: float
    log_loss: float
    seconds: float | None = None  # of training one fold
    mb: float | None = None  # of one fold model
    ms: float | None = None  # per image


@dataclass(frozen=True)
class Comparison:
    """Held-out rows and the label sets of the full network (or its probabilities, where the metric scores these), which
    every row of the table is compared with."""

    y: np.ndarray  # (n, c)
    fold: np.ndarray  # (n,)
    rule: Rule
    full: np.ndarray  # (n, c), cross-fitted
    threads: int = 1
    group: np.ndarray | None = None  # (n,), see NestedCV
    more: Sequence[np.ndarray] = ()  # (n, c) of the full network with each further seed
    known: np.ndarray | None = None  # (n, c) which labels are known; None: all are

    def row(self, group: str, name: str, *probas: np.ndarray, pred: np.ndarray | None = None) -> Row:
        """Means over seeds of the scores of probabilities (n, c), one array a seed, and of the gains over the full
        network of the same seed; label sets `pred` of one seed are by default decoded as the full network's were."""
        y, rule = self.y, self.rule
        preds = [self.decoders(proba).cross_val_values() for proba in probas] if pred is None else [pred]
        full, preds = (list(map(self._counted, sets)) for sets in ([self.full, *self.more][: len(preds)], preds))
        gains = gain_over_seeds(rule, y, full, preds, self.group)
        score = np.mean([rule.score(y, values, self.known) for values in preds])
        average_precision = np.mean([mean_average_precision(y, proba, known=self.known) for proba in probas])
        loss = np.mean([log_loss(y, proba, known=self.known) for proba in probas])
        return Row(group, name, float(score), *gains, float(average_precision), float(loss))

    def _counted(self, values: np.ndarray) -> np.ndarray:
        """Without the labels that are unknown, which are neither right nor wrong."""
        return values if self.known is None else np.where(self.known, values, 0)

    def decoders(self, proba: np.ndarray) -> NestedCV:
        """All decoders of the probabilities (n, c), cross-fitted on these rows."""
        return NestedCV(proba, self.y, self.fold, self.rule, self.threads, self.group)

    def decoder_rows(self, cv: NestedCV) -> list[Row]:
        """One for each decoder of the full network's probabilities; `full` is that of the decoder "auto". None where
        the metric scores probabilities."""
        if self.rule.judge.needs == "probabilities":
            return []
        return [self.row("decoder", name, cv.proba, pred=cv.cross_val_predict(name)) for name in DECODERS]


def about_intervals(seeds: int) -> str:
    """What the intervals of a table contain, and what they leave out."""
    if seeds == 1:
        text = "Each network was trained with one seed: the intervals leave out how much another seed would change."
    else:
        text = (
            f"Parts: means of {seeds} seeds, whose variance is in the intervals. Experiments and decoders: one seed, "
            "without its variance."
        )
    return f"{text} The largest of many differences is partly chance."


def markdown(title: str, rows: Sequence[Row], full: str, seeds: int = 1) -> str:
    """A heading and one table for each group of rows; `full` is the name of the full network."""
    lines = [f"## {title}", "", about_intervals(seeds), ""]
    head = "| | score | difference | 95 % interval | mAP | log loss | s per fold | MB per fold | ms per image |"
    for group in dict.fromkeys(row.group for row in rows):
        lines += [f"**{group}**", "", head, f"|{9 * '---|'}"]
        for row in (row for row in rows if row.group == group):
            gains = ("", "") if row.name == full else (f"{row.gain:+.4f}", f"{row.low:+.4f} to {row.high:+.4f}")
            cost = (_number(row.seconds, 0), _number(row.mb, 1), _number(row.ms, 1))
            numbers = (_number(row.score, 4), *gains, _number(row.map, 4), _number(row.log_loss, 4), *cost)
            lines.append(f"| {row.name.removeprefix(full + '-')} | {' | '.join(numbers)} |")
        lines.append("")
    return "\n".join(lines)


def csv_table(rows: Sequence[Row]) -> str:
    """The fields of every row."""
    lines = [[column.name for column in fields(Row)]]
    for row in rows:
        group, name, *numbers = astuple(row)
        lines.append([group, name, *map(_number, numbers, [6] * 6 + [4] * 3)])
    return "".join(",".join(line) + "\n" for line in lines)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def draw(file: Path, title: str, rows: Sequence[Row], full: str) -> None:
    """A PNG of each row's gain over the full network with its interval."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = sorted((row for row in rows if row.name != full), key=lambda row: row.gain)
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.26 * len(shown)), layout="constrained")
    for i, row in enumerate(shown):
        axes.plot([row.low, row.high], [i, i], color=COLOURS[row.group], lw=2)
        axes.plot(row.gain, i, "o", color=COLOURS[row.group], ms=5)
    axes.axvline(0, color="black", lw=0.8)
    axes.set_yticks(range(len(shown)), [row.name.removeprefix(full + "-") for row in shown])
    axes.set_xlabel(f"score minus that of {full}, paired 95 % interval")
    axes.set_title(title, fontsize=9)
    for group, colour in COLOURS.items():
        axes.plot([], [], color=colour, lw=2, label=group)
    axes.legend(loc="lower right", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    plt.close(figure)

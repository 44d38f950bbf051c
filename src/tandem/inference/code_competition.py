"""The submission of a code competition, written at Kaggle by the notebook of `make kernel`: a row for every id."""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tandem.artifacts.atomic_io import read_json, write_csv
from tandem.config.competition import load_competition
from tandem.config.metric_names import merit
from tandem.data.kaggle_folders import ABOUT, find_competition
from tandem.data.split_tables import has_caption
from tandem.data.submission import expected_rows, validate_submission
from tandem.graph.experiment_dir import Experiments
from tandem.inference.fold_models import NewRows
from tandem.inference.kaggle_rows import KaggleRows, read_test_rows
from tandem.inference.labeler import Labeler
from tandem.inference.predictor import open_predictor
from tandem.runtime.torch_setup import use_threads

BUNDLE = "bundle"  # the folder of the bundle in it
SHOWN = 20  # rows without a label of their own
RATES = "the most common labels"  # what such a row gets, where it has no caption that a model reads alone


@dataclass
class Labels:
    """Label sets and probabilities of the rows that have some, by id."""

    pred: dict[str, np.ndarray] = field(default_factory=dict)  # (c,) uint8
    proba: dict[str, np.ndarray] = field(default_factory=dict)  # (c,)
    captioned: dict[str, bool] = field(default_factory=dict)  # whether the caption was used
    instead: dict[str, tuple[str, str]] = field(default_factory=dict)  # (why, what) where it is not the usual label

    def add(self, id: str, pred: np.ndarray, proba: np.ndarray, captioned: bool) -> None:
        self.pred[id], self.proba[id], self.captioned[id] = pred.astype(np.uint8), proba, captioned


def submit(dataset: Path, root: Path, out: Path, say: Callable[[str], object] = print) -> None:
    """Labels the test rows of the competition below `root` by the dataset's bundle, and writes the submission `out`:
    a row for every id of the sample submission, whatever its image."""
    use_threads()
    about = read_json(dataset / ABOUT)
    labeler = Labeler.load(dataset / BUNDLE, trust=about["trust"])
    competition = load_competition(labeler.paths.competition)
    folder = find_competition(root, competition)
    expected, rows = expected_rows(competition, folder), read_test_rows(competition, folder)
    say(f"{folder}: {len(rows.ids):,} test rows, {len(expected.ids):,} rows to submit")
    started = time.perf_counter()
    labels = label_rows(labeler, rows)
    seconds = time.perf_counter() - started
    fill(labels, labeler, rows, expected.ids, np.array([about["rates"][name] for name in labeler.names]))
    pred, proba = (np.array([found[id] for id in expected.ids]) for found in (labels.pred, labels.proba))
    captioned = np.array([labels.captioned[id] for id in expected.ids], bool)
    proba = Experiments(labeler.paths)[about["experiment"]].submitted_proba(proba, captioned)
    draft = out.with_suffix(".unchecked.csv")
    write_csv(draft, expected.form.rows(expected.ids, pred, proba, expected.pairs), expected.form.delimiter)
    validate_submission(draft, competition, expected)
    os.replace(draft, out)
    per_thousand = 1000 * seconds / max(1, len(rows.ids))
    say(f"{out}: {len(expected.ids):,} rows, valid against {expected.source}; {per_thousand:.1f} s per 1,000 rows")
    for line in about_instead(labels.instead):
        say(line)


def label_rows(labeler: Labeler, rows: KaggleRows) -> Labels:
    """The labels that `make predict` gives; `instead` names the rows that it gives none."""
    found, usable = Labels(), list(range(len(rows.ids)))
    if labeler.no_caption is None and not labeler.text_only:
        usable = [i for i in usable if has_caption(rows.captions[i])]
        none = {
            rows.ids[i]: ("no caption, and every model needs one", "") for i in set(usable) ^ {*range(len(rows.ids))}
        }
        found.instead.update(none)
    inputs = [rows.ids[i] if labeler.text_only else rows.images[i] for i in usable]
    column = {name: j for j, name in enumerate(labeler.names)}
    for i, result in zip(usable, labeler.label(inputs, [rows.captions[i] for i in usable]), strict=True):
        if result.proba is None:
            found.instead[rows.ids[i]] = (result.problem, "")
            continue
        pred = np.zeros(len(column), np.uint8)
        pred[[column[name] for name in result.labels]] = 1
        proba = np.array([result.proba[name] for name in labeler.names])
        found.add(rows.ids[i], pred, proba, not result.without_caption)
    return found


def fill(found: Labels, labeler: Labeler, rows: KaggleRows, ids: list[str], rates: np.ndarray) -> None:
    """Labels for the ids that have none: by the best model that reads the caption alone, else the labels that the
    training rows' `rates` (c,) give."""
    row = {id: i for i, id in enumerate(rows.ids)}
    left = [id for id in ids if id not in found.pred]
    for id in left:
        found.instead.setdefault(id, ("not in the test table", ""))
    captions = {id: rows.captions[row[id]] for id in left if id in row and has_caption(rows.captions[row[id]])}
    name = caption_model(labeler) if captions else ""
    if name:
        predictor = open_predictor(Experiments(labeler.paths)[name], 0, "")
        proba = predictor.proba(NewRows(labeler.encoders, {}, list(captions.values())))
        for id, own, chosen in zip(captions, proba, predictor.decoder(proba), strict=True):
            found.add(id, chosen, own, True)
            found.instead[id] = (found.instead[id][0], f"the caption alone, by {name}")
    usual = labeler.predictor.decoder(rates[None])[0]
    for id in left:
        if id not in found.pred:
            found.add(id, usual, rates, True)
            found.instead[id] = (found.instead[id][0], RATES)


def caption_model(labeler: Labeler) -> str:
    """The best experiment of the bundle that reads no image; "" where there is none."""
    names = {member.name for member in labeler.predictor.members if member.experiment.reads == {"caption"}}
    scored = {name: merit(Experiments(labeler.paths)[name].scores) for name in names}
    return max(scored, key=scored.__getitem__, default="")


def about_instead(instead: Mapping[str, tuple[str, str]]) -> list[str]:
    """Lines about the rows without a label of their own.

    >>> about_instead({"7": ("missing", RATES)})
    ['1 row without its own image or caption: 1 by the most common labels', "  '7': missing; by the most common labels"]
    """
    if not instead:
        return []
    counts = ", ".join(f"{n:,} by {what}" for what, n in Counter(what for _, what in instead.values()).items())
    rows = "row" if len(instead) == 1 else "rows"
    lines = [f"{len(instead):,} {rows} without its own image or caption: {counts}"]
    lines += [f"  {id!r}: {why}; by {what}" for id, (why, what) in list(instead.items())[:SHOWN]]
    return lines + ([f"  ... and {len(instead) - SHOWN:,} more"] if len(instead) > SHOWN else [])

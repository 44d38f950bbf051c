"""The labelled training rows with their folds."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tandem.artifacts.atomic_io import digest
from tandem.artifacts.paths import Paths
from tandem.data.folds import ADVICE, fold_map_digest, read_fold_map
from tandem.data.split_tables import read_labels


@dataclass(frozen=True)
class LabelledRows:
    """The training rows."""

    ids: list[str]
    names: tuple[str, ...]  # of the labels
    y: np.ndarray  # (n, c) u1: 0 or 1
    fold: np.ndarray  # (n,) int: the fold that holds a row out
    group: np.ndarray  # (n,) int: rows of one group are near-duplicates
    known: np.ndarray | None = None  # (n, c) bool: cells that count; None: all

    @cached_property
    def fold_digest(self) -> str:
        return fold_map_digest(self.ids, self.fold.tolist())

    @cached_property
    def label_digest(self) -> str:
        return digest([self.names, self.y.tolist()])


def read_labelled_rows(paths: Paths) -> LabelledRows:
    """Raises ValueError where the folds are not those of the checked rows."""
    ids, names, y = read_labels(paths.labels)
    rows = {id: (fold, group) for id, fold, group in zip(*read_fold_map(paths.folds), strict=True)}
    missing = [id for id in ids if id not in rows]
    if missing or len(rows) != len(ids):
        without = f"{len(missing)} without a fold{', first: ' + missing[0] if missing else ''}; {ADVICE}"
        raise ValueError(f"{paths.folds}: {len(rows)} rows, {len(ids)} training rows, {without}")
    fold, group = np.array([rows[id] for id in ids]).T
    return LabelledRows(ids, names, y, fold, group)

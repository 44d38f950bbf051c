"""The labelled training rows with their folds."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tandem.artifacts.atomic_io import digest
from tandem.artifacts.paths import Paths
from tandem.data.folds import fold_map_digest
from tandem.data.split_tables import read_labels


def read_folds(paths: Paths, ids: list[str]) -> np.ndarray:
    """(n,) fold of each id; raises ValueError where one has none."""
    with paths.folds.open(encoding="utf-8", newline="") as file:
        fold = {row["id"]: int(row["fold"]) for row in csv.DictReader(file)}
    missing = [name for name in ids if name not in fold]
    if missing or len(fold) != len(ids):
        raise ValueError(
            f"{paths.folds}: {len(fold)} rows, {len(ids)} training rows, {len(missing)} without a fold"
            f"{', first: ' + missing[0] if missing else ''}; run make folds"
        )
    return np.array([fold[name] for name in ids])


@dataclass(frozen=True)
class Labelled:
    """The training rows: ids (n,), label names (c,), y (n, c) uint8, fold (n,)."""

    ids: list[str]
    names: tuple[str, ...]
    y: np.ndarray
    fold: np.ndarray

    @cached_property
    def fold_digest(self) -> str:
        return fold_map_digest(self.ids, self.fold.tolist())

    @cached_property
    def label_digest(self) -> str:
        return digest([self.names, self.y.tolist()])


def read_labelled(paths: Paths) -> Labelled:
    ids, names, y = read_labels(paths.labels)
    return Labelled(ids, names, y, read_folds(paths, ids))


def read_groups(paths: Paths, ids: Sequence[str]) -> np.ndarray:
    """(n,) group of near-duplicates of each id."""
    with paths.folds.open(encoding="utf-8", newline="") as file:
        group = {row["id"]: int(row["group"]) for row in csv.DictReader(file)}
    return np.array([group[name] for name in ids])

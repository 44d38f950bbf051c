"""Cross-validation folds: each label equally often in all folds, near-duplicate images in the same fold."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tandem.artifacts.atomic_io import digest
from tandem.config.competition import Duplicates
from tandem.data.near_duplicates import group_near_duplicates, number_groups

ADVICE = "correct it, or delete it and run make folds"


def make_folds(
    y: np.ndarray,
    hashes: Sequence[bytes],
    shas: Sequence[str],
    n_folds: int,
    seed: int,
    duplicates: Duplicates = "group",
    texts: Sequence[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(fold, group), each (n,): `group` joins near-duplicates, by perceptual hashes and digests of the image files.

    Of text only, it joins rows of equal `texts`. With duplicates "off" each row is its own group.
    """
    group = np.arange(len(y))
    if duplicates == "group":
        group = group_near_duplicates(hashes, shas) if texts is None else group_equal_texts(texts)
    return assign_folds(y, group, n_folds, seed), group


def group_equal_texts(texts: Sequence[str]) -> np.ndarray:
    """(n,) group numbers in order of appearance: texts that differ in case and white space only; an empty one is alone.

    >>> group_equal_texts(["A cat", "a  cat", "a dog", "", ""]).tolist()
    [0, 0, 1, 2, 3]
    """
    plain = [" ".join(text.casefold().split()) for text in texts]
    return number_groups(np.unique([text or f"\n{i}" for i, text in enumerate(plain)], return_inverse=True)[1])


def assign_folds(y: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """(n,) fold of each row: y (n, c) 0/1, groups (n,); rows of one group share a fold.

    A group counts as one row that has every label of its rows. Labels are balanced over the folds, sizes are not.
    Source: Sechidis et al. 2011, "On the stratification of multi-label data".
    """
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold  # slow to import: it needs scikit-learn

    if len(y) != len(groups):
        raise ValueError(f"there are {len(y)} rows of labels but {len(groups)} groups")
    names, member = np.unique(groups, return_inverse=True)
    if n_folds > len(names):
        few = f"{n_folds} folds, but {len(groups)} rows make only {len(names)} groups (near-duplicates stay together)"
        raise ValueError(f"{few}; set n to at most {len(names)} under [folds] in competition.toml")
    any_label = np.zeros((len(names), y.shape[1]), np.uint8)
    np.maximum.at(any_label, member, y)
    splitter = MultilabelStratifiedKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    fold = np.full(len(names), -1)
    for k, (_, held_out) in enumerate(splitter.split(any_label, any_label)):
        fold[held_out] = k
    return fold[member]


def label_shares(y: np.ndarray, fold: np.ndarray, n_folds: int) -> np.ndarray:
    """(c, n_folds + 1) share of rows with each label in each fold; the last column is over all rows."""
    rows = [y[fold == k] for k in range(n_folds)] + [y]
    return np.column_stack([part.mean(axis=0) if len(part) else np.zeros(y.shape[1]) for part in rows])


def read_fold_map(file: Path) -> tuple[list[str], list[int], list[int]]:
    """(ids, fold, group) in the order of the file; raises ValueError where a column is missing or no number."""
    with file.open(encoding="utf-8", newline="") as opened:
        reader = csv.DictReader(opened)
        rows = list(reader)
    if not {"id", "fold", "group"} <= set(reader.fieldnames or ()):
        raise ValueError(f"{file}: columns are {reader.fieldnames}, expected id, fold, group; {ADVICE}")
    try:
        return [row["id"] for row in rows], [int(row["fold"]) for row in rows], [int(row["group"]) for row in rows]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: fold and group must be whole numbers ({error}); {ADVICE}") from error


def fold_map_digest(ids: Sequence[str], fold: Sequence[int]) -> str:
    """Names which row is in which fold: predictions of different fold maps are never mixed."""
    return digest([list(ids), list(fold)])

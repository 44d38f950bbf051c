"""Cross-validation folds: each label equally often in all folds, near-duplicate images in the same fold."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tandem.artifacts.atomic_io import digest
from tandem.artifacts.user_files import open_file
from tandem.config.competition import MOST_FOLDS, Duplicates
from tandem.data.label_codec import natural_key
from tandem.data.near_duplicates import group_near_duplicates, number_groups
from tandem.data.split_tables import OwnFolds
from tandem.data.table_text import MAX_BYTES

ADVICE = "correct it, or delete it and run make folds"
NUMBER = re.compile("[0-9]{1,9}")
NO_OWN_FOLDS = OwnFolds()


def make_folds(
    y: np.ndarray,
    hashes: Sequence[bytes],
    shas: Sequence[str],
    n_folds: int,
    seed: int,
    duplicates: Duplicates = "group",
    own: OwnFolds = NO_OWN_FOLDS,
    texts: Sequence[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(fold, group), each (n,): `group` joins near-duplicates, by perceptual hashes and digests of the image files, and
    rows of one group of the user; with duplicates "off" only these. The user's `own` folds are taken as they are.

    y is 0 where a label is unknown. Of text only, equal `texts` are near-duplicates.
    """
    group = np.arange(len(y))
    if duplicates == "group":
        group = group_near_duplicates(hashes, shas) if texts is None else group_equal_texts(texts)
    given = None if own.group is None else group_numbers(own.group)
    if given is not None:
        group = joined_groups(group, given)
    if own.fold is not None:
        return fold_numbers(own.fold), group
    if why := why_no_folds(group, n_folds, duplicates, given):
        raise ValueError(why)
    return assign_folds(y, group, n_folds, seed), group


def why_no_folds(
    groups: np.ndarray, n_folds: int, duplicates: Duplicates = "group", given: np.ndarray | None = None
) -> str:
    """Why rows of these groups (n,) cannot be split into `n_folds`, and the change that helps; "" where they can.

    given  (n,) the groups by the user's column alone; None where there is none
    """
    n, found = len(groups), len(np.unique(groups))
    if found >= n_folds:
        return ""
    apart = n if given is None else len(np.unique(given))  # groups without a search for near-duplicates
    together = " and ".join(["near-duplicates"] * (apart > found) + ["rows of your groups"] * (apart < n))
    why = f"{n_folds} folds, but {n} rows make only {found} group{'s' * (found != 1)}"
    why += f" ({together} stay together)" if together else ""
    changes = [f"set n to at most {found} under [folds] in competition.toml"] if found > 1 else []
    if duplicates == "group" and apart > found:
        fewer = f" and n to at most {apart} under [folds]" if n_folds > apart else ""
        changes.append(
            f'set duplicates = "off"{fewer} in competition.toml (then near-duplicates may be in different folds, and '
            "the scores are too high for images unlike these)"
        )
    if not changes:
        changes = ["remove group under [folds] in competition.toml" if apart < n else "add training rows"]
    return f"{why}; {', or '.join(changes)}"


def joined_groups(*partitions: np.ndarray) -> np.ndarray:
    """(n,) numbers, as they appear, of the smallest groups that keep the rows of each group of each partition together.

    >>> joined_groups(np.array([0, 0, 1, 2, 3]), np.array([0, 1, 1, 2, 3])).tolist()
    [0, 0, 0, 1, 2]
    """
    first, before = np.arange(len(partitions[0])), None  # (n,) the earliest row that a row stays together with
    while before is None or (first != before).any():
        before = first
        for part in partitions:
            member = np.unique(part, return_inverse=True)[1]
            earliest = np.full(len(first), len(first))
            np.minimum.at(earliest, member, first)
            first = earliest[member]
    return np.unique(first, return_inverse=True)[1]


def group_numbers(cells: Sequence[str]) -> np.ndarray:
    """(n,) a number for each value; an empty cell is a group of its own.

    >>> group_numbers(["p1", "", "p1", ""]).tolist()
    [0, 1, 0, 3]
    """
    first: dict[str, int] = {}
    return np.array([first.setdefault(cell, row) if cell else row for row, cell in enumerate(cells)], np.int64)


def fold_numbers(cells: Sequence[str]) -> np.ndarray:
    """(n,) the numbers of the user's folds as they are, 0 and above; names are numbered in their order.

    >>> fold_numbers(["3", "1", "1.0"]).tolist(), fold_numbers(["b", "a", "b"]).tolist()
    ([3, 1, 1], [1, 0, 1])
    """
    names = [fold_name(cell) for cell in cells]
    distinct = sorted(set(names), key=natural_key)
    whole = all(name.isdecimal() for name in distinct)
    number = {name: int(name) if whole else k for k, name in enumerate(distinct)}
    return np.array([number[name] for name in names], np.int64)


def fold_name(cell: str) -> str:
    """One text for one fold: "1", " 1" and "1.0", as other programs write a column with gaps, are the same."""
    return re.sub(r"^0*(\d+)(\.0+)?$", r"\1", cell.strip())


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
    if why := why_no_folds(groups, n_folds):
        raise ValueError(why)
    names, member = np.unique(groups, return_inverse=True)
    any_label = np.zeros((len(names), y.shape[1]), np.uint8)
    np.maximum.at(any_label, member, y)
    if y.shape[1] == 1:
        any_label = np.hstack([any_label, 1 - any_label])  # the splitter refuses a single label
    splitter = MultilabelStratifiedKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    fold = np.full(len(names), -1)
    for k, (_, held_out) in enumerate(splitter.split(any_label, any_label)):
        fold[held_out] = k
    return fold[member]


def label_shares(y: np.ndarray, fold: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """(c, folds + 1) share of the rows with each label, among those where it is known, in each fold in order of its
    number; the last column is over all rows. 0 where no row is."""
    known = np.ones(y.shape, bool) if known is None else known
    rows = [fold == k for k in np.unique(fold)] + [np.ones(len(y), bool)]
    return np.column_stack([(y[part] * known[part]).sum(0) / np.maximum(known[part].sum(0), 1) for part in rows])


def read_fold_map(file: Path) -> tuple[list[str], list[int], list[int]]:
    """(ids, fold, group) in the order of the file; raises ValueError, with the line where a row is wrong, and OSError
    where it is no regular file."""
    ids: dict[str, int] = {}
    fold: list[int] = []
    group: list[int] = []
    with open_file(file, MAX_BYTES) as opened:
        reader = csv.reader(io.TextIOWrapper(opened, "utf-8-sig", newline=""))
        try:
            names = next(reader, [])
            if not {"id", "fold", "group"} <= set(names):
                raise ValueError(f"columns are {', '.join(names)}, expected id, fold, group")
            places = [names.index(name) for name in ("id", "fold", "group")]
            for row in filter(None, reader):
                if len(row) <= max(places):
                    raise ValueError(f"expected {len(names)} cells, found {len(row)}")
                id, *numbers = (row[place] for place in places)
                if not all(NUMBER.fullmatch(number) for number in numbers):
                    raise ValueError(f"fold {numbers[0]!r} and group {numbers[1]!r}; expected whole numbers from 0")
                if ids.setdefault(id, reader.line_num) != reader.line_num:
                    raise ValueError(f"id {id!r} is in line {ids[id]:,} too")
                fold.append(int(numbers[0]))
                group.append(int(numbers[1]))
        except (ValueError, csv.Error) as error:  # of bytes that are not UTF-8 too
            raise ValueError(f"{file}: line {max(1, reader.line_num):,}: {error}; {ADVICE}") from error
    if not 2 <= len(set(fold)) <= MOST_FOLDS:
        raise ValueError(f"{file}: {len(set(fold))} folds, expected 2 to {MOST_FOLDS}; {ADVICE}")
    return list(ids), fold, group


def fold_map_digest(ids: Sequence[str], fold: Sequence[int]) -> str:
    """Names which row is in which fold: predictions of different fold maps are never mixed."""
    return digest([list(ids), list(fold)])

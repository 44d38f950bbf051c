"""The checks of the folds: those that the user gives, and whether Tandem can make its own."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tandem.config.competition import MOST_FOLDS, Competition
from tandem.data.checks import Split
from tandem.data.csv_reader import Table, read_table
from tandem.data.folds import fold_name, group_numbers, joined_groups, why_no_folds
from tandem.data.image_scan import ImageInfo
from tandem.data.issues import Issue
from tandem.data.near_duplicates import group_near_duplicates
from tandem.data.split_tables import OwnFolds


def check_own_folds(
    competition: Competition, folder: Path, train: Split, table: Table, issues: list[Issue]
) -> OwnFolds:
    """The user's folds and groups, valid where no error is added to `issues`.

    Raises FileNotFoundError where the file of the folds does not exist.
    """
    settings = competition.folds
    fold: Sequence[str] | None = None
    if settings.file:
        fold = _read_file(competition, folder / settings.file, train, issues)
    elif settings.column:
        fold = table.column(settings.column)
    group = None if settings.group is None else [cell.strip() for cell in table.column(settings.group)]
    if fold is not None:
        fold = [fold_name(cell) for cell in fold]
        issues += _check_given(fold, train)
    for row, cell in enumerate(group or ()):
        if not cell:
            issues.append(train.issue("row without a group", row, f"its cell in column {settings.group!r} is empty"))
    if fold is not None and group is not None:
        named = {number: f"{settings.group} {group[number]!r}" for number in group_numbers(group).tolist()}
        issues += _in_two_folds("group in two folds", group_numbers(group), named, fold, train)
    return OwnFolds(fold, group)


def _read_file(competition: Competition, file: Path, train: Split, issues: list[Issue]) -> list[str] | None:
    """(n,) the cells of the file of folds, "" for a row that it lacks; None where a column is missing."""
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist; add it, or correct file under [folds] in competition.toml")
    table, column = read_table(file), competition.folds.column or "fold"
    id = competition.id if competition.id in table.columns else "id"
    for name in (id, column):
        if name not in table.columns:
            message = f"no column {name!r}; the columns are {', '.join(table.columns)}"
            issues.append(Issue("missing column", message, str(file), 1))
    if not {id, column} <= set(table.columns):
        return None
    found: dict[str, str] = {}
    for line, name, cell in zip(table.lines, table.column(id), table.column(column), strict=True):
        if found.setdefault(name, cell) != cell:
            message = f"id {name!r} is in fold {cell!r} here and in fold {found[name]!r} before"
            issues.append(Issue("row in two folds", message, str(file), line, name))
    rows = set(train.ids)
    if unused := [name for name in found if name not in rows]:
        message = f"{len(unused):,} ids are not in {train.file}, first: {unused[0]!r}"
        issues.append(Issue("fold of no row", message, str(file)))
    return [found.get(name, "") for name in train.ids]


def _check_given(fold: Sequence[str], train: Split) -> Iterator[Issue]:
    names = sorted(set(fold) - {""})
    for row, cell in enumerate(fold):
        if not cell:
            yield train.issue("row without a fold", row, f"{train.ids[row]!r} has no fold")
    if not 2 <= len(names) <= MOST_FOLDS:
        what = f"{len(names)} folds{', first: ' + names[0] if names else ''}; expected 2 to {MOST_FOLDS}"
        yield Issue("unusable folds", what, train.file)


def _in_two_folds(
    kind: str, groups: np.ndarray, named: Mapping[int, str], fold: Sequence[str], train: Split
) -> Iterator[Issue]:
    """A warning for each group (n,) whose rows the user has put into several folds."""
    rows: dict[int, list[int]] = {}
    for row, number in enumerate(groups.tolist()):
        rows.setdefault(number, []).append(row)
    for number, members in rows.items():
        first = {fold[row]: row for row in reversed(members)}  # the first row in each fold
        if len(first) > 1:
            places = ", ".join(f"{train.place(row)} in fold {name}" for name, row in sorted(first.items()))
            yield train.issue(kind, members[0], f"{named.get(number, 'they look alike')}: {places}")


def check_folds(
    competition: Competition, train: Split, infos: Mapping[str, ImageInfo], groups: np.ndarray, own: OwnFolds
) -> Iterator[Issue]:
    """Whether the rows can be split, and near-duplicates in different folds of the user; `groups` (n,) are those of
    near-duplicates among train and test, each row its own where they are not looked for."""
    n = competition.folds.n
    if own.fold is not None:
        yield from _in_two_folds("near-duplicates in two folds", groups, {}, own.fold, train)
        return
    given = None if own.group is None else group_numbers(own.group)
    together = groups if given is None else joined_groups(groups, given)
    if competition.images and competition.duplicates == "group" and len(np.unique(together)) < 2 * n:
        images = [infos[file] for file in train.images]  # few: without the test images they may be others
        groups = group_near_duplicates([image.hash for image in images], [image.sha for image in images])
        together = groups if given is None else joined_groups(groups, given)
    if why := why_no_folds(together, n, competition.duplicates, given):
        yield Issue("too few groups", why, train.file)

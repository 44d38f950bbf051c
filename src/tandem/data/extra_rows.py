"""Further labelled rows, such as those of last year: trained on in every fold, never scored.

An extra row that is like a held-out row is not trained on in that fold, one that is like a test row in none.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tandem.artifacts.atomic_io import digest, write_if_changed
from tandem.artifacts.column_names import read_parquet
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition
from tandem.data import checks
from tandem.data.caption_rows import join_captions
from tandem.data.csv_reader import Table
from tandem.data.folds import group_equal_texts
from tandem.data.image_scan import ImageInfo
from tandem.data.issues import Issue
from tandem.data.near_duplicates import group_near_duplicates
from tandem.data.split_tables import read_labels, write_labels


@dataclass(frozen=True)
class ExtraRows:
    """The extra rows and those that they are like: near-duplicates, and rows of one id or one group of the user."""

    ids: Sequence[str]
    y: np.ndarray  # (n, c) u1
    known: np.ndarray | None  # (n, c) bool; None: all
    train: Sequence[Sequence[str]]  # (n,) ids of the training rows that each is like
    test: Sequence[Sequence[str]]  # (n,) of the test rows

    def unlike(self, held_out: Collection[str]) -> np.ndarray:
        """(k,) numbers of the rows that are like none of these training rows, and like no test row."""
        there = zip(self.train, self.test, strict=True)
        return np.flatnonzero([not (test or any(id in held_out for id in train)) for train, test in there])


def check_extra(
    competition: Competition,
    splits: Mapping[str, checks.Split],
    tables: Mapping[str, Table],
    cells: Mapping[str, Sequence[str]],
    captions: Mapping[str, Sequence[Sequence[str]]],
    infos: Mapping[str, ImageInfo],
    issues: list[Issue],
) -> ExtraRows:
    """The extra rows, valid where no error is added to `issues`; `cells` are their labels."""
    extra, found = splits["extra"], list[Issue]()
    y, known = checks.check_labels(extra, cells, competition, found, counts=False)
    train, test = list[list[str]](), list[list[str]]()
    number = _groups(competition, splits, captions, infos)
    members = {name: _by_number(number[name], splits[name].ids) for name in ("train", "test") if name in number}
    same_group = _user_groups(competition, tables, splits["train"].ids)
    in_train = set(splits["train"].ids)
    for row, (id, n) in enumerate(zip(extra.ids, number["extra"], strict=True)):
        like = dict.fromkeys(members["train"].get(n, []))
        like |= dict.fromkeys([id] if id in in_train else []) | dict.fromkeys(same_group[row])
        train.append(list(like))
        test.append(list(members.get("test", {}).get(n, [])))
        if test[row]:
            said = f"{id} is like test row {test[row][0]}"
            found.append(extra.issue("extra row like a test row", row, said))
        elif like:
            found.append(extra.issue("extra row like a training row", row, f"{id} is like {', '.join(train[row][:3])}"))
    there = ", ".join(
        f"{n:,} with {name!r}" for name, n in zip(competition.labels.names, y.sum(0).tolist(), strict=True)
    )
    issues += [Issue("extra rows", f"{len(y):,} rows: {there}", extra.file), *found]
    return ExtraRows(list(extra.ids), y, known, train, test)


def _groups(
    competition: Competition,
    splits: Mapping[str, checks.Split],
    captions: Mapping[str, Sequence[Sequence[str]]],
    infos: Mapping[str, ImageInfo],
) -> dict[str, list[int]]:
    """{split: (n,) numbers}: rows of train, test and extra with one number are near-duplicates or have one image; by
    their captions where there are no images, and by the file alone where near-duplicates are not looked for."""
    names = [name for name in ("train", "test", "extra") if name in splits]
    sizes = np.cumsum([len(splits[name].ids) for name in names])[:-1]
    files = [file for name in names for file in splits[name].images]
    if competition.images is None:
        alike = group_equal_texts([join_captions(texts) for name in names for texts in captions[name]])
    elif competition.duplicates == "off" or any(not file or infos[file].problem for file in files):
        alike = np.unique(files, return_inverse=True)[1]
    else:
        unique = {file: i for i, file in enumerate(dict.fromkeys(files))}
        found = group_near_duplicates([infos[file].hash for file in unique], [infos[file].sha for file in unique])
        alike = found[[unique[file] for file in files]]
    return dict(zip(names, (part.tolist() for part in np.split(alike, sizes)), strict=True))


def _by_number(numbers: Iterable[int], ids: Sequence[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for number, id in zip(numbers, ids, strict=True):
        found.setdefault(number, []).append(id)
    return found


def _user_groups(competition: Competition, tables: Mapping[str, Table], train: Sequence[str]) -> list[list[str]]:
    """(n,) for each extra row the training rows that have its cell in the user's column of groups, if both have one."""
    column, extra = competition.folds.group, tables["extra"]
    if column is None or column not in extra.columns:
        return [[] for _ in extra.rows]
    members: dict[str, list[str]] = {}
    for id, cell in zip(train, tables["train"].column(column), strict=True):
        members.setdefault(cell.strip(), []).append(id)
    return [members.get(cell.strip(), []) if cell.strip() else [] for cell in extra.column(column)]


def write_extra(paths: Paths, extra: ExtraRows | None, names: tuple[str, ...]) -> None:
    """Writes labels and links where they changed; removes them where there are no extra rows."""
    if extra is None:
        for file in (paths.extra_labels, paths.extra_links):
            file.unlink(missing_ok=True)
        return
    write_labels(paths.extra_labels, list(extra.ids), names, extra.y, extra.known)
    lists = pa.list_(pa.string())
    columns = {"id": pa.array(extra.ids, pa.string())}
    columns |= {"train": pa.array(extra.train, lists), "test": pa.array(extra.test, lists)}
    write_if_changed(paths.extra_links, lambda partial: pq.write_table(pa.table(columns), partial))


def links_digest(extra: ExtraRows) -> str:
    """As that of the written table."""
    links = {"id": extra.ids, "train": extra.train, "test": extra.test}
    return digest({name: list(values) for name, values in links.items()})


def read_extra(paths: Paths) -> ExtraRows:
    """Raises ValueError where the tables differ in their rows."""
    ids, _, y, known = read_labels(paths.extra_labels)
    links = read_parquet(paths.extra_links, ("id", "train", "test")).to_pydict()
    if links["id"] != ids:
        raise ValueError(f"{paths.extra_labels} and {paths.extra_links} differ in their rows; run make check")
    return ExtraRows(ids, y, known, links["train"], links["test"])

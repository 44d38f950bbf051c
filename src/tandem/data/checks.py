"""The checks of `make check` as pure functions: rows and properties of their images in, issues out."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tandem.config.competition import Competition
from tandem.data.caption_rows import differing_rows, join_caption_rows
from tandem.data.csv_reader import Table
from tandem.data.folds import group_equal_texts
from tandem.data.image_scan import ImageInfo, image_file
from tandem.data.issues import Issue
from tandem.data.label_codec import encode
from tandem.data.near_duplicates import group_near_duplicates, many_near_duplicates
from tandem.data.split_tables import has_caption
from tandem.data.submission import submission_columns

CaptionRows = tuple[Table, list[list[str]]]  # a table, and (n,) the captions of each row
LEAST_KNOWN = 10  # rows where a label is known, of which each fold needs some


@dataclass(frozen=True)
class Split:
    """The rows of one CSV file."""

    file: str  # for messages
    lines: Sequence[int]  # (n,) first line of each row, from 1
    ids: Sequence[str]
    images: Sequence[str]  # (n,) image files, relative to the competition's folder; "" where the id is unsafe

    def issue(self, kind: str, row: int, message: str) -> Issue:
        return Issue(kind, message, self.file, self.lines[row], self.ids[row])

    def place(self, row: int) -> str:
        return f"{self.ids[row]} (line {self.lines[row]})"


def check_table(file: str, table: Table, competition: Competition, labelled: bool) -> Iterator[Issue]:
    """Missing columns and an empty table: with these nothing else can be checked."""
    captions = () if competition.captions else competition.caption_columns
    own = [*competition.labels.table_columns, *competition.folds.columns] if labelled else []
    for name in (competition.id, *captions, *own):
        if name not in table.columns:
            message = f"no column {name!r}; the columns are {', '.join(table.columns)}"
            yield Issue("missing column", message, file, 1)
    if not table.rows:
        yield Issue("no rows", "the table is empty", file, 1)


def join_rows(file: str, table: Table, competition: Competition, labelled: bool, issues: list[Issue]) -> CaptionRows:
    """One row an image and its captions, where the table has several caption rows an image."""
    id, columns = competition.id, competition.caption_columns
    for name, lines in differing_rows(table, id, competition.labels.table_columns if labelled else ()).items():
        where = f"the rows of {name!r} on lines {', '.join(map(str, lines))} have other labels"
        issues.append(Issue("caption rows differ", where, file, lines[0], name))
    joined, captions = join_caption_rows(table, id, columns)
    rows = f"{len(table.rows):,} rows of {len(joined.rows):,} images"
    issues.append(Issue("caption rows", f"{rows}: the captions of an image are joined", file))
    return joined, captions


def make_split(file: str, table: Table, competition: Competition, issues: list[Issue]) -> Split:
    """The rows of one table; unsafe ids and rows repaired while reading are added to `issues`."""
    ids, images = table.column(competition.id), []
    for line, id in zip(table.lines, ids, strict=True):
        if competition.images is None:
            images.append("")
            continue
        try:
            images.append(image_file(competition.images, id, competition.suffix))
        except ValueError as error:
            images.append("")
            issues.append(Issue("unsafe id", str(error), file, line, id))
    for line, text in table.repaired.items():
        issues.append(Issue("repaired row", f"read as one row: {text.strip()[:200]!r}", file, line))
    return Split(file, table.lines, ids, images)


def check_ids(train: Split, test: Split | None = None, *others: Split) -> Iterator[Issue]:
    """Ids that occur twice in one file, or in both train and test."""
    for split in (train, *([test] if test else []), *others):
        first: dict[str, int] = {}
        for row, id in enumerate(split.ids):
            if first.setdefault(id, row) != row:
                yield split.issue("repeated id", row, f"id {id!r} is already on line {split.lines[first[id]]}")
    in_train = dict(zip(train.ids, train.lines, strict=True))
    for row, id in enumerate(test.ids if test else ()):
        if test and id in in_train:
            yield test.issue("id in train and test", row, f"id {id!r} is also at {train.file}:{in_train[id]}")


def check_sample(test: Split, sample: Table, file: str, competition: Competition) -> Iterator[Issue]:
    """A sample submission with other columns or other rows than expected."""
    try:
        submission_columns(competition, sample.columns)
    except ValueError as error:
        yield Issue("sample submission differs", str(error), file, 1)
        return
    ids = sample.column(competition.id)
    for ours, other in ((Split(file, sample.lines, ids, ids), test), (test, Split(file, sample.lines, ids, ids))):
        known = set(other.ids)
        for row, id in enumerate(ours.ids):
            if id not in known:
                yield ours.issue("sample submission differs", row, f"id {id!r} is not in {other.file}")


def check_images(split: Split, infos: Mapping[str, ImageInfo]) -> Iterator[Issue]:
    """Images that cannot be used; a problem starts with its kind, as in "truncated: ..."."""
    for row, file in enumerate(split.images):
        if file and infos[file].problem:
            kind, _, detail = infos[file].problem.partition(": ")
            yield split.issue(f"{kind} image", row, f"{file}: {detail}")


def check_captions(split: Split, captions: Sequence[Sequence[str]]) -> Iterator[Issue]:
    for row, texts in enumerate(captions):
        if not any(map(has_caption, texts)):
            yield split.issue("empty caption", row, f"the caption of {split.ids[row]!r} is empty")


def check_labels(
    train: Split, cells: Mapping[str, Sequence[str]], competition: Competition, issues: list[Issue]
) -> tuple[np.ndarray, np.ndarray | None]:
    """(y, known) as `label_codec.encode` gives them from `cells`, valid where no error is added to `issues`."""
    labels, least, most = competition.labels, competition.least, competition.most
    y, known, wrong = encode(labels, cells)
    found = [train.issue(one.kind, one.row, one.message) for one in wrong]
    unreadable = {one.row for one in wrong if one.kind != "repeated label"}
    unknown = np.zeros(len(y), int) if known is None else (~known).sum(axis=1)  # (n,) cells
    for row, (n, more) in enumerate(zip(y.sum(axis=1).tolist(), unknown.tolist(), strict=True)):
        if n > most:
            found.append(train.issue("too many labels", row, f"{n} label{'s' * (n != 1)}, at most {most}"))
        elif n + more < least and row not in unreadable:
            found.append(train.issue("too few labels", row, f"{n or 'no'} label{'s' * (n != 1)}, at least {least}"))
    found += _check_counts(train.file, y, known, competition)
    found += _check_names(train.file, labels.names)
    issues += found
    return y, known


def _check_counts(file: str, y: np.ndarray, known: np.ndarray | None, competition: Competition) -> Iterator[Issue]:
    """Labels with few rows, or that are known in few rows."""
    n_known = np.full(y.shape[1], len(y)) if known is None else known.sum(axis=0)
    for name, n, of in zip(competition.labels.names, y.sum(axis=0).tolist(), n_known.tolist(), strict=True):
        rows = f"{n or 'no'} row{'s have' if n > 1 else ' has'} label {name!r}"
        if of < min(LEAST_KNOWN, len(y)):  # never where all cells are known
            few = f"label {name!r} is known in {of} of {len(y):,} rows; expected at least {LEAST_KNOWN}"
            yield Issue("label hardly known", few, file)
        elif n == 0:
            yield Issue("label without rows", rows, file)
        elif n < competition.folds.n:
            yield Issue("rare label", f"{rows}, fewer than the {competition.folds.n} folds", file)


def _check_names(file: str, names: Sequence[str]) -> Iterator[Issue]:
    """Names that look the same but for case, white space or the composition of their characters."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    for group in alike.values():
        if len(group) > 1:
            yield Issue("similar labels", f"labels {', '.join(map(repr, group))} are counted apart", file)


def _first_rows(train: Split, test: Split | None, infos: Mapping[str, ImageInfo]) -> dict[str, tuple[Split, int]]:
    """The first row of each image file, those of train first: a repeated id is not a near-duplicate."""
    first: dict[str, tuple[Split, int]] = {}
    for split in (train, test) if test else (train,):
        for row, file in enumerate(split.images):
            if file and not infos[file].problem:
                first.setdefault(file, (split, row))
    return first


def near_duplicate_groups(train: Split, test: Split | None, infos: Mapping[str, ImageInfo]) -> dict[str, int]:
    """The number of the group that each image file is in."""
    files = list(_first_rows(train, test, infos))
    numbers = group_near_duplicates([infos[file].hash for file in files], [infos[file].sha for file in files])
    return dict(zip(files, numbers.tolist(), strict=True))


def check_duplicates(
    train: Split, test: Split | None, infos: Mapping[str, ImageInfo], numbers: Mapping[str, int], labels: Sequence[str]
) -> Iterator[Issue]:
    """Near-duplicate images within train and between train and test, by the `numbers` of their groups; `labels` (n,)
    are the label cells of train."""
    first = _first_rows(train, test, infos)
    shas = [infos[file].sha for file in first]
    yield from _group_issues(train, test, list(first.values()), [numbers[file] for file in first], shas, labels)


def check_equal_captions(
    train: Split, test: Split | None, texts: Mapping[str, Sequence[str]], labels: Sequence[str]
) -> Iterator[Issue]:
    """Equal captions within train and between train and test, of a competition without images."""
    splits = {"train": train, "test": test} if test else {"train": train}
    rows = [(split, row) for split in splits.values() for row in range(len(split.ids))]
    numbers = group_equal_texts([text for name in splits for text in texts[name]]).tolist()
    yield from _group_issues(train, test, rows, numbers, [""] * len(rows), labels)


def _group_issues(
    train: Split,
    test: Split | None,
    rows: Sequence[tuple[Split, int]],
    numbers: Sequence[int],
    contents: Sequence[str],
    labels: Sequence[str],
) -> Iterator[Issue]:
    """Issues of groups of rows, those of train first; `numbers` (n,) are their groups, `contents` equal in copies."""
    ids = [train.ids[row] for split, row in rows if split is train]
    if many := many_near_duplicates(ids, np.array(numbers[: len(ids)], int)):
        yield Issue("many near-duplicates", many, train.file)
    groups: dict[int, list[int]] = {}  # in order of their first rows
    for i, number in enumerate(numbers):
        groups.setdefault(number, []).append(i)
    for group in groups.values():
        if len(group) < 2:
            continue
        members = [rows[i] for i in group]
        what = "text" if not any(split.images[row] for split, row in members) else "file"
        how = f"the same {what}" if len({contents[i] for i in group}) == 1 else "look alike"
        in_train = [row for split, row in members if split is train]
        if len(in_train) > 1:
            places = ", ".join(map(train.place, in_train))
            yield train.issue("near-duplicates", in_train[0], f"{how}: {places}")
            if len({labels[row] for row in in_train}) > 1:
                cells = ", ".join(f"{train.place(row)} is {labels[row]!r}" for row in in_train)
                yield train.issue("near-duplicates differ", in_train[0], cells)
        for split, row in members:
            if test and split is test and in_train:
                original = f"{train.ids[in_train[0]]} of {train.file}:{train.lines[in_train[0]]}"
                yield test.issue("test photo in train", row, f"{how}: {test.ids[row]} and {original}")

"""The checks of `make check` as pure functions: rows and properties of their images in, issues out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tandem.config.competition import Competition, Labels
from tandem.data.csv_reader import Table
from tandem.data.image_scan import ImageInfo, image_file
from tandem.data.issues import Issue
from tandem.data.label_codec import LabelCodec, encode_flags
from tandem.data.near_duplicates import group_near_duplicates
from tandem.data.submission import submission_columns


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
    for name in (competition.id, competition.caption, *(competition.labels.columns if labelled else ())):
        if name and name not in table.columns:
            message = f"no column {name!r}; the columns are {', '.join(table.columns)}"
            yield Issue("missing column", message, file, 1)
    if not table.rows:
        yield Issue("no rows", "the table is empty", file, 1)


def make_split(file: str, table: Table, competition: Competition) -> tuple[Split, list[Issue]]:
    """The rows of one table, with the issues of unsafe ids and of rows repaired while reading."""
    ids, images, issues = table.column(competition.id), [], []
    for line, id in zip(table.lines, ids, strict=True):
        try:
            images.append(image_file(competition.images, id, competition.suffix))
        except ValueError as error:
            images.append("")
            issues.append(Issue("unsafe id", str(error), file, line, id))
    for repair in table.repaired:
        issues.append(Issue("repaired row", f"read as one row: {repair.text.strip()[:200]!r}", file, repair.line))
    return Split(file, table.lines, ids, images), issues


def check_ids(train: Split, test: Split, *others: Split) -> Iterator[Issue]:
    """Ids that occur twice in one file, or in both train and test."""
    for split in (train, test, *others):
        first: dict[str, int] = {}
        for row, id in enumerate(split.ids):
            if first.setdefault(id, row) != row:
                yield split.issue("repeated id", row, f"id {id!r} is already on line {split.lines[first[id]]}")
    in_train = dict(zip(train.ids, train.lines, strict=True))
    for row, id in enumerate(test.ids):
        if id in in_train:
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


def check_captions(split: Split, captions: Sequence[str]) -> Iterator[Issue]:
    for row, caption in enumerate(captions):
        if not caption.strip():
            yield split.issue("empty caption", row, f"the caption of {split.ids[row]!r} is empty")


def encode_separated(split: Split, cells: Sequence[str], labels: Labels) -> tuple[np.ndarray, list[Issue]]:
    """(y, issues) of one column of separated label names; unknown labels are left out of y."""
    codec = LabelCodec(labels.names, labels.separator)
    known, issues, clean = set(labels.names), [], []
    for row, cell in enumerate(cells):
        names = codec.split(cell)
        for name in dict.fromkeys(names):
            if name not in known:
                expected = f"one of the {len(known)} labels {labels.names[0]} ... {labels.names[-1]}"
                issues.append(split.issue("unknown label", row, f"label {name!r} is not {expected}"))
            elif names.count(name) > 1:
                times = f"{names.count(name)} times in {cell!r}"
                issues.append(split.issue("repeated label", row, f"label {name!r} occurs {times}"))
        clean.append(labels.separator.join(name for name in names if name in known))
    return codec.encode(clean), issues


def check_counts(split: Split, y: np.ndarray, least: int, most: int, unreadable: set[str]) -> Iterator[Issue]:
    """Rows with fewer or more labels than allowed; rows whose id is in `unreadable` may have fewer."""
    counts = y.sum(axis=1)
    for row in np.flatnonzero((counts < least) | (counts > most)).tolist():
        n = int(counts[row])
        labels = f"{n or 'no'} label{'s' * (n != 1)}"
        if n > most:
            yield split.issue("too many labels", row, f"{labels}, at most {most}")
        elif split.ids[row] not in unreadable:
            yield split.issue("too few labels", row, f"{labels}, at least {least}")


def check_names(file: str, names: Sequence[str], y: np.ndarray, n_folds: int) -> Iterator[Issue]:
    """Labels that no row has, or fewer rows than there are folds."""
    for name, count in zip(names, y.sum(axis=0).tolist(), strict=True):
        if count == 0:
            yield Issue("label without rows", f"no row has label {name!r}", file)
        elif count < n_folds:
            rows = f"{count} row{'s have' if count > 1 else ' has'}"
            yield Issue("rare label", f"{rows} label {name!r}, fewer than the {n_folds} folds", file)


def check_labels(train: Split, table: Table, competition: Competition) -> tuple[np.ndarray, list[Issue]]:
    """(y, issues): y (n, c) uint8, valid where no issue is an error."""
    labels = competition.labels
    if labels.format == "separated":
        y, issues = encode_separated(train, table.column(labels.column), labels)
    else:
        y, wrong = encode_flags({name: table.column(name) for name in labels.names})
        issues = [
            train.issue("not 0 or 1", row, f"column {name!r} holds {cell!r}, expected 0 or 1")
            for row, name, cell in sorted(wrong, key=lambda cell: cell[0])
        ]
    unreadable = {issue.id for issue in issues if issue.kind != "repeated label"}
    issues += check_counts(train, y, competition.least, competition.most, unreadable)
    issues += check_names(train.file, labels.names, y, competition.folds.n)
    return y, issues


def check_duplicates(
    train: Split, test: Split, infos: Mapping[str, ImageInfo], labels: Sequence[str]
) -> Iterator[Issue]:
    """Near-duplicate images within train and between train and test; `labels` (n,) are the label cells of train."""
    first: dict[str, tuple[Split, int]] = {}  # first row of each file: a repeated id is not a near-duplicate
    for split in (train, test):
        for row, file in enumerate(split.images):
            if file and not infos[file].problem:
                first.setdefault(file, (split, row))
    images = [infos[file] for file in first]
    numbers = group_near_duplicates([image.hash for image in images], [image.sha for image in images])
    groups: dict[int, list[str]] = {}  # in order of their first rows
    for number, file in zip(numbers.tolist(), first, strict=True):
        groups.setdefault(number, []).append(file)
    for files in groups.values():
        if len(files) < 2:
            continue
        members = [first[file] for file in files]
        how = "the same file" if len({infos[file].sha for file in files}) == 1 else "look alike"
        in_train = [row for split, row in members if split is train]
        if len(in_train) > 1:
            places = ", ".join(map(train.place, in_train))
            yield train.issue("near-duplicates", in_train[0], f"{how}: {places}")
            if len({labels[row] for row in in_train}) > 1:
                cells = ", ".join(f"{train.place(row)} is {labels[row]!r}" for row in in_train)
                yield train.issue("near-duplicates differ", in_train[0], cells)
        for split, row in members:
            if split is test and in_train:
                original = f"{train.ids[in_train[0]]} of {train.file}:{train.lines[in_train[0]]}"
                yield test.issue("test photo in train", row, f"{how}: {test.ids[row]} and {original}")

"""The checks of `make check` as pure functions: rows and properties of their images in, issues out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tandem.config.competition import Competition, Labels
from tandem.config.questions import Question
from tandem.data.csv_reader import Table
from tandem.data.image_scan import ImageInfo, image_file
from tandem.data.issues import Issue
from tandem.data.label_codec import LabelCodec, encode_flags, split_cell
from tandem.data.near_duplicates import group_near_duplicates, many_near_duplicates
from tandem.data.split_tables import has_caption
from tandem.data.submission_form import sample_kind


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


def make_split(file: str, table: Table, competition: Competition, issues: list[Issue]) -> Split:
    """The rows of one table; unsafe ids and rows repaired while reading are added to `issues`."""
    ids, images = table.column(competition.id), []
    for line, id in zip(table.lines, ids, strict=True):
        try:
            images.append(image_file(competition.images, id, competition.suffix))
        except ValueError as error:
            images.append("")
            issues.append(Issue("unsafe id", str(error), file, line, id))
    for line, text in table.repaired.items():
        issues.append(Issue("repaired row", f"read as one row: {text.strip()[:200]!r}", file, line))
    return Split(file, table.lines, ids, images)


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
        form = sample_kind(sample, competition)
        if isinstance(form, Question):
            yield Issue("question", f"{form.about}; or {form.key} is one of {', '.join(form.candidates)}", file, 1)
            return
        own = set(form.columns) != set(sample.columns)  # not written as the sample is
        ids = [id for id, _ in form.pairs(sample)] if form.layout == "long" and not own else sample.column(form.id)
    except ValueError as error:
        yield Issue("sample submission differs", str(error), file, 1)
        return
    line = dict(zip(reversed(ids), reversed(sample.lines), strict=True))  # the first of each id
    rows = Split(file, [line[id] for id in line], list(line), list(line))
    for ours, other in ((rows, test), (test, rows)):
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
        if not has_caption(caption):
            yield split.issue("empty caption", row, f"the caption of {split.ids[row]!r} is empty")


def _encode_separated(split: Split, cells: Sequence[str], labels: Labels, issues: list[Issue]) -> np.ndarray:
    """(n, c) of one column of separated label names, without unknown ones."""
    codec = LabelCodec(labels.names, labels.separator)
    known, clean = set(labels.names), []
    for row, cell in enumerate(cells):
        names = split_cell(cell, labels.separator)
        for name in dict.fromkeys(names):
            if name not in known:
                expected = f"one of the {len(known)} labels {labels.names[0]} ... {labels.names[-1]}"
                issues.append(split.issue("unknown label", row, f"label {name!r} is not {expected}"))
            elif names.count(name) > 1:
                times = f"{names.count(name)} times in {cell!r}"
                issues.append(split.issue("repeated label", row, f"label {name!r} occurs {times}"))
        clean.append(labels.separator.join(name for name in names if name in known))
    return codec.encode(clean)


def check_labels(train: Split, table: Table, competition: Competition, issues: list[Issue]) -> np.ndarray:
    """y (n, c) uint8, valid where no error is added to `issues`."""
    labels, least, most = competition.labels, competition.least, competition.most
    found: list[Issue] = []
    if labels.format == "separated":
        y = _encode_separated(train, table.column(labels.column), labels, found)
    else:
        y, wrong = encode_flags({name: table.column(name) for name in labels.names})
        for row, name, cell in sorted(wrong, key=lambda cell: cell[0]):
            found.append(train.issue("not 0 or 1", row, f"column {name!r} holds {cell!r}, expected 0 or 1"))
    unreadable = {issue.id for issue in found if issue.kind != "repeated label"}
    for row, n in enumerate(y.sum(axis=1).tolist()):
        if n > most:
            found.append(train.issue("too many labels", row, f"{n} label{'s' * (n != 1)}, at most {most}"))
        elif n < least and train.ids[row] not in unreadable:
            found.append(train.issue("too few labels", row, f"{n or 'no'} label{'s' * (n != 1)}, at least {least}"))
    for name, n in zip(labels.names, y.sum(axis=0).tolist(), strict=True):
        rows = f"{n or 'no'} row{'s have' if n > 1 else ' has'} label {name!r}"
        if n == 0:
            found.append(Issue("label without rows", rows, train.file))
        elif n < competition.folds.n:
            found.append(Issue("rare label", f"{rows}, fewer than the {competition.folds.n} folds", train.file))
    issues += found
    return y


def check_duplicates(train: Split, test: Split, infos: dict[str, ImageInfo], labels: Sequence[str]) -> Iterator[Issue]:
    """Near-duplicate images within train and between train and test; `labels` (n,) are the label cells of train."""
    first: dict[str, tuple[Split, int]] = {}  # first row of each file: a repeated id is not a near-duplicate
    for split in (train, test):
        for row, file in enumerate(split.images):
            if file and not infos[file].problem:
                first.setdefault(file, (split, row))
    images = [infos[file] for file in first]
    numbers = group_near_duplicates([image.hash for image in images], [image.sha for image in images])
    ids = [train.ids[row] for split, row in first.values() if split is train]  # the first ones: test follows train
    if many := many_near_duplicates(ids, numbers[: len(ids)]):
        yield Issue("many near-duplicates", many, train.file)
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

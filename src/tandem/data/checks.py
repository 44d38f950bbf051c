"""The checks of `make check` as pure functions: rows and properties of their images in, issues out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tandem.config.competition import Competition, Labels
from tandem.data.competition_tables import SplitTable
from tandem.data.csv_reader import Table
from tandem.data.image_names import Images
from tandem.data.image_scan import ImageInfo
from tandem.data.issues import Issue
from tandem.data.label_codec import LabelCodec, encode_flags, split_cell
from tandem.data.near_duplicates import group_near_duplicates, many_near_duplicates
from tandem.data.split_tables import has_caption
from tandem.data.submission import submission_columns

SAME = 5  # rows with the very same image from which on it is a placeholder, if their labels differ


@dataclass(frozen=True)
class Split:
    """The rows of one split."""

    file: str  # for messages
    lines: Sequence[int]  # (n,) first line of each row, from 1
    ids: Sequence[str]
    images: Sequence[str]  # (n,) image files, relative to the competition's folder; "" where there is none
    files: Sequence[str] = ()  # (n,) the file of each row, where there are several

    def issue(self, kind: str, row: int, message: str) -> Issue:
        return Issue(kind, message, self.files[row] if self.files else self.file, self.lines[row], self.ids[row])

    def place(self, row: int) -> str:
        return f"{self.ids[row]} (line {self.lines[row]})"


def check_table(file: str, table: Table, competition: Competition, labelled: bool) -> Iterator[Issue]:
    """Missing columns and an empty table: with these nothing else can be checked."""
    for name in (
        competition.id,
        competition.image,
        competition.caption,
        *(competition.labels.columns if labelled else ()),
    ):
        if name and name not in table.columns:
            message = f"no column {name!r}; the columns are {', '.join(table.columns)}"
            yield Issue("missing column", message, file, 1)
    if not table.rows:
        yield Issue("no rows", "the table is empty", file, 1)


def make_split(
    name: str, read: SplitTable, competition: Competition, files: Sequence[str], issues: list[Issue]
) -> Split:
    """The rows of one split, with their images among `files`; adds cells that name no or several files to `issues`."""
    table, ids = read.table, read.table.column(competition.id)
    images = Images.of(competition, name, files)
    several = read.files if len(set(read.files)) > 1 else ()
    split = Split(read.files[0], table.lines, ids, [""] * len(ids), several)
    if images.folders:
        cells = table.column(competition.image_column)
        split = replace(split, images=list(_image_files(split, images, cells, issues)))
    for line, text in table.repaired.items():
        issues.append(Issue("repaired row", f"read as one row: {text.strip()[:200]!r}", split.file, line))
    return split


def _image_files(split: Split, images: Images, cells: Sequence[str], issues: list[Issue]) -> Iterator[str]:
    for row, (cell, found) in enumerate(zip(cells, images.find(cells), strict=True)):
        file = found[0] if len(found) == 1 else ""
        if len(found) > 1:
            either = " or ".join(found[:3])
            issues.append(split.issue("ambiguous image", row, f"{cell!r} may be {either}"))
        elif not found:
            try:
                file = images.expected(cell)
            except ValueError as error:
                issues.append(split.issue("unsafe id", row, str(error)))
        yield file


def check_ids(splits: Mapping[str, Split]) -> Iterator[Issue]:
    """Ids that occur twice in one split, or in train and test with one image, or that look the same."""
    for split in splits.values():
        first: dict[str, int] = {}
        for row, id in enumerate(split.ids):
            if first.setdefault(id, row) != row:
                yield split.issue("repeated id", row, f"id {id!r} is already on line {split.lines[first[id]]}")
        alike: dict[str, str] = {}
        for id, row in first.items():
            if (other := alike.setdefault(id.strip().casefold(), id)) != id:
                yield split.issue("similar id", row, f"ids {other!r} and {id!r} are counted apart")
    if "test" not in splits:
        return
    train, test = splits["train"], splits["test"]
    in_train = {id: row for row, id in enumerate(train.ids)}
    for row, id in enumerate(test.ids):
        if id in in_train and test.images[row] == train.images[in_train[id]]:
            yield test.issue(
                "id in train and test", row, f"id {id!r} is also at {train.file}:{train.lines[in_train[id]]}"
            )


def check_sample(test: Split, sample: Table, file: str, competition: Competition) -> Iterator[Issue]:
    """A sample submission with other columns or other rows than expected."""
    try:
        submission_columns(competition, sample.columns)
    except ValueError as error:
        yield Issue("sample submission differs", str(error), file, 1)
        return
    ids = sample.column(competition.id)
    cells = zip(sample.lines, sample.rows, strict=True)
    for line, name in (
        (line, name) for line, row in cells for name, c in zip(sample.columns, row, strict=True) if not c
    ):
        yield Issue("empty cell", f"column {name!r} is empty", file, line)
        break
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


def check_placeholders(train: Split, infos: Mapping[str, ImageInfo], labels: Sequence[str]) -> dict[str, Issue]:
    """{digest: warning} of each image that SAME or more training rows with unlike labels share."""
    rows: dict[str, list[int]] = {}
    for row, file in enumerate(train.images):
        if file and not infos[file].problem:
            rows.setdefault(infos[file].sha, []).append(row)
    found = {}
    for sha, same in rows.items():
        if len(same) >= SAME and len({labels[row] for row in same}) > 1:
            places = ", ".join(map(train.place, same[:3]))
            message = (
                f"{len(same):,} rows have the very same image, {train.images[same[0]]}, and unlike labels: {places} ..."
            )
            found[sha] = train.issue("placeholder image", same[0], message)
    return found


def check_groups(train: Split, groups: int, competition: Competition) -> Iterator[Issue]:
    """Fewer groups than folds: `make folds` would refuse them."""
    n, rows = competition.folds.n, len(train.ids)
    if groups >= n:
        return
    options = [f"n = {groups} under [folds]"] if groups >= 2 else []
    options += ['duplicates = "off"'] if groups < rows and rows >= n else []
    advice = f"set {' or '.join(options)} in competition.toml" if options else f"add rows: {n} folds need {n}"
    what = (
        f"{rows:,} rows in {groups:,} group{'s' * (groups != 1)} of near-duplicates"
        if groups < rows
        else f"{rows} rows"
    )
    yield Issue("too few groups", f"{n} folds, but only {what}; {advice}", train.file)


def check_duplicates(
    splits: Mapping[str, Split], infos: Mapping[str, ImageInfo], labels: Sequence[str], competition: Competition
) -> Iterator[Issue]:
    """Near-duplicate images within train and between train and test; `labels` (n,) are the label cells of train."""
    train = splits["train"]
    first: dict[str, tuple[Split, int]] = {}  # first row of each file: a repeated id is not a near-duplicate
    for split in (splits[name] for name in ("train", "test") if name in splits):
        for row, file in enumerate(split.images):
            if file and not infos[file].problem:
                first.setdefault(file, (split, row))
    images = [infos[file] for file in first]
    numbers = group_near_duplicates([image.hash for image in images], [image.sha for image in images])
    placeholders = check_placeholders(train, infos, labels)
    yield from placeholders.values()
    kept = [i for i, image in enumerate(images) if image.sha not in placeholders]
    rows = [row for split, row in first.values() if split is train]  # the first ones: test follows train
    if all(file and not infos[file].problem for file in train.images):
        yield from check_groups(train, len(set(numbers[: len(rows)].tolist())), competition)
    own = [i for i in kept if i < len(rows)]
    if own and (many := many_near_duplicates([train.ids[rows[i]] for i in own], numbers[own])):
        yield Issue("many near-duplicates", many, train.file)
    groups: dict[int, list[str]] = {}  # in order of their first rows
    for i, file in enumerate(first):
        if i in set(kept):
            groups.setdefault(int(numbers[i]), []).append(file)
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
            if split is not train and in_train:
                original = f"{train.ids[in_train[0]]} of {train.file}:{train.lines[in_train[0]]}"
                yield split.issue("test photo in train", row, f"{how}: {split.ids[row]} and {original}")

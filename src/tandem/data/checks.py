"""The checks of `make check` as pure functions: rows and properties of their images in, issues out."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tandem.config.competition import Competition
from tandem.config.questions import Question
from tandem.data.caption_rows import differing_rows, join_caption_rows
from tandem.data.competition_tables import SplitTable
from tandem.data.csv_reader import Table
from tandem.data.folds import group_equal_texts
from tandem.data.image_names import Images
from tandem.data.image_scan import ImageInfo
from tandem.data.issues import Issue
from tandem.data.label_codec import encode
from tandem.data.near_duplicates import group_near_duplicates, many_near_duplicates
from tandem.data.split_tables import has_caption
from tandem.data.submission_form import sample_kind

CaptionRows = tuple[Table, list[list[str]]]  # a table, and (n,) the captions of each row
LEAST_KNOWN = 10  # rows where a label is known, of which each fold needs some
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
    captions = () if competition.captions else competition.caption_columns
    own = [*competition.labels.table_columns, *competition.folds.columns] if labelled else []
    for name in (competition.id, competition.image_column, *captions, *own):
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
        form = sample_kind(sample, competition)
        if isinstance(form, Question):
            yield Issue("question", f"{form.about}; or {form.key} is one of {', '.join(form.candidates)}", file, 1)
            return
        own = set(form.columns) != set(sample.columns)  # not written as the sample is
        ids = [id for id, _ in form.pairs(sample)] if form.layout == "long" and not own else sample.column(form.id)
    except ValueError as error:
        yield Issue("sample submission differs", str(error), file, 1)
        return
    cells = zip(sample.lines, sample.rows, strict=True)
    for empty, name in ((at, name) for at, row in cells for name, c in zip(sample.columns, row, strict=True) if not c):
        yield Issue("empty cell", f"column {name!r} is empty", file, empty)
        break
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


def check_captions(split: Split, captions: Sequence[Sequence[str]]) -> Iterator[Issue]:
    for row, texts in enumerate(captions):
        if not any(map(has_caption, texts)):
            yield split.issue("empty caption", row, f"the caption of {split.ids[row]!r} is empty")


def check_labels(
    train: Split, cells: Mapping[str, Sequence[str]], competition: Competition, issues: list[Issue], counts: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """(y, known) as `label_codec.encode` gives them from `cells`, valid where no error is added to `issues`.

    counts  whether the numbers of rows with each label are checked too
    """
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
    if counts:
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


def check_duplicates(
    train: Split, test: Split | None, infos: Mapping[str, ImageInfo], numbers: Mapping[str, int], labels: Sequence[str]
) -> Iterator[Issue]:
    """Near-duplicate images within train and between train and test, by the `numbers` of their groups; `labels` (n,)
    are the label cells of train."""
    placeholders = check_placeholders(train, infos, labels)
    yield from placeholders.values()
    first = {f: row for f, row in _first_rows(train, test, infos).items() if infos[f].sha not in placeholders}
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
                yield split.issue("test photo in train", row, f"{how}: {split.ids[row]} and {original}")

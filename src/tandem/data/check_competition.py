"""Check of a whole competition: its CSV files and images in, checked tables and issues out."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem.artifacts.atomic_io import digest
from tandem.artifacts.column_names import read_parquet
from tandem.artifacts.paths import CORRECTIONS, LABELLED, SPLITS, Paths
from tandem.artifacts.user_files import is_there
from tandem.config.competition import Competition, Folds
from tandem.data import checks
from tandem.data.caption_files import image_names, read_caption_file
from tandem.data.caption_rows import are_caption_rows, join_captions, row_captions
from tandem.data.competition_tables import SplitTable, read_one, read_splits
from tandem.data.corrections import GivenLabels, Limits, corrected, read_corrections
from tandem.data.csv_reader import Table
from tandem.data.extra_rows import ExtraRows, check_extra, links_digest, write_extra
from tandem.data.fold_checks import check_folds, check_own_folds
from tandem.data.folds import group_equal_texts
from tandem.data.image_names import list_files, may_be_image, passed_over
from tandem.data.image_scan import ImageInfo, scan_images
from tandem.data.issues import Issue, count_errors
from tandem.data.label_codec import LabelCodec
from tandem.data.long_labels import label_cells
from tandem.data.split_tables import (
    OwnFolds,
    read_caption_lists,
    read_captions,
    read_ids,
    read_image_rows,
    read_labels,
    read_own_folds,
    write_captions,
    write_images,
    write_labels,
    write_own_folds,
)


@dataclass(frozen=True)
class CheckedTables:
    """The rows of a competition and their issues; only `rows` and `issues` where a column or all rows are missing."""

    rows: dict[str, int]  # {split: number of rows of its CSV file}
    issues: list[Issue]  # in the order of the checks
    images: Mapping[str, dict[str, list]]  # {split: columns as split_tables.IMAGE_SCHEMA names them}
    captions: Mapping[str, list[list[str]]]  # {split: (n,) captions of each row}; empty where there are none
    names: tuple[str, ...]  # of the labels
    y: np.ndarray  # (n, c) uint8 of the training rows
    known: np.ndarray | None = None  # (n, c) bool: which cells of y are known; None where all are
    n_images: int = 0  # image files inspected
    n_opened: int = 0  # how many of them were opened, because they were not in the cache
    seconds: float = 0.0  # taken by the images
    own_folds: OwnFolds = OwnFolds()
    extra: ExtraRows | None = None
    given: GivenLabels | None = None  # the labels before corrections; None where none are applied

    @property
    def n_errors(self) -> int:
        return count_errors(self.issues)


def check_competition(competition: Competition, folder: Path, scan_cache: Path) -> CheckedTables:
    """Checks all rows and images below `folder`; writes nothing but the cache of the image scan.

    Raises FileNotFoundError where a CSV file that the competition names does not exist, ValueError where a correction
    does not fit the table.
    """
    read = read_splits(competition, folder)
    tables = {name: split.table for name, split in read.items()}
    rows = {name: len(table.rows) for name, table in tables.items()}
    names = tuple(competition.labels.names)
    issues: list[Issue] = []
    for name, table in tables.items():
        settings = competition if name == "train" else competition.model_copy(update={"folds": Folds()})
        issues += checks.check_table(read[name].files[0], table, settings, labelled=name in LABELLED)
    if issues:
        return CheckedTables(rows, issues, {}, {}, names, np.zeros((0, len(names)), np.uint8))

    read, cells, captions = _one_row_an_image(competition, read, issues)
    tables = {name: split.table for name, split in read.items()}
    rows = {name: len(table.rows) for name, table in tables.items()}
    files = list_files(folder, [f for name in read for f in competition.image_folders(name)])
    splits = {name: checks.make_split(name, split, competition, files, issues) for name, split in read.items()}
    train, test = splits["train"], splits.get("test")
    sample = folder / competition.sample_submission
    if test and is_there(sample):
        issues += checks.check_sample(test, read_one(sample, competition.encoding), str(sample), competition)
    if note := passed_over(filter(may_be_image, files)):
        issues.append(Issue("other file", note, str(folder)))
    issues += checks.check_ids(splits)
    own_folds = check_own_folds(competition, folder, train, tables["train"], issues)
    if own_folds.fold is not None:  # n follows them
        folds = competition.folds.model_copy(update={"n": len(set(own_folds.fold))})
        competition = competition.model_copy(update={"folds": folds})
    y, known = checks.check_labels(train, cells["train"], competition, issues)
    given = None
    if competition.corrections and not count_errors(issues):
        given, file = GivenLabels(train.ids, names, y, known), folder / CORRECTIONS
        others = [id for name, split in splits.items() if name != "train" for id in split.ids]
        limits = Limits(competition.least, competition.most)
        y, known = corrected(given, read_corrections(file), limits, file, others)
    if competition.captions:
        captions = file_captions(competition, folder, tables, issues)
    for name, texts in captions.items():
        issues += checks.check_captions(splits[name], texts)

    infos, n_opened, seconds = _scan(folder, splits, scan_cache)
    for split in splits.values():
        issues += checks.check_images(split, infos)
    groups = np.arange(len(train.ids)) if competition.duplicates == "off" else None
    if competition.duplicates == "group":
        written = LabelCodec(names, competition.labels.separator).decode(y)
        groups = near_duplicates(competition, train, test, captions, infos, written, issues)
    if groups is not None:  # else some images have problems, which are errors of their own
        issues += check_folds(competition, train, infos, groups, own_folds)
    extra = None
    if "extra" in splits:
        extra = check_extra(competition, splits, tables, cells["extra"], captions, infos, issues)
    images = {name: _image_columns(split, infos) for name, split in splits.items()}
    return CheckedTables(
        rows, issues, images, captions, names, y, known, len(infos), n_opened, seconds, own_folds, extra, given
    )


def _scan(folder: Path, splits: Mapping[str, checks.Split], cache: Path) -> tuple[dict[str, ImageInfo], int, float]:
    """(what is known of each image that a row names, number of files that were opened, seconds)."""
    started = time.perf_counter()
    needed = dict.fromkeys(file for split in splits.values() for file in split.images if file)
    infos, n_opened = scan_images(folder, list(needed), cache)
    return infos, n_opened, time.perf_counter() - started


def near_duplicates(
    competition: Competition,
    train: checks.Split,
    test: checks.Split | None,
    captions: Mapping[str, Sequence[Sequence[str]]],
    infos: Mapping[str, ImageInfo],
    cells: Sequence[str],
    issues: list[Issue],
) -> np.ndarray | None:
    """(n,) groups of the training rows by their images or, of text only, by equal captions; None where an image has a
    problem. `cells` (n,) are the label cells of train."""
    if competition.images is None:
        joined = {name: list(map(join_captions, own)) for name, own in captions.items()}
        issues += checks.check_equal_captions(train, test, joined, cells)
        return group_equal_texts(joined["train"])
    numbers = checks.near_duplicate_groups(train, test, infos)
    issues += checks.check_duplicates(train, test, infos, numbers, cells)
    found = all(file in numbers for file in train.images)
    return np.array([numbers[file] for file in train.images]) if found else None


def _image_columns(split: checks.Split, infos: Mapping[str, ImageInfo]) -> dict[str, list]:
    """The columns that IMAGE_SCHEMA names."""
    fields = {"width": "width", "height": "height", "bytes": "size", "sha": "sha", "hash": "hash"}
    found = [infos.get(file, ImageInfo()) for file in split.images]  # an unsafe id has no image
    columns = {column: [getattr(info, field) for info in found] for column, field in fields.items()}
    return {"id": list(split.ids), "file": list(split.images), **columns}


def _one_row_an_image(
    competition: Competition, read: Mapping[str, SplitTable], issues: list[Issue]
) -> tuple[dict[str, SplitTable], dict[str, Mapping[str, Sequence[str]]], dict[str, list[list[str]]]]:
    """({split: one row an image}, {labelled split: label cells by column}, {split: captions of each row})."""
    found, labels = dict(read), competition.labels
    captions: dict[str, list[list[str]]] = {}
    cells: dict[str, Mapping[str, Sequence[str]]] = {}
    for split in (name for name in LABELLED if name in read and labels.format == "long"):
        # an image has a row for each label, not for each caption
        table, cells[split] = _label_cells(found[split], competition)
        found[split] = found[split].replaced(table)
    if competition.caption and not competition.captions:
        found, captions = table_captions(competition, found, issues)
    for split in (name for name in LABELLED if name in read and labels.format != "long"):
        cells[split] = _label_cells(found[split], competition)[1]
    return found, cells, captions


def _label_cells(split: SplitTable, competition: Competition) -> tuple[Table, dict[str, list[str]]]:
    try:
        return label_cells(split.table, competition.id, competition.labels)
    except ValueError as error:
        raise ValueError(f"{split.name}: {error}") from error


def table_captions(
    competition: Competition, read: Mapping[str, SplitTable], issues: list[Issue]
) -> tuple[dict[str, SplitTable], dict[str, list[list[str]]]]:
    """({split: rows}, {split: captions of each row}): one row an image, where the training rows have several."""
    found, captions, columns = dict(read), {}, competition.caption_columns
    several = are_caption_rows(read["train"].table, competition.id, columns)
    for name, split in read.items():
        table = split.table
        if several and len(set(table.column(competition.id))) < len(table.rows):
            joined, captions[name] = checks.join_rows(split.name, table, competition, name in LABELLED, issues)
            found[name] = split.replaced(joined)
        else:
            captions[name] = row_captions(table, columns)
    return found, captions


def file_captions(
    competition: Competition, folder: Path, tables: Mapping[str, Table], issues: list[Issue]
) -> dict[str, list[list[str]]]:
    """{split: captions of each row} from the competition's files of captions."""
    names = {split: image_names(table, competition.image_column) for split, table in tables.items()}
    texts: dict[str, list[str]] = {image: [] for split in names.values() for image in split}
    for name in competition.caption_files:
        file = read_caption_file(folder / name, competition.caption_columns, list(texts))
        captions, unused = file.of(list(texts))
        for image, found in zip(texts, captions, strict=True):
            texts[image] += found
        if unused:
            images = f"{len(unused):,} images that no row has, such as {unused[0]!r}"
            issues.append(Issue("unused captions", f"captions of {images}", str(folder / name)))
    return {split: [list(dict.fromkeys(texts[image])) or [""] for image in own] for split, own in names.items()}


def write_checked(paths: Paths, checked: CheckedTables) -> None:
    """Writes the tables that changed and deletes those of splits that are gone; raises ValueError on errors."""
    if checked.n_errors:
        raise ValueError(f"{paths.comp}: {checked.n_errors} errors; run: make check COMP={paths.comp}")
    for split, columns in checked.images.items():
        write_images(paths.images(split), columns)
    for split, texts in checked.captions.items():
        write_captions(paths.captions(split), checked.images[split]["id"], texts)
    for split in SPLITS:
        if split not in checked.images:
            paths.images(split).unlink(missing_ok=True)
        if split not in checked.captions:
            paths.captions(split).unlink(missing_ok=True)
    ids = checked.images["train"]["id"]
    if checked.own_folds:
        write_own_folds(paths.own_folds, ids, checked.own_folds)
    else:
        paths.own_folds.unlink(missing_ok=True)
    write_labels(paths.labels, ids, checked.names, checked.y, checked.known)
    if checked.given:
        write_labels(paths.given_labels, ids, checked.names, checked.given.y, checked.given.known)
    else:
        paths.given_labels.unlink(missing_ok=True)
    write_extra(paths, checked.extra, checked.names)


def content_digests(checked: CheckedTables) -> dict[str, str]:
    """16 hex digits for each part of the data, in the order of the rows.

    `{split}.images`: ids and digests of the image files; `{split}.captions`: ids and captions;
    `train.labels`: ids, label names, y and which of them are known, unless all are; `given.labels`: the same before
    corrections, where these are applied; `train.folds`: ids, and the folds
    and groups of the user, if any.
    """
    ids = {split: columns["id"] for split, columns in checked.images.items()}
    digests = {f"{split}.images": _texts_digest(ids[split], checked.images[split]["sha"]) for split in ids}
    digests |= {f"{split}.captions": captions_digest(ids[split], texts) for split, texts in checked.captions.items()}
    if "train" in ids:
        digests["train.labels"] = _labels_digest(ids["train"], checked.names, checked.y, checked.known)
        if given := checked.given:
            digests["given.labels"] = _labels_digest(given.ids, given.names, given.y, given.known)
        if checked.own_folds:
            digests["train.folds"] = _own_folds_digest(ids["train"], checked.own_folds)
    if extra := checked.extra:
        digests["extra.labels"] = _labels_digest(extra.ids, checked.names, extra.y, extra.known)
        digests["extra.links"] = links_digest(extra)
    return digests


def content_digest(table: Path) -> str:
    """The digest of one written table, as `content_digests` gives it."""
    if table.name.endswith(".images.parquet"):
        columns = read_image_rows(table)
        return _texts_digest(columns["id"], columns["sha"])
    if table.name.endswith(".captions.parquet"):
        return captions_digest(read_captions(table)[0], read_caption_lists(table))
    if table.name.endswith(".folds.parquet"):
        return _own_folds_digest(read_ids(table), read_own_folds(table))
    if table.name.endswith(".links.parquet"):
        return digest(read_parquet(table).to_pydict())
    return _labels_digest(*read_labels(table))


def _labels_digest(ids: Sequence[str], names: Sequence[str], y: np.ndarray, known: np.ndarray | None) -> str:
    return _texts_digest(ids, names, data=y.tobytes() + (b"" if known is None else known.tobytes()))


def _own_folds_digest(ids: Sequence[str], own: OwnFolds) -> str:
    given = [(name, cells) for name, cells in vars(own).items() if cells is not None]
    return _texts_digest(ids, *(part for name, cells in given for part in ([name], cells)))


def captions_digest(ids: Sequence[str], captions: Sequence[Sequence[str]]) -> str:
    """Of the joined captions; also of how many each row has, where one has several."""
    several = any(len(texts) > 1 for texts in captions)
    parts = [[text for texts in captions for text in texts]] if several else []
    sizes = np.array([len(texts) for texts in captions], np.int64).tobytes() if several else b""
    return _texts_digest(ids, list(map(join_captions, captions)), *parts, data=sizes)


def _texts_digest(*columns: Sequence[str], data: bytes = b"") -> str:
    """The lengths are hashed too, so that no two lists of texts are joined to the same bytes."""
    hasher = hashlib.sha256()
    for texts in columns:
        hasher.update(np.array([len(texts), *map(len, texts)], np.int64).tobytes())
        hasher.update("".join(texts).encode("utf-8", "surrogatepass"))
    hasher.update(data)
    return hasher.hexdigest()[:16]

"""Check of a whole competition: its CSV files and images in, checked tables and issues out."""

import hashlib
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem.artifacts.paths import SPLITS, Paths
from tandem.config.competition import Competition
from tandem.data import checks
from tandem.data.caption_files import image_names, read_caption_file
from tandem.data.caption_rows import are_caption_rows, join_captions, row_captions
from tandem.data.csv_reader import Table, read_table
from tandem.data.image_scan import ImageInfo, scan_images
from tandem.data.issues import Issue, count_errors
from tandem.data.label_codec import LabelCodec
from tandem.data.split_tables import (
    read_caption_lists,
    read_captions,
    read_image_rows,
    read_labels,
    write_captions,
    write_images,
    write_labels,
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
    n_images: int = 0  # image files inspected
    n_opened: int = 0  # how many of them were opened, because they were not in the cache
    seconds: float = 0.0  # taken by the images

    @property
    def n_errors(self) -> int:
        return count_errors(self.issues)


def check_competition(competition: Competition, folder: Path, scan_cache: Path) -> CheckedTables:
    """Checks all rows and images below `folder`; writes nothing but the cache of the image scan.

    Raises FileNotFoundError where a CSV file that the competition names does not exist.
    """
    files = {name: folder / getattr(competition, name) for name in competition.splits}
    for name, file in files.items():
        if not file.exists():
            raise FileNotFoundError(f"{file} does not exist; add it, or correct {name} in competition.toml")
    tables = {name: read_table(file) for name, file in files.items()}
    rows = {name: len(table.rows) for name, table in tables.items()}
    names = tuple(competition.labels.names)
    issues: list[Issue] = []
    for name, table in tables.items():
        issues += checks.check_table(str(files[name]), table, competition, labelled=name == "train")
    if issues:
        return CheckedTables(rows, issues, {}, {}, names, np.zeros((0, len(names)), np.uint8))

    captions: dict[str, list[list[str]]] = {}
    if competition.caption and not competition.captions:
        tables, captions = table_captions(competition, files, tables, issues)
        rows = {name: len(table.rows) for name, table in tables.items()}
    splits = {name: checks.make_split(str(files[name]), table, competition, issues) for name, table in tables.items()}
    sample = folder / competition.sample_submission
    if sample.is_file():
        issues += checks.check_sample(splits["test"], read_table(sample), str(sample), competition)
    issues += checks.check_ids(*splits.values())
    y = checks.check_labels(splits["train"], tables["train"], competition, issues)
    if competition.captions:
        captions = file_captions(competition, folder, tables, issues)
    for name, texts in captions.items():
        issues += checks.check_captions(splits[name], texts)

    started = time.perf_counter()
    needed = dict.fromkeys(file for split in splits.values() for file in split.images if file)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # an image that cannot be read becomes an issue
        infos, n_opened = scan_images(folder, list(needed), scan_cache)
    seconds = time.perf_counter() - started
    for split in splits.values():
        issues += checks.check_images(split, infos)
    if competition.duplicates == "group":
        cells, both = LabelCodec(names, competition.labels.separator).decode(y), (splits["train"], splits["test"])
        if competition.images is None:
            texts = [list(map(join_captions, captions[name])) for name in ("train", "test")]
            issues += checks.check_equal_captions(*both, (texts[0], texts[1]), cells)
        else:
            issues += checks.check_duplicates(*both, infos, cells)
    images: dict[str, dict[str, list]] = {}
    fields = {"width": "width", "height": "height", "bytes": "size", "sha": "sha", "hash": "hash"}
    for name, split in splits.items():
        found = [infos.get(file, ImageInfo()) for file in split.images]  # an unsafe id has no image
        images[name] = {"id": list(split.ids), "file": list(split.images)}
        images[name] |= {column: [getattr(info, field) for info in found] for column, field in fields.items()}
    return CheckedTables(rows, issues, images, captions, names, y, len(infos), n_opened, seconds)


def table_captions(
    competition: Competition, files: Mapping[str, Path], tables: Mapping[str, Table], issues: list[Issue]
) -> tuple[dict[str, Table], dict[str, list[list[str]]]]:
    """({split: table}, {split: captions of each row}): one row an image, where the training rows have several."""
    found, captions, columns = dict(tables), {}, competition.caption_columns
    several = are_caption_rows(tables["train"], competition.id, columns)
    for name, table in tables.items():
        if several and len(set(table.column(competition.id))) < len(table.rows):
            found[name], captions[name] = checks.join_rows(
                str(files[name]), table, competition, name == "train", issues
            )
        else:
            captions[name] = row_captions(table, columns)
    return found, captions


def file_captions(
    competition: Competition, folder: Path, tables: Mapping[str, Table], issues: list[Issue]
) -> dict[str, list[list[str]]]:
    """{split: captions of each row} from the competition's files of captions."""
    names = {split: image_names(table, competition.id) for split, table in tables.items()}
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
    write_labels(paths.labels, checked.images["train"]["id"], checked.names, checked.y)


def content_digests(checked: CheckedTables) -> dict[str, str]:
    """16 hex digits for each part of the data, in the order of the rows.

    `{split}.images`: ids and digests of the image files; `{split}.captions`: ids and captions;
    `train.labels`: ids, label names and y.
    """
    ids = {split: columns["id"] for split, columns in checked.images.items()}
    digests = {f"{split}.images": _texts_digest(ids[split], checked.images[split]["sha"]) for split in ids}
    digests |= {f"{split}.captions": captions_digest(ids[split], texts) for split, texts in checked.captions.items()}
    if "train" in ids:
        digests["train.labels"] = _texts_digest(ids["train"], checked.names, data=checked.y.tobytes())
    return digests


def content_digest(table: Path) -> str:
    """The digest of one written table, as `content_digests` gives it."""
    if table.name.endswith(".images.parquet"):
        columns = read_image_rows(table)
        return _texts_digest(columns["id"], columns["sha"])
    if table.name.endswith(".captions.parquet"):
        return captions_digest(read_captions(table)[0], read_caption_lists(table))
    ids, names, y = read_labels(table)
    return _texts_digest(ids, names, data=y.tobytes())


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

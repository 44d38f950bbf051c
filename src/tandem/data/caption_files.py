"""Captions in files of their own, joined to images by name: CSV, TSV, JSON lines, and JSON as MS-COCO writes it."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tandem.artifacts.user_files import read_text
from tandem.data.caption_rows import row_captions
from tandem.data.csv_reader import Table, read_table
from tandem.data.image_io import SUFFIXES
from tandem.data.image_names import is_counter, normalised
from tandem.data.table_text import MAX_BYTES

TABLES = (".csv", ".tsv", ".psv", ".txt")
FILES = (".csv", ".tsv", ".psv", ".jsonl", ".json", "captions.txt")  # how the names of files of captions may end


def _file_name(name: str) -> str:
    return PurePosixPath(normalised(name)).name


def _stem(name: str) -> str:
    path = PurePosixPath(normalised(name))
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def is_image_name(name: str) -> bool:
    return PurePosixPath(normalised(name)).suffix.lower() in SUFFIXES


# how a name may differ from that of an image, the closest first
LEVELS: tuple[Callable[[str], str], ...] = (str, normalised, _file_name, _stem)


def match_images(cells: Iterable[str], images: Sequence[str]) -> dict[str, str]:
    """{image: cell that names it}: by the whole path, else by the file name, else by that without its suffix.

    Raises ValueError where a cell fits two images, or an image two cells.

    >>> match_images(["1", "b/2.jpg", "9"], ["a/1.jpg", "b/2.jpg"])
    {'b/2.jpg': 'b/2.jpg', 'a/1.jpg': '1'}
    """
    found: dict[str, str] = {}
    left = [cell for cell in dict.fromkeys(cells) if cell.strip()]
    for level in LEVELS:
        named: dict[str, list[str]] = {}
        for cell in left:
            named.setdefault(level(cell), []).append(cell)
        used: dict[str, str] = {}  # cell: image
        for image in images:
            if image in found or not (fitting := named.get(level(image))):
                continue
            if len(fitting) > 1 or fitting[0] in used:
                cell = fitting[0]
                either = (used[cell], image) if cell in used else fitting
                one = cell if cell in used else image
                raise ValueError(f"{one!r} may be {either[0]!r} or {either[1]!r}; name them by their paths")
            used[fitting[0]] = image
        found |= {image: cell for cell, image in used.items()}
        left = [cell for cell in left if cell not in used]
    return found


def find_image_column(table: Table, columns: Sequence[str], images: Sequence[str]) -> str | None:
    """The column that names most images, exactly before by file name or stem; None where none names any.

    A column that counts the rows is used only where no other names images. Raises ValueError where two fit alike.
    """
    scores: dict[str, tuple[int, ...]] = {}
    for column in columns:
        cells = table.column(column)
        keys = [set(map(level, cells)) for level in LEVELS]
        score = tuple(sum(level(i) in known for i in images) for level, known in zip(LEVELS, keys, strict=True))
        if any(score):
            scores[column] = score
    if others := {column: score for column, score in scores.items() if not is_counter(column, table.column(column))}:
        scores = others
    best = [column for column, score in scores.items() if score == max(scores.values())]
    if len(best) > 1:
        raise ValueError(f"columns {best} name equally many images; keep one of them")
    return best[0] if best else None


def image_names(table: Table, image: str) -> list[str]:
    """(n,) what a file of captions may call the image of each row."""
    return table.column(image)


@dataclass(frozen=True)
class CaptionFile:
    """The captions of one file, by the name that it gives an image."""

    path: Path
    captions: Mapping[str, Sequence[str]]  # in the order of the file

    def of(self, images: Sequence[str]) -> tuple[list[list[str]], list[str]]:
        """(captions of each image, empty where it has none; names in the file that fit no image)."""
        try:
            cell_of = match_images(self.captions, images)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error
        used = set(cell_of.values())
        texts = [list(self.captions[cell_of[image]]) if image in cell_of else [] for image in images]
        return texts, [name for name in self.captions if name not in used]


def read_caption_table(path: Path) -> Table | None:
    """The rows of a CSV, TSV, JSON-lines or COCO captions file as a table; None where a JSON file holds none.

    The table of a COCO file has the columns file_name and caption. Raises ValueError where the file can't be read.
    """
    if path.suffix.lower() != ".json":
        return read_table(path)
    text = read_text(path, MAX_BYTES)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    return _coco(path, content)


def _coco(path: Path, content: Any) -> Table | None:
    """{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]} (Lin et al. 2014, arXiv 1405.0312);
    None where it is other JSON."""
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        return None
    annotations = content["annotations"] if isinstance(content["annotations"], list) else []
    if not any(isinstance(annotation, dict) and "caption" in annotation for annotation in annotations):
        return None
    try:
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        rows: list[tuple[str, ...]] = [(names[one["image_id"]], str(one["caption"])) for one in annotations]
    except (KeyError, TypeError) as error:
        expected = "images with id and file_name, annotations with image_id and caption"
        raise ValueError(f"{path}: {error} is missing or no key; expected {expected}") from error
    return Table(("file_name", "caption"), rows, [0] * len(rows))


def image_column_of(path: Path, table: Table, columns: Sequence[str], images: Sequence[str]) -> str | None:
    """`find_image_column` of a file, which its errors name."""
    try:
        return find_image_column(table, columns, images)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def as_caption_file(path: Path, table: Table, image: str, columns: Sequence[str]) -> CaptionFile:
    """The captions in these columns, by the cells of the column `image`; all rows of one image are its captions."""
    found: dict[str, list[str]] = {}
    for name, texts in zip(table.column(image), row_captions(table, columns), strict=True):
        found.setdefault(name, []).extend(text for text in texts if text.strip())
    return CaptionFile(path, {name: list(dict.fromkeys(texts)) for name, texts in found.items()})


def read_caption_file(path: Path, columns: Sequence[str], images: Sequence[str]) -> CaptionFile:
    """A file that competition.toml names; raises ValueError where it lacks the columns or names none of the images."""
    table = read_caption_table(path)
    if table is None:
        raise ValueError(f"{path}: not captions as MS-COCO writes them; expected keys images and annotations")
    if lacking := [column for column in columns if column not in table.columns]:
        raise ValueError(f"{path}: no column {lacking[0]!r}; the columns are {', '.join(table.columns)}")
    image = image_column_of(path, table, [c for c in table.columns if c not in columns], images)
    if image is None:
        raise ValueError(f"{path}: no column names an image; expected names such as {images[0]!r}")
    return as_caption_file(path, table, image, columns)

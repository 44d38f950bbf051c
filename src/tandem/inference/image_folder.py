"""The images of a folder, their captions from a table, and the rows of a table of captions."""

import os
from collections.abc import Sequence
from pathlib import Path

from tandem.config.competition import Competition
from tandem.config.questions import Question
from tandem.data.caption_files import CaptionFile, as_caption_file, image_column_of, read_caption_table
from tandem.data.caption_rows import are_caption_rows, join_caption_rows, join_captions, row_captions
from tandem.data.csv_reader import Table
from tandem.data.image_io import SUFFIXES
from tandem.data.image_names import image_suffix, is_counter, passed_over
from tandem.data.infer_captions import find_caption

READ = ", ".join(sorted(SUFFIXES))


def list_images(folder: Path) -> tuple[list[str], str]:
    """Paths of all images (by suffix) relative to `folder`, sorted, and what is passed over.

    Hidden files and folders do not count; links to folders are not followed. Raises FileNotFoundError where the folder
    does not exist, ValueError where it has no image.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected one with images")
    files, notes, unread = list[str](), list[str](), list[OSError]()
    for here, folders, names in os.walk(folder, onerror=unread.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(here).relative_to(folder)
        files += [(inside / name).as_posix() for name in names if not name.startswith(".")]
        links = [inside / name for name in folders if os.path.islink(os.path.join(here, name))]
        notes += [f"passed over: {link.as_posix()!r}, a link to a folder" for link in links]
    notes += [f"passed over: {error.filename!r}, which cannot be read: {error.strerror}" for error in unread]
    images, other = sorted(filter(image_suffix, files)), passed_over(files)
    if not images:
        raise ValueError("; ".join([f"{folder}: contains no image", *notes, other or f"read are {READ}"]))
    return images, "\n".join([*filter(None, [other]), *notes])


def read_image_captions(path: Path, images: Sequence[str], columns: Sequence[str] = ()) -> list[str]:
    """The caption of each image, "" where there is none, from a table with a column that names images (by the path
    inside the folder, the file name, or that without suffix) and one or more of captions; several of an image are
    joined.

    columns  those of the competition's captions; without them in the table, the columns are found by name and content

    Raises ValueError where no column, or more than one, may be that of the images or captions, where none of the images
    is named, or where a name fits two of them.
    """
    file = _read_captions(path, images, columns)
    return [join_captions(texts) if texts else "" for texts in file.of(images)[0]]


def read_rows(path: Path, competition: Competition) -> tuple[list[str], list[str]]:
    """(names, captions) of the rows of a table of captions: by its column of ids, else by the number of the row."""
    table = _read(path)
    captions = _caption_columns(path, table, competition.caption_columns, [])
    texts = [join_captions(found) for found in row_captions(table, captions)]
    if competition.id not in table.columns:
        return [str(i) for i in range(1, len(texts) + 1)], texts
    if are_caption_rows(table, competition.id, captions):
        table, lists = join_caption_rows(table, competition.id, captions)
        texts = [join_captions(found) for found in lists]
    _check_distinct(path, table, competition.id)
    return table.column(competition.id), texts


def _read(path: Path) -> Table:
    table = read_caption_table(path)
    if table is None:
        raise ValueError(f"{path}: not captions as MS-COCO writes them; expected a table of captions")
    return table


def _read_captions(path: Path, images: Sequence[str], columns: Sequence[str]) -> CaptionFile:
    table = _read(path)
    if len(table.columns) < 2:
        raise ValueError(f"{path}: header is {list(table.columns)}; expected a column of images and one of captions")
    image = image_column_of(path, table, [c for c in table.columns if c not in columns], images)
    if image is None:
        column = f"column {table.columns[0]!r} (such as {next(iter(table.column(table.columns[0])), '')!r})"
        raise ValueError(f"{path}: {column} names none of the images, such as {images[0]!r}; nor does another")
    captions = _caption_columns(path, table, columns, [image])
    if not are_caption_rows(table, image, captions):
        _check_distinct(path, table, image)
    return as_caption_file(path, table, image, captions)


def _check_distinct(path: Path, table: Table, column: str) -> None:
    """Raises ValueError where a name is in two rows."""
    first: dict[str, int] = {}
    for name, line in zip(table.column(column), table.lines, strict=True):
        if first.setdefault(name, line) != line:
            raise ValueError(f"{path}: line {line}: a second caption for {name!r}; keep one of the two")


def _caption_columns(path: Path, table: Table, own: Sequence[str], others: Sequence[str]) -> list[str]:
    """The competition's `own` columns, else those that hold captions by name or content, else the only one left."""
    if own and set(own) <= set(table.columns):
        return list(own)
    left = [c for c in table.columns if c not in others and not is_counter(c, table.column(c))]
    found = find_caption(table, left) or (left[0] if len(left) == 1 else None)
    if found is None or isinstance(found, Question):
        which = f"which of {left} holds the captions is not certain" if left else "no column holds captions"
        raise ValueError(f"{path}: {which}; name it {' '.join(own) or 'caption'!r}, or leave the others out")
    return [found] if isinstance(found, str) else found

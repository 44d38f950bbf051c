"""Infers where the captions of a competition are: a column, several columns, or files of their own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tandem.artifacts.user_files import first_line
from tandem.config.questions import Question
from tandem.data.caption_files import FILES, TABLES, find_image_column, is_image_name, match_images, read_caption_table
from tandem.data.caption_rows import are_caption_rows, join_caption_rows, name_words
from tandem.data.caption_words import count_words, has_letter
from tandem.data.csv_reader import Table
from tandem.data.label_readings import HINTS

TITLES = {"title", "titles", "headline", "heading", "subject"}
TEXTS = {"caption", "captions", "text", "texts", "description", "descriptions", "desc", "sentence", "sentences", "body",
         "comment", "comments", "abstract", "summary", "overview", "plot", "synopsis", "review", "message", "tweet",
         "utterance", "paragraph"}  # fmt: skip
WORDS = 3  # on average, of a column of texts with another name
COVERED = 0.5  # share of the training images that a file of captions must name by the names of their files,
COVERED_BY_STEM = 0.9  # or without suffix: numbers may be those of something else

Caption = str | list[str]


def is_caption_name(column: str) -> bool:
    """
    >>> [is_caption_name(name) for name in ("Caption", "comment_text", "product_title", "title_id", "text_length")]
    [True, True, True, False, False]
    """
    words = name_words(column)
    return bool(words) and words[-1] in TITLES | TEXTS


def find_caption(table: Table, columns: Sequence[str], certain: bool = True) -> Caption | Question | None:
    """The column(s) of captions among `columns`; a Question where several fit, None where none does.

    A column with the name of a caption counts whatever its words; another one where its texts have three words on
    average. `certain`: the columns can't hold labels, such as those of a test table; else such a text is a Question.
    """
    cells = {column: table.column(column) for column in columns}
    named = [column for column in columns if is_caption_name(column) and any(map(has_letter, cells[column]))]
    fitting = named or [column for column in columns if _is_text(cells[column])]
    if not certain:
        fitting = [c for c in fitting if c in named or not HINTS.search(c)]
    if not fitting or (len(fitting) == 1 and (named or certain)):
        return fitting[0] if fitting else None
    if named and _belong_together(named):
        return sorted(named, key=lambda column: name_words(column)[-1] not in TITLES)  # titles first
    candidates = {column: next(filter(str.strip, cells[column]), "")[:80] for column in fitting}
    if len(fitting) == 1:
        return Question("caption", f"column {fitting[0]!r} may hold captions", candidates | {"": "it holds none"})
    return Question("caption", f"columns {fitting} may all hold captions", candidates)


def _is_text(cells: Sequence[str]) -> bool:
    """Whether cells have WORDS words on average, a file name or a list without spaces being one."""
    words = (count_words(" ".join(filter(has_letter, cell.split()))) for cell in cells)
    return sum(words) >= WORDS * len(cells) > 0


def _belong_together(columns: Sequence[str]) -> bool:
    """Whether they are caption1, caption2, ... or one title and one text."""
    if len(set(map(name_words, columns))) == 1:
        return True
    titles = [column for column in columns if name_words(column)[-1] in TITLES]
    return len(columns) == 2 and len(titles) == 1


def join_several_rows(
    tables: Mapping[str, Table], counts: Mapping[str, int], notes: list[str]
) -> tuple[dict[str, Table], str | None]:
    """({role: table with one row an image}, the column that names the image), where the training table has several
    caption rows an image; else the same tables and None.

    counts  {column of the training table: number of its rows that name an image}
    """
    train = tables["train"]
    # a column of 0 and 1 names the images 0.jpg and 1.jpg in all rows too, but they are few
    id = max(counts, key=lambda column: (counts[column], len(set(train.column(column)))), default=None)
    if id is None:
        return dict(tables), None
    found = find_caption(train, [c for c in train.columns if c != id and is_caption_name(c)])
    captions = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    if not counts[id] or not are_caption_rows(train, id, captions):
        return dict(tables), None
    joined = dict(tables)
    for role, table in tables.items():
        if {id, *captions} <= set(table.columns):
            joined[role], _ = join_caption_rows(table, id, captions)
            rows = f"{len(table.rows):,} rows of {len(joined[role].rows):,} images"
            notes.append(f"{role}: {rows}; the captions of an image are joined")
    return joined, id


@dataclass(frozen=True)
class FoundFiles:
    """Files of captions beside the tables."""

    files: list[str]
    caption: Caption | Question | None  # their column(s)
    notes: list[str]


def _may_hold_captions(path: Path) -> bool:
    """Whether a table names a column of captions in its first line; other tables are not read. True for JSON."""
    if not path.name.lower().endswith(TABLES):
        return True
    return any(map(is_caption_name, re.split(r"[,;|\t]", first_line(path))))


def find_caption_files(folder: Path, files: Sequence[str], ids: Mapping[str, Sequence[str]]) -> FoundFiles:
    """Those of `files` that have captions of the training rows, or of other rows in the same columns.

    ids  {split: ids, or names of the images}
    """
    found = FoundFiles([], None, [])
    everything = [name for names in ids.values() for name in names]
    coverage: dict[str, tuple[str, set[str]]] = {}  # file: column(s), images
    caption_of: dict[str, Caption | Question] = {}
    exact: dict[str, bool] = {}
    for file in (file for file in files if file.lower().endswith(FILES) and _may_hold_captions(folder / file)):
        try:
            table = read_caption_table(folder / file)
            image = None if table is None else find_image_column(table, table.columns, everything)
            if table is None or image is None:
                continue
            caption = find_caption(table, [c for c in table.columns if c != image and is_caption_name(c)])
            cell_of = match_images(table.column(image), everything)
            named, exact[file] = set(cell_of), all(map(is_image_name, cell_of.values()))
        except ValueError as error:
            found.notes.append(f"not used: {file}: {str(error).removeprefix(f'{folder / file}: ')}")
            continue
        if caption:
            coverage[file], caption_of[file] = (repr(caption), named), caption
    train = set(ids["train"])
    for columns in dict.fromkeys(columns for columns, _ in coverage.values()):
        group = [file for file, (own, _) in coverage.items() if own == columns]
        named = set().union(*(coverage[file][1] for file in group))
        needed = COVERED if exact[group[0]] else COVERED_BY_STEM
        if not found.files and len(named & train) >= needed * len(train):
            missing = len(set(everything) - named)
            found.notes.append(f"captions: {', '.join(group)}" + (f"; {missing:,} rows have none" if missing else ""))
            found = FoundFiles(group, caption_of[group[0]], found.notes)
        else:
            found.notes.append(f"not used: {', '.join(group)}: captions of {len(named & train):,} training rows")
    return found

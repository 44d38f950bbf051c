"""The test rows of a code competition that are found at Kaggle, perhaps hidden ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tandem.config.competition import Competition
from tandem.data import checks
from tandem.data.caption_rows import are_caption_rows, join_caption_rows, join_captions, row_captions
from tandem.data.check_competition import file_captions
from tandem.data.competition_tables import SplitTable, read_splits, read_test
from tandem.data.csv_reader import Table
from tandem.data.image_names import list_files
from tandem.data.issues import Issue

NO_IMAGE = "(no image has this name)"


@dataclass(frozen=True)
class KaggleRows:
    """The rows of the test table."""

    ids: Sequence[str]
    images: Sequence[Path]  # (n,) files, which may be missing; none of a competition without images
    captions: Sequence[str]  # (n,) "" where there is none


def read_test_rows(competition: Competition, folder: Path) -> KaggleRows:
    """The rows of the test table, each id once, with their images and captions."""
    table, name = read_test(competition, folder), competition.table_files("test")[0]
    own, columns = not competition.captions, competition.caption_columns
    captions = [""] * len(table.rows)
    if columns and own and are_caption_rows(table, competition.id, columns):
        table, lists = join_caption_rows(table, competition.id, columns)
        captions = list(map(join_captions, lists))
    elif columns and own:
        captions = list(map(join_captions, row_captions(table, columns)))
    elif columns:
        captions = _captions_of_files(competition, folder, table)
    files = list_files(folder, competition.image_folders("test"))
    issues: list[Issue] = []
    split = checks.make_split("test", SplitTable(table, [name] * max(1, len(table.rows))), competition, files, issues)
    images = [folder / (file or NO_IMAGE) for file in split.images]
    first = {id: row for row, id in reversed(list(enumerate(split.ids)))}
    rows = sorted(first.values())
    return KaggleRows(
        [split.ids[row] for row in rows],
        [images[row] for row in rows] if competition.images else [],
        [captions[row] for row in rows],
    )


def _captions_of_files(competition: Competition, folder: Path, table: Table) -> list[str]:
    """Those of the test rows in files of captions, which name the images of the training rows too."""
    only = competition.model_copy(update={"unlabelled": None, "extra": None})
    tables = {name: split.table for name, split in read_splits(only, folder).items()} | {"test": table}
    return list(map(join_captions, file_captions(competition, folder, tables, [])["test"]))

"""The journal of a competition, `history/COMP/journal.csv`: one row for each submission file, oldest first.

Every change holds a lock and replaces the whole file: two commands at once lose no row, and a killed one tears none.
"""

import csv
from collections.abc import Callable, Mapping, Sequence

from tandem.artifacts.atomic_io import write_csv
from tandem.artifacts.paths import Paths

COLUMNS = (
    "time",  # of writing the file, UTC, as 2026-11-27T18:03:21
    "name",  # of the submission: submissions/COMP/NAME.csv
    "experiments",  # of the stack, or the one experiment
    "decoder",
    "changes",  # since the row before, in words
    "metric",
    "score",  # cross-fitted
    "low",  # its 95 % interval
    "high",
    "digest",  # of the CSV file: `file_digest`
    "minutes",
    "commit",
    "note",
    "public",  # scores at Kaggle
    "private",
    "submission_id",  # at Kaggle
)
Row = dict[str, str]


def read(paths: Paths) -> list[Row]:
    """The rows, each with all columns; raises ValueError where the file is no journal."""
    if not paths.journal.exists():
        return []
    with paths.journal.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, restval=""))
    for line, row in enumerate(rows, start=2):
        if None in row or "digest" not in row:
            expected = f"expected the columns {', '.join(COLUMNS)}; correct it, or move the file away"
            raise ValueError(
                f"{paths.journal}: row {line}: {'more cells than columns' if None in row else 'no digest'}; {expected}"
            )
    return [dict.fromkeys(COLUMNS, "") | row for row in rows]


def append(paths: Paths, row: Mapping[str, object]) -> None:
    """Adds a row; columns that it lacks are empty."""
    append_made(paths, lambda rows: row)


def append_made(paths: Paths, make: Callable[[list[Row]], Mapping[str, object] | None]) -> None:
    """Adds the row that is made of the rows so far, under the lock; nothing where it is None."""

    def change(rows: list[Row]) -> None:
        row = make(rows) or {}
        if unknown := row.keys() - set(COLUMNS):
            raise ValueError(f"{sorted(unknown)} are no columns of the journal; there are {', '.join(COLUMNS)}")
        rows += [_cells(row)] if row else []

    _change(paths, change)


def last_of(rows: Sequence[Row], name: str) -> Row | None:
    """The row of the file that was written last under this name; a file that was sent twice has two rows."""
    return max((row for row in rows if row["name"] == name), key=lambda row: row["time"], default=None)


def add_public_score(
    paths: Paths,
    file_digest: str,
    score: object,
    submission_id: object,
    private: object = None,
    about: Mapping[str, object] | None = None,
) -> None:
    """Writes a submission's id and scores to the last row of this file; `None` leaves a score as it is.

    A file that was submitted before under another id, and one that no row has, get a row of their own; `about` has
    the other columns of the latter.
    """
    news = _cells({"submission_id": submission_id, "public": score, "private": private})
    news = {key: news[key] for key, value in news.items() if value}

    def change(rows: list[Row]) -> None:
        same = [row for row in rows if row["digest"] == file_digest]
        mine = [row for row in same if row["submission_id"] in ("", news["submission_id"])]
        if not mine:
            other = same[-1] | {"public": "", "private": ""} if same else {}
            mine = [dict.fromkeys(COLUMNS, "") | other | _cells(about or {}) | {"digest": file_digest}]
            rows += mine
        mine[-1].update(news)

    _change(paths, change)


def _cells(row: Mapping[str, object]) -> Row:
    """Each value as the text of a cell, on one line."""
    return {key: "" if value is None else " ".join(str(value).split()) for key, value in row.items()}


def _change(paths: Paths, change: Callable[[list[Row]], None]) -> None:
    from filelock import FileLock  # slow to import, and not needed to read

    paths.history.mkdir(parents=True, exist_ok=True)
    with FileLock(paths.history / ".journal.lock"):
        rows = read(paths)
        change(rows)
        columns = list(dict.fromkeys([*COLUMNS, *(key for row in rows for key in row)]))
        write_csv(paths.journal, [columns, *([row.get(key, "") for key in columns] for row in rows)])

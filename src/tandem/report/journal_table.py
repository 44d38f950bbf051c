"""The journal in the terminal: one row for each submission file, and below it what changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from tandem.artifacts.journal import COLUMNS, Row
from tandem.config.metric_names import METRIC_INFO, metric_title
from tandem.runtime.tables import Column, fitting, table_of

LAST = 30  # rows shown, and the best ones
# the lower the rank, the longer a column stays where the terminal is narrow
RANKS = {"score": 0, "±": 3, "public": 1, "private": 4, "digest": 5, "decoder": 6, "time": 2, "minutes": 7, "commit": 8}


def number(text: str) -> float | None:
    """The number in a cell; None where there is none, as of a submission that failed."""
    try:
        return float(text)
    except ValueError:
        return None


def best_row(rows: Sequence[Row], column: str, greater: bool) -> int | None:
    """The number of the row, from 0, of the best score in a column, among those of the metric of the last row."""
    metric = next((row["metric"] for row in reversed(rows) if row["metric"]), "")
    found = {i: value for i, row in enumerate(rows) if (value := number(row[column])) is not None}
    mine = [i for i in found if not rows[i]["metric"] or rows[i]["metric"] == metric]
    return max(mine, key=lambda i: found[i] if greater else -found[i], default=None)


def journal_table(comp: str, rows: Sequence[Row], width: int, greater: bool | None = None) -> Table:
    """Best marked by *; `greater`: whether more is better, None: as the metric of the last row has it."""
    metric = next((row["metric"] for row in reversed(rows) if row["metric"]), "")
    if greater is None:
        greater = metric not in METRIC_INFO or METRIC_INFO[metric].greater_is_better
    best = {column: best_row(rows, column, greater) for column in ("score", "public", "private")}
    columns = {heading: Column(heading, rank) for heading, rank in RANKS.items()}
    names = []
    shown_rows = [i for i in range(len(rows)) if i >= len(rows) - LAST or i in best.values()]
    for i in shown_rows:
        row = rows[i]
        cells = _cells(row) | {name: _score(row[name], best[name] == i) for name in best}
        for heading, column in columns.items():
            column.cells.append(cells[heading])
        below = [text for text in (row["changes"], row["note"] and f'"{row["note"]}"') if text]
        names.append("\n".join([f"{i + 1} {escape(row['name'])}", *(f"[dim]  {escape(text)}[/]" for text in below)]))
    less = "" if greater else ", less is better"
    caption = (
        f"score: {metric_title(metric)}{less}, cross-fitted, ± half of its 95 % interval; public, private: at Kaggle; "
        "* the best; times are UTC"
    )
    shown = fitting(list(columns.values()), names, width)
    styles = ["green" if best["score"] == i else "" for i in shown_rows]
    left_out = f"; {len(rows) - len(shown_rows):,} older rows are in the file" if len(shown_rows) < len(rows) else ""
    return table_of(f"{comp}: submission files, oldest first", caption + left_out, names, shown, styles, "submission")


def _cells(row: Mapping[str, str]) -> dict[str, str]:
    score, low = number(row["score"]), number(row["low"])
    return {
        "time": row["time"][5:16].replace("T", " "),
        "±": "" if score is None or low is None else f"{score - low:.4f}",
        "decoder": escape(row["decoder"]),
        "minutes": "" if (minutes := number(row["minutes"])) is None else f"{minutes:,.1f}",
        "digest": escape(row["digest"][:8]),
        "commit": escape(row["commit"]),
    }


def _score(text: str, best: bool) -> str:
    """A space stands where others have the mark, so that digits are below digits."""
    value = number(text)
    if value is None:
        return escape(text)
    return f"{value:.4f}{'*' if best else ' '}"


def with_remote(rows: Sequence[Row], sent: Sequence[Any]) -> list[Row]:
    """The rows with the scores that Kaggle has now, and a row for each submission that the journal does not know."""
    by_id = {str(one.id): one for one in sent}
    found = []
    for row in rows:
        one = by_id.pop(row["submission_id"], None)
        found.append(row if one is None else row | scores_at_kaggle(one, row))
    empty = dict.fromkeys(COLUMNS, "")
    for id, one in by_id.items():
        when = f"{one.date:%Y-%m-%dT%H:%M:%S}" if one.date else ""
        about = {"time": when, "name": one.file, "note": one.note, "changes": "sent from elsewhere"}
        found.append(empty | about | {"submission_id": id} | scores_at_kaggle(one, empty))
    return sorted(found, key=lambda row: row["time"])


def scores_at_kaggle(one: Any, row: Row) -> Row:
    """The scores of a submission; what Kaggle does not say stays."""
    public = "error" if one.status == "error" else one.public
    return {"public": public or row["public"], "private": one.private or row["private"]}

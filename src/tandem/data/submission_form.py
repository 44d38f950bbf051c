"""The form of a submission: what its cells hold and where, as in the sample submission."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tandem.artifacts.atomic_io import csv_text
from tandem.artifacts.user_files import read_start
from tandem.config.competition import Competition, SubmissionKind
from tandem.config.metric_names import METRIC_INFO
from tandem.config.questions import Question
from tandem.data.csv_reader import Table
from tandem.data.label_codec import LabelCodec
from tandem.data.label_lists import parse_list
from tandem.data.long_labels import JOINTS

SEPARATORS = (" ", ",", ";", "|", "/", "&", "+")  # between labels in one cell
DELIMITERS = (",", ";", "\t", "|")  # between columns
DIGITS = 6  # of a probability
HEAD = 2**20  # bytes of a file in which its header is
AT_ONCE = 10_000  # rows whose cells are made together


@dataclass(frozen=True)
class SubmissionForm:
    """How label sets or probabilities are written."""

    layout: Literal["cell", "joined", "columns", "long"]  # labels in one cell, in some; a column, or a row, a label
    values: Literal["labels", "flags", "probabilities"]  # names of labels, 0 and 1, or fractions
    columns: tuple[str, ...]  # the header
    id: str  # the column that names the row
    names: tuple[str, ...]  # of the labels
    value: str = ""  # cell: the column of labels; long: the column of 0, 1 or fractions
    label: str = ""  # long: the column that names the label; "" where the id's cell ends in it
    joint: str = "_"  # long without `label`: the text between id and label
    separator: str = " "  # cell: the text between two labels
    quote: str = ""  # cell: the quotes around each name of a list such as ["a", "b"]; "": no list
    delimiter: str = ","
    header: tuple[str, ...] = ()  # as the file writes it, where that differs from `columns`
    note: str = ""  # what the user should know about it

    @property
    def about(self) -> str:
        """What is written, in words."""
        what = {"labels": "label names", "flags": "0 and 1", "probabilities": "probabilities"}[self.values]
        where = {"cell": "one cell a row", "joined": "some cells a row", "columns": "a column a label"}
        return f"{what}, {where.get(self.layout, 'a row for each id and label')}"

    def to_csv(
        self, ids: Sequence[str], pred: np.ndarray, proba: np.ndarray, pairs: Sequence[tuple[str, str]] = ()
    ) -> str:
        """The text of the file, as `rows` are written."""
        return csv_text(*self.rows(ids, pred, proba, pairs), delimiter=self.delimiter)

    def rows(
        self, ids: Sequence[str], pred: np.ndarray, proba: np.ndarray, pairs: Sequence[tuple[str, str]] = ()
    ) -> Iterator[Sequence[str]]:
        """The header and the rows of the file for label sets (n, c) and probabilities (n, c); `pairs`: ids and labels
        of a long one, in order, by default of all rows and labels."""
        yield self.header or self.columns
        if self.layout == "long":
            yield from self._long_rows(ids, pred, proba, pairs or ((id, name) for id in ids for name in self.names))
            return
        for start in range(0, len(ids), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            cells = {self.id: list(ids[part])} | self._cells(pred[part], proba[part])
            yield from zip(*(cells[name] for name in self.columns), strict=True)

    def _cells(self, pred: np.ndarray, proba: np.ndarray) -> dict[str, list[str]]:
        if self.layout == "columns":
            return {name: [self._number(pred[i, j], proba[i, j]) for i in range(len(pred))] for j, name in
                    enumerate(self.names)}  # fmt: skip
        if self.layout == "cell":
            return {self.value: [self._cell(row) for row in pred.astype(bool)]}
        places = [name for name in self.columns if name != self.id]
        chosen = [[self.names[j] for j in np.flatnonzero(row)] + [""] * len(places) for row in pred]
        return {place: [row[k] for row in chosen] for k, place in enumerate(places)}

    def _long_rows(
        self, ids: Sequence[str], pred: np.ndarray, proba: np.ndarray, pairs: Iterable[tuple[str, str]]
    ) -> Iterator[list[str]]:
        row, column = {id: i for i, id in enumerate(ids)}, {name: j for j, name in enumerate(self.names)}
        for id, name in pairs:
            at = row[id], column[name]
            cells = {self.value: self._number(pred[at], proba[at])}
            cells |= {self.id: id, self.label: name} if self.label else {self.id: f"{id}{self.joint}{name}"}
            yield [cells[key] for key in self.columns]

    def _number(self, pred: np.integer, proba: np.floating) -> str:
        return str(int(pred)) if self.values == "flags" else f"{float(proba):.{DIGITS}g}"

    def _cell(self, row: np.ndarray) -> str:
        chosen = [self.names[j] for j in np.flatnonzero(row)]
        if not self.quote:
            return self.separator.join(chosen)
        return json.dumps(chosen, ensure_ascii=False) if self.quote == '"' else repr(chosen)

    def pairs(self, table: Table) -> list[tuple[str, str]]:
        """(id, label) of each row of a long table; raises ValueError naming the row that has none."""
        if self.label:
            return list(zip(table.column(self.id), table.column(self.label), strict=True))
        found = split_pairs(table.column(self.id), self.names, self.joint)
        if isinstance(found, int):
            cell = table.column(self.id)[found]
            raise ValueError(f"row {found + 1}: {cell!r} does not end in {self.joint!r} and a label")
        return found

    def ids(self, table: Table) -> list[str]:
        """The ids in order, each once in a long table."""
        return (
            list(dict.fromkeys(id for id, _ in self.pairs(table))) if self.layout == "long" else table.column(self.id)
        )

    def parse(self, table: Table) -> tuple[list[str], np.ndarray]:
        """(ids, (n, c) uint8, or float where probabilities are written); raises ValueError naming row and problem."""
        ids = self.ids(table)
        if self.layout == "long":
            return ids, self._parse_long(table, ids)
        if self.layout == "columns":
            columns = [self._parse_numbers(name, table.column(name)) for name in self.names]
            return ids, np.column_stack(columns) if columns else np.zeros((len(ids), 0))
        if self.layout == "joined":
            places = [table.column(name) for name in self.columns if name != self.id]
            return ids, LabelCodec(self.names, "\0").encode(["\0".join(row) for row in zip(*places, strict=True)])
        cells = table.column(self.value)
        if self.quote:
            cells = ["\0".join(read_list(cell, row)) for row, cell in enumerate(cells)]
        return ids, LabelCodec(self.names, "\0" if self.quote else self.separator).encode(cells)

    def _parse_long(self, table: Table, ids: Sequence[str]) -> np.ndarray:
        row, column = {id: i for i, id in enumerate(ids)}, {name: j for j, name in enumerate(self.names)}
        pairs, values = self.pairs(table), self._parse_numbers(self.value, table.column(self.value))
        out, there = np.zeros((len(ids), len(self.names)), values.dtype), np.zeros((len(ids), len(self.names)), bool)
        for k, (id, name) in enumerate(pairs):
            if name not in column:
                raise ValueError(f"row {k + 1}: {name!r} is not one of the {len(column)} known labels")
            if there[row[id], column[name]]:
                raise ValueError(f"row {k + 1}: a second value for {id!r} and {name!r}")
            out[row[id], column[name]], there[row[id], column[name]] = values[k], True
        return out

    def _parse_numbers(self, column: str, cells: Sequence[str]) -> np.ndarray:
        with suppress(ValueError):  # else the first wrong cell is named below
            found = np.array(cells, object).astype(float)
            if ((found >= 0) & (found <= 1)).all() and (self.values != "flags" or np.isin(found, (0, 1)).all()):
                return found.astype(np.uint8) if self.values == "flags" else found
        expected = "0 or 1" if self.values == "flags" else "a number from 0 to 1"
        out = np.zeros(len(cells), np.uint8 if self.values == "flags" else float)
        for row, cell in enumerate(cells):
            value = as_number(cell)
            if value is None or not 0 <= value <= 1 or (self.values == "flags" and value not in (0, 1)):
                raise ValueError(f"row {row + 1}: column {column!r} holds {cell!r}; expected {expected}")
            out[row] = value
        return out


def as_number(cell: str) -> float | None:
    """None where the cell is no finite number."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_list(cell: str, row: int) -> list[str]:
    """The names of a Python or JSON list; raises ValueError naming the row."""
    try:
        return parse_list(cell)
    except ValueError as error:
        raise ValueError(f"row {row + 1}: {error}") from error


def split_pairs(cells: Sequence[str], names: Sequence[str], joint: str) -> list[tuple[str, str]] | int:
    """(id, label) of cells such as ID_label, the longest label that fits; or the first row that ends in none."""
    longest_first, found = sorted(names, key=len, reverse=True), []
    for row, cell in enumerate(cells):
        name = next((name for name in longest_first if cell.endswith(joint + name)), None)
        if name is None:
            return row
        found.append((cell[: len(cell) - len(joint + name)], name))
    return found


def own_form(competition: Competition) -> SubmissionForm:
    """The form without a sample submission: that of the training rows, or a column of probabilities a label."""
    labels, kind = competition.labels, competition.submission
    id, names = competition.id, tuple(labels.names)
    if kind is None:
        by_format: dict[str, SubmissionKind] = {"columns": "flags", "long": "long"}
        kind = by_format.get(labels.format, "labels")
        kind = "probabilities" if competition.metric_needs == "probabilities" and kind != "long" else kind
    if kind == "labels" and labels.format == "joined":
        return SubmissionForm("joined", "labels", (id, *labels.columns), id, names)
    if kind == "labels":
        column, quote = labels.column or "labels", "'" if labels.format == "list" else ""
        separator = labels.separator if labels.format == "separated" else " "
        return SubmissionForm("cell", "labels", (id, column), id, names, column, separator=separator, quote=quote)
    if kind == "long":
        return SubmissionForm("long", _numbers(competition), (id, "value"), id, names, "value")
    return SubmissionForm("columns", kind, (id, *names), id, names)


def _numbers(competition: Competition) -> Literal["flags", "probabilities"]:
    return "probabilities" if competition.metric_needs == "probabilities" else "flags"


def sample_kind(table: Table, competition: Competition) -> SubmissionForm | Question:
    """The form of a sample submission; a Question where it contradicts the metric: fractions, and label sets scored.

    Raises ValueError where it has neither the labels as columns, nor as rows, nor one column beside the ids.
    """
    form, asked = layout_of(table, competition), competition.submission
    if form.layout in ("cell", "joined"):
        if asked in (None, "labels") and (asked or competition.metric_needs == "labels"):
            return form
        own = own_form(competition)
        why = f'{competition.metric} scores probabilities (submission = "labels" writes names)'
        return own if asked else replace(own, note=f"the sample submission holds names of labels, but {why}")
    if asked == "labels":
        return own_form(competition)
    cells = [table.column(form.value)] if form.layout == "long" else [table.column(name) for name in form.names]
    fractions = [cell for column in cells for cell in column if as_number(cell) not in (0, 1, None)]
    if asked in ("flags", "probabilities"):
        return replace(form, values=asked)
    if fractions and competition.metric_needs == "labels":
        return fractions_question(competition.metric, fractions[0])
    return replace(form, values="probabilities" if fractions else _numbers(competition))


def fractions_question(metric: str, cell: str) -> Question:
    """Which metric it is, where the sample submission holds fractions."""
    about = (
        f"the sample submission holds fractions such as {cell}, and {metric} scores label sets; where the judge wants "
        '0 and 1 all the same, set submission = "flags" instead'
    )
    ranking = {name: info.title for name, info in METRIC_INFO.items() if info.needs == "probabilities"}
    return Question("metric", about, ranking)


def layout_of(table: Table, competition: Competition) -> SubmissionForm:
    """Where the labels are; whether numbers are flags or probabilities is not decided yet."""
    id, names, columns = competition.id, tuple(competition.labels.names), tuple(table.columns)
    labels = competition.labels
    base = SubmissionForm("columns", "flags", columns, id, names)
    if sorted(columns) == sorted([id, *names]):
        return base
    if labels.format == "joined" and sorted(columns) == sorted([id, *labels.columns]):
        return replace(base, layout="joined", values="labels")
    if len(columns) == 2 and (long := _joined_pairs(table, base)):
        return long
    if len(columns) == 3 and id in columns and (long := _pair_columns(table, base)):
        return long
    if len(columns) == 2 and id in columns:
        (column,) = (name for name in columns if name != id)
        cells = [cell.strip() for cell in table.column(column) if cell.strip()]
        if cells and all(as_number(cell) not in (0, 1, None) and cell not in names for cell in cells):
            raise ValueError(f"column {column!r} holds numbers such as {cells[0]}; expected names of labels")
        separator, quote = _cell_style(cells, competition)
        return replace(base, layout="cell", values="labels", value=column, separator=separator, quote=quote)
    own = [id, *(names if labels.format != "separated" else [labels.column])]
    raise ValueError(f"its columns are {preview(columns)}; expected {preview(own)}")


def _joined_pairs(table: Table, base: SubmissionForm) -> SubmissionForm | None:
    """A row for each id and label, both in one cell, such as ID_label,0.5."""
    first = [base.id] if base.id in base.columns else list(base.columns)
    for column in first:
        (value,) = (name for name in base.columns if name != column)
        for joint in JOINTS:
            found = split_pairs(table.column(column), base.names, joint)
            if not isinstance(found, int) and {name for _, name in found} == set(base.names) and _numeric(table, value):
                return replace(base, layout="long", id=column, value=value, joint=joint)
    return None


def _pair_columns(table: Table, base: SubmissionForm) -> SubmissionForm | None:
    """A row for each id and label, in two columns."""
    for column in base.columns:
        (value,) = (name for name in base.columns if name not in (base.id, column)) if column != base.id else ("",)
        if column != base.id and set(table.column(column)) == set(base.names) and _numeric(table, value):
            return replace(base, layout="long", value=value, label=column)
    return None


def _numeric(table: Table, column: str) -> bool:
    return all(as_number(cell) is not None or not cell.strip() for cell in table.column(column))


def _cell_style(cells: Sequence[str], competition: Competition) -> tuple[str, str]:
    """(separator, quote) of cells with several labels: those of the training rows unless another separator fits."""
    labels, names = competition.labels, set(competition.labels.names)
    own = labels.separator if labels.format == "separated" else " "
    if cells and all(cell.startswith("[") and cell.endswith("]") for cell in cells):
        return own, '"' if any('"' in cell for cell in cells) else "'"

    def fits(separator: str) -> bool:
        return all({part.strip() for part in cell.split(separator) if part.strip()} <= names for cell in cells)

    if not cells and labels.format == "list":
        return own, "'"
    others = [separator for separator in SEPARATORS if not any(separator in name for name in names)]
    return own if fits(own) else next(filter(fits, others), own), ""


def preview(names: Sequence[str]) -> str:
    """The first four names, and how many there are if more."""
    return ", ".join(names[:4]) + (f", ... ({len(names)} in all)" if len(names) > 4 else "")


def as_written(path: Path, form: SubmissionForm) -> SubmissionForm:
    """The form with the delimiter and the header that the file has, where its first line has that many cells."""
    text = read_start(path, HEAD).decode("utf-8-sig", "replace")
    line = next((line for line in io.StringIO(text, newline="") if line.strip()), "")
    for delimiter in DELIMITERS:
        cells = next(csv.reader([line], delimiter=delimiter), [])
        if [cell.strip().lower() for cell in cells] == [name.strip().lower() for name in form.columns]:
            return replace(form, delimiter=delimiter, header=tuple(cells))
    return form

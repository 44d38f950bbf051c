"""Infers the label column(s) of a training table from their cells."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tandem.config.labels import Labels
from tandem.config.questions import Question
from tandem.data.csv_reader import Table
from tandem.data.label_codec import CellIssue, encode
from tandem.data.label_lists import looks_like_list, parse_list, write_list
from tandem.data.label_readings import Reading, cell_reading, flag_readings, joined_reading, joined_readings

METADATA = re.compile(r"(is|has|was)[_ ].*|(fe)?male|sex|gender|val(id)?|train|test|verified|reviewed|duplicate", re.I)
MEANINGS = {
    "blank": {
        "negative": "the row does not have the label",
        "unknown": "the cell counts neither in training nor in the score",
    }
}
MEANINGS["uncertain"] = MEANINGS["blank"] | {"positive": "the row has the label"}


@dataclass(frozen=True)
class LabelGuess:
    """Inferred labels of a training table; of the most likely reading, where a question is open."""

    labels: Labels
    least: int  # fewest labels of a row
    most: int
    counts: dict[str, int]  # rows of each label
    questions: list[Question]
    notes: list[str]  # what is certain, but worth saying


def guess_labels(
    train: Table, candidates: Sequence[str], answers: Mapping[str, Any] | None = None, named: Sequence[str] = ()
) -> LabelGuess:
    """The labels of the columns that the sample submission names, else of the candidates.

    answers  keys of the section labels that the user has given: never overridden
    named    columns of the training table that the sample submission names, without those of ids
    Raises ValueError where no column can hold labels, and with line and column where one odd cell stands among flags or
    lists.
    """
    answers, columns = answers or {}, list(named or candidates)
    found = _readings(train, columns, answers, bool(named))
    if not found:
        separated = "one column of separated names, such as cat|dog, or of lists, such as ['cat', 'dog']"
        expected = f"{separated}, or one column of flags, such as 0 and 1, for each label"
        raise ValueError(f"none of the columns {columns} holds labels; expected {expected}")
    fitting = [one for one in found if one.strong] or [one for one in found if not one.many] or found
    best = min(fitting, key=lambda one: (not _drops_none(one), not one.hinted, not one.several, len(one.labels.names)))
    questions = [*_which_reading(best, fitting, answers, bool(named)), *_which_names(best, answers, bool(named))]
    for issue in best.issues:
        raise ValueError(f"line {train.lines[issue.row]}: {issue.message}")
    labels = given_labels(best.labels, answers)
    cells = {name: train.column(name) for name in labels.table_columns}
    return summarise(train, labels, cells, questions, best.notes)


def given_labels(labels: Labels, answers: Mapping[str, Any], more: Sequence[str] = ()) -> Labels:
    """The labels with the answers that no reading depends on, and `more` of them."""
    keys = ("names", "blank", "uncertain", *more)
    given = {key: names_in(value) if key == "names" else value for key, value in answers.items() if key in keys}
    return Labels.model_validate(labels.model_dump() | given)


def summarise(
    table: Table,
    labels: Labels,
    cells: Mapping[str, Sequence[str]],
    questions: Sequence[Question] = (),
    notes: Sequence[str] = (),
) -> LabelGuess:
    """Counts the labels of `cells`, as `encode` takes them, and asks what blank and uncertain ones mean."""
    y, known, issues = encode(labels, cells)
    complete = y if known is None or not known.all(1).any() else y[known.all(1)]
    least, most = int(complete.sum(1).min()), int(y.sum(1).max())
    counts = dict(zip(labels.names, y.sum(0).tolist(), strict=True))
    return LabelGuess(labels, least, most, counts, [*questions, *_meanings(table, issues)], list(notes))


def _readings(train: Table, columns: Sequence[str], answers: Mapping[str, Any], named: bool) -> list[Reading]:
    form, names, joined = (answers.get(key) for key in ("format", "names", "columns"))
    chosen = names_in(names)
    if form == "columns" or (form is None and "column" not in answers and chosen and {*chosen} <= {*train.columns}):
        return flag_readings(train, chosen or columns, named=named or bool(chosen))
    if joined:
        return [joined_reading(train, names_in(joined))]
    if form == "joined":
        return joined_readings(train, columns)
    flags = flag_readings(train, columns, named) if form is None and "column" not in answers else []
    used = {name for reading in flags for name in reading.labels.names}
    texts = [answers["column"]] if "column" in answers else [name for name in columns if name not in used]
    several = joined_readings(train, texts) if form is None else []
    one_cell = [reading for name in texts if (reading := cell_reading(train, name, answers))]
    return [*flags, *several, *(one for one in one_cell if form in (None, one.labels.format))]


def names_in(value: Any) -> list[str]:
    """A list that may be written in one text.

    >>> names_in(["cat"]), names_in('["a,b", "c"]'), names_in("cat, dog")
    (['cat'], ['a,b', 'c'], ['cat', 'dog'])
    """
    if isinstance(value, str):
        return parse_list(value) if looks_like_list(value) else [part.strip() for part in value.split(",")]
    return list(value or ())


def _drops_none(reading: Reading) -> bool:
    """Whether it joins columns, of which one alone would drop labels."""
    return reading.labels.format == "joined"


def _which_reading(
    best: Reading, fitting: list[Reading], answers: Mapping[str, Any], named: bool
) -> Iterator[Question]:
    kinds = {"one cell" if one.labels.column else one.labels.format: one for one in reversed([best, *fitting])}
    if len(fitting) > 1 and not (named and _drops_none(best)):
        if len(kinds) > 1:
            seen: dict[str, str] = {one.labels.format: f"{one.place}, such as {one.example}" for one in kinds.values()}
            yield Question("labels.format", "the columns can be read as labels in more than one way", seen)
        else:
            key = {"columns": "labels.names", "joined": "labels.columns"}.get(best.labels.format, "labels.column")
            yield Question(key, "more than one column can hold the labels", {o.place: o.example for o in fitting})
    elif best.many and not named and "column" not in answers:
        about = f"column {best.labels.column!r} gives {len(best.labels.names):,} names, as ids or texts do"
        yield Question("labels.column", about, {best.place: best.example})


def _which_names(best: Reading, answers: Mapping[str, Any], named: bool) -> Iterator[Question]:
    if best.separators:
        about = f"the names in column {best.labels.column!r} can be cut in more than one way"
        yield Question("labels.separator", about, best.separators)
    if best.labels.format != "columns" or named or "names" in answers:
        return
    names = best.labels.names
    others = [name for name in names if METADATA.fullmatch(name)]
    if 0 < len(others) < len(names):
        about = f"{', '.join(others)} may describe the row instead of being labels"
        rest = write_list([name for name in names if name not in others])
        yield Question("labels.names", about, {rest: f"without {', '.join(others)}", write_list(names): "all"})


def _meanings(table: Table, issues: Sequence[CellIssue]) -> Iterator[Question]:
    """Questions on blank and uncertain cells of flags."""
    for key, candidates in MEANINGS.items():
        if found := [issue for issue in issues if issue.kind == f"{key} label"]:
            more = f"; {len(found)} columns have such cells" if len(found) > 1 else ""
            about = f"line {table.lines[found[0].row]}: {found[0].message}{more}"
            yield Question(f"labels.{key}", about, candidates)

"""Infers whether a table is long: a row for each id and label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tandem.config.labels import Labels
from tandem.config.questions import Question
from tandem.data.csv_reader import Table
from tandem.data.flags import ODD, POSITIVE, read_flag
from tandem.data.infer_labels import LabelGuess, given_labels, summarise
from tandem.data.label_codec import natural_key
from tandem.data.label_readings import HINTS
from tandem.data.long_labels import JOINTS, widen


@dataclass(frozen=True)
class LongReading:
    """A way to read a table as a long one."""

    id: str  # the column of ids
    labels: Labels
    questions: Sequence[Question] = ()


def guess_long(
    table: Table, name_images: Callable[[Sequence[str]], bool], answers: Mapping[str, Any] | None = None
) -> tuple[str, LabelGuess] | None:
    """(column of ids, labels), or None where the table has a row for each id, or no one reading fits.

    name_images says whether cells, such as those of a column, name images; answers as `guess_labels` takes them.
    """
    answers = answers or {}
    if answers.get("format", "long") != "long":
        return None
    found = [guess for id in table.columns if (guess := _joined(table, id, name_images))]
    found = found or [guess for id in table.columns if (guess := _paired(table, id, name_images))]
    if len(found) > 1:  # ids and labels could be told apart either way round
        named = [guess for guess in found if name_images(table.column(guess.id))]
        found = named or [max(found, key=lambda guess: len(set(table.column(guess.id))))]
    if len(found) != 1:
        return None
    id, labels = found[0].id, given_labels(found[0].labels, answers, ("column", "separator", "value"))
    wide, cells = widen(table, id, labels)
    questions = [question for question in found[0].questions if question.key.removeprefix("labels.") not in answers]
    return id, summarise(wide, labels, cells, questions)


def _joined(table: Table, id: str, name_images: Callable[[Sequence[str]], bool]) -> LongReading | None:
    """Id and label in one cell: cut at the last joint, the cells are all pairs of some ids and labels."""
    cells, flags = table.column(id), [name for name in table.columns if name != id and _holds_flags(table.column(name))]
    if len(flags) != 1 or len(set(cells)) < len(cells) or name_images(cells):
        return None
    for joint in JOINTS:
        cut = [cell.rpartition(joint) for cell in cells]
        ids, names = {before for before, _, _ in cut}, {label for _, _, label in cut}
        full = len(ids) * len(names) == len(cells) and min(len(ids), len(names)) > 1
        if full and "" not in ids | names and not all(map(str.isdecimal, names)):
            if len(names) == 2 and not name_images(sorted(ids)):
                return None  # such as the left and the right eye of each patient
            ordered = list(dict.fromkeys(label for _, _, label in cut))
            return LongReading(id, Labels(format="long", separator=joint, value=flags[0], names=ordered))
    return None


def _paired(table: Table, id: str, name_images: Callable[[Sequence[str]], bool]) -> LongReading | None:
    """Columns of ids and labels, and nothing else that differs between rows of one id but flags."""
    ids = table.column(id)
    n = len(set(ids))
    varying = [name for name in table.columns if len(set(zip(ids, table.column(name), strict=True))) > n]
    flags = [name for name in varying if _holds_flags(table.column(name))]
    texts = [name for name in varying if name not in flags]
    if len(texts) != 1 or len(flags) > 1 or n == len(ids):
        return None
    cells = [cell.strip() for cell in table.column(texts[0])]
    hinted = [name for name in table.columns if HINTS.search(name)]
    if any(map(_holds_texts, (ids, cells))) or name_images(cells) or (hinted and texts[0] not in hinted):
        return None
    names = sorted(set(cells) - {""}, key=natural_key)
    if len(set(zip(ids, cells, strict=True))) < len(ids) or not 0 < 2 * len(names) <= len(ids):
        return None
    value, questions = flags[0] if flags else "", []
    if value and n * len(names) > len(ids):  # else every id has every label, and only the value tells them apart
        about = f"the table has a row for some pairs of {id!r} and {texts[0]!r}, and a column {value!r} of flags"
        candidates = {value: f"{value} says whether the label is there", "": "each row is a label that is there"}
        questions.append(Question("labels.value", about, candidates))
    return LongReading(id, Labels(format="long", column=texts[0], value=value, names=names), questions)


def _holds_flags(cells: Sequence[str]) -> bool:
    codes = {read_flag(cell)[0] for cell in set(cells)}
    return ODD not in codes and POSITIVE in codes


def _holds_texts(cells: Sequence[str]) -> bool:
    """Whether the cells are of more than three words on average."""
    return sum(len(cell.split()) for cell in cells) > 3 * len(cells)

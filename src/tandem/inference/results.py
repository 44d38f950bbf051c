"""Predictions for new images, and their file: CSV or JSON lines, which a stopped run continues."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

from tandem.artifacts.atomic_io import csv_text
from tandem.artifacts.column_names import own_column
from tandem.config.labels import Labels

# bytes of a file name that are not UTF-8 are written as \udc80 to \udcff
TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}


@dataclass(frozen=True)
class TrainingRow:
    """The training row that an image is, and which models labelled it therefore."""

    id: str  # "" in a bundle, which holds no ids
    fold: int | None  # whose models labelled it, because they were not trained on it; None where there are none
    note: str  # the same as a sentence


@dataclass(frozen=True)
class LabelledImage:
    """The prediction for one image, or the reason why there is none."""

    image: str
    labels: tuple[str, ...] = ()  # most probable first
    proba: dict[str, float] | None = None  # of all labels; None where the image cannot be read
    problem: str = ""  # why it cannot be read
    terms: dict[str, dict[str, float]] | None = None  # if requested, {label: {term: part of the logit}}
    without_caption: bool = False  # predicted from the image only, because the caption is missing
    training: TrainingRow | None = None  # where the image is in the training set


def label_separator(labels: Labels) -> str:
    """The text between two labels: the competition's separator, or the first text that no name contains.

    >>> label_separator(Labels(format="columns", names=["fire hydrant", "cat"]))
    '|'
    """
    candidates = chain((labels.separator, "|", ";", ", "), map(chr, range(0x2016, 0x110000)))
    return next(s for s in candidates if s and not any(s in name for name in labels.names))


def header(names: Sequence[str]) -> list[str]:
    """Columns of a CSV file; the probability of a label is in the column of its name, whatever it is."""
    image, labels, caption, problem = (own_column(name, names) for name in ("image", "labels", "caption", "problem"))
    return [image, labels, *names, caption, problem]


def format_line(result: LabelledImage, names: Sequence[str], separator: str, json_lines: bool) -> str:
    """A CSV row (see `header`) or a JSON object, with the line end; `caption` is whether the caption was used."""
    if json_lines:
        content: dict[str, Any] = {"image": result.image, "labels": list(result.labels)}
        content |= {"proba": _rounded(result.proba), "caption": None if result.problem else not result.without_caption}
        content |= {"problem": result.problem} if result.problem else {}
        content |= {"training": asdict(result.training)} if result.training else {}
        terms = {name: _rounded(terms) for name, terms in (result.terms or {}).items()}
        content |= {"terms": terms} if terms else {}
        return json.dumps(content, ensure_ascii=False) + "\n"
    proba = [f"{result.proba[name]:.4f}" if result.proba else "" for name in names]
    caption = "" if result.problem else ("no" if result.without_caption else "yes")
    return csv_text([result.image, separator.join(result.labels), *proba, caption, result.problem])


def _rounded(values: dict[str, float] | None) -> dict[str, float] | None:
    return values and {name: round(value, 4) for name, value in values.items()}


def escaped_name(name: str) -> str:
    """The name of an image as it is read back from a file written with TEXT."""
    return name.encode("utf-8", "backslashreplace").decode()


def read_finished(path: Path, names: Sequence[str]) -> dict[str, str]:
    """{image: problem or ""} of the images already in `path`, names as `escaped_name` gives them; removes an incomplete
    last row, left by a stopped run. Raises ValueError where the file has another format."""
    if not path.exists():
        return {}
    rows_of, images, complete = _json_rows if path.suffix == ".jsonl" else _csv_rows, dict[str, str](), 0
    try:
        with path.open("r+", encoding="utf-8", newline="\n") as file:
            lines = takewhile(lambda line: line.endswith("\n"), iter(file.readline, ""))
            for row in rows_of(lines, header(names)):
                images |= row
                complete = file.tell()
            file.seek(complete)
            file.truncate()
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(f"{path}: not written by make predict ({error}); choose another OUT") from error
    return images


def _json_rows(lines: Iterable[str], header: list[str]) -> Iterator[dict[str, str]]:
    """{image: problem} of each line."""
    for line in lines:
        content = json.loads(line)
        name, proba = content["image"], content["proba"]
        if not isinstance(name, str):
            raise ValueError(f"image {name!r} is not a name")
        if proba is not None and list(proba) != header[2:-2]:
            raise ValueError(f"its labels are {list(proba)[:3]}..., expected {header[2:-2][:3]}...")
        yield {escaped_name(name): str(content.get("problem") or "")}


def _csv_rows(lines: Iterable[str], header: list[str]) -> Iterator[dict[str, str]]:
    """{} of the header, and {image: problem} of each complete row."""
    complete = True
    for i, row in enumerate(csv.reader(lines)):
        if not complete:  # and not the last row
            raise ValueError(f"row {i} does not have {len(header)} cells")
        if i == 0 and row != header:
            raise ValueError(f"its header is {row[:3]}..., expected {header[:3]}...")
        if complete := len(row) == len(header):
            yield {row[0]: row[-1]} if i else {}

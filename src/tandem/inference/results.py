"""What was found on one image, and the file of it: CSV or JSON lines, from which a killed run goes on."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tandem.config.competition import Labels

# a file name need not be UTF-8: its other bytes are written as \udc80 to \udcff
TEXT = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}


@dataclass(frozen=True)
class Found:
    """What is on one image, or why it can't be told.

    labels   most probable first
    proba    of every label; None of an image that can't be read
    problem  why it can't; "" otherwise
    terms    where they were asked for: what moved each label's logit, by the names of tandem.artifacts.contributions.TERMS
    blind    told from the photo alone, because its caption is missing
    """

    image: str
    labels: tuple[str, ...] = ()
    proba: dict[str, float] | None = None
    problem: str = ""
    terms: dict[str, dict[str, float]] | None = None
    blind: bool = False

    def named(self, image: str) -> "Found":
        return replace(self, image=image)


def separator_of(labels: Labels) -> str:
    """What stands between two labels: the competition's own, or the first that no name holds.

    >>> separator_of(Labels(format="columns", names=["fire hydrant", "cat"]))
    '|'
    """
    tried = (labels.separator, "|", ";", ", ")
    return next((s for s in tried if not any(s in name for name in labels.names)), labels.separator)


def header(names: Sequence[str]) -> list[str]:
    return ["image", "labels", *names, "caption", "problem"]


def as_line(found: Found, names: Sequence[str], separator: str, json_lines: bool) -> str:
    """A CSV row of labels joined, probabilities, and whether a caption was read; or a JSON object."""
    if json_lines:
        about = {"image": found.image, "labels": list(found.labels), "proba": _rounded(found.proba)}
        about["caption"] = None if found.problem else not found.blind
        about |= {"problem": found.problem} if found.problem else {}
        terms = {name: _rounded(terms) for name, terms in (found.terms or {}).items()}
        about |= {"terms": terms} if terms else {}
        return json.dumps(about, ensure_ascii=False) + "\n"
    proba = [f"{found.proba[name]:.4f}" if found.proba else "" for name in names]
    caption = "" if found.problem else ("no" if found.blind else "yes")
    return csv_line([found.image, separator.join(found.labels), *proba, caption, found.problem])


def _rounded(values: dict[str, float] | None) -> dict[str, float] | None:
    return values and {name: round(value, 4) for name, value in values.items()}


def csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def as_written(name: str) -> str:
    """The name of an image as it comes back from a file of TEXT."""
    return name.encode("utf-8", "backslashreplace").decode()


def done(path: Path, names: Sequence[str]) -> dict[str, str]:
    """The images that `path` holds already, `as_written`, each with its problem or "".

    Half a row, which a killed run left at its end, is cut off.

    Raises ValueError where it holds something else.
    """
    if not path.exists():
        return {}
    json_lines = path.suffix == ".jsonl"
    try:
        with path.open("r+", encoding="utf-8", newline="") as file:
            images, whole = (_json_lines if json_lines else _csv_rows)(file, header(names))
            file.seek(0)
            file.truncate(len(file.read(whole).encode()))
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(f"{path}: not what labelling writes ({error}); name another OUT") from error
    return images


def _json_lines(lines: Iterator[str], header: list[str]) -> tuple[dict[str, str], int]:
    """(images and their problems, characters of whole lines)"""
    images, whole = {}, 0
    for line in lines:
        if line.endswith("\n"):
            found = json.loads(line)
            name, proba = found["image"], found["proba"]
            if not isinstance(name, str):
                raise ValueError(f"image {name!r} is no name")
            if proba is not None and list(proba) != header[2:-2]:
                raise ValueError(f"its labels are {list(proba)[:3]}..., expected {header[2:-2][:3]}...")
            images[as_written(name)] = str(found.get("problem") or "")
            whole += len(line)
    return images, whole


def _csv_rows(lines: Iterator[str], header: list[str]) -> tuple[dict[str, str], int]:
    """(images and their problems, characters of whole rows, the header among them)"""
    images, whole, read, ended, half = {}, 0, 0, False, False

    def counted() -> Iterator[str]:
        nonlocal read, ended
        for line in lines:
            read, ended = read + len(line), line.endswith("\n")
            yield line

    for i, row in enumerate(csv.reader(counted())):
        if half:  # and yet not the last
            raise ValueError(f"row {i} has not {len(header)} cells")
        half = len(row) != len(header) or not ended
        if i == 0 and ended and row != header:
            raise ValueError(f"its header is {row[:3]}..., expected {header[:3]}...")
        if half:
            continue
        if i:
            images[row[0]] = row[-1]
        whole = read
    return images, whole

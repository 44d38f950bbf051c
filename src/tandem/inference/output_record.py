"""The record beside a file of labels: which models made it and from which captions, so that no other models add rows.

It is called as the file with `.json` added, such as `labels.csv.json`.
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tandem.artifacts.atomic_io import digest, read_json, write_json
from tandem.data.split_tables import has_caption
from tandem.graph.keys import reason

AGAIN = "AGAIN=1 labels all of them anew and replaces the file, or choose another OUT"
HEAD = 2**16  # bytes of a file from which its first line is read


def record_file(out: Path) -> Path:
    return out.with_name(out.name + ".json")


def check_record(out: Path, made_by: Mapping[str, Any]) -> None:
    """Raises ValueError where there are rows in `out` that other models made, or there is no record of these."""
    if not _has_rows(out):
        return
    file = record_file(out)
    if not file.is_file():
        raise ValueError(f"OUT={out} exists, but not {file.name}, which says by which models it was labelled; {AGAIN}")
    if (before := _read(file)["made_by"]) != made_by:
        raise ValueError(f"OUT={out} was labelled by other models ({reason(before, made_by)}); {AGAIN}")


def check_captions(out: Path, captions: Mapping[str, str], done: Mapping[str, str]) -> None:
    """Raises ValueError where an image that is in `out` already had another caption then; `captions` by image."""
    before = _read(record_file(out))["captions"] if done else {}
    changed = [image for image, text in captions.items() if image in done and _digest(text) != before.get(image, "")]
    if changed:
        one = f"{len(changed):,} images that are in it have another caption now, such as {changed[0]!r}"
        raise ValueError(f"OUT={out}: {one}; {AGAIN}")


def write_record(out: Path, made_by: Mapping[str, Any], captions: Mapping[str, str]) -> None:
    """Also of the captions of rows that an earlier run wrote; called before the first row is."""
    before = _read(record_file(out))["captions"] if _has_rows(out) else {}
    now = {image: _digest(text) for image, text in captions.items() if has_caption(text)}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(record_file(out), {"made_by": made_by, "captions": before | now})


def start_anew(out: Path) -> None:
    """Removes a file of labels and its record; raises ValueError where the file has other content."""
    if _has_rows(out) and not record_file(out).is_file() and not _looks_like_labels(out):
        raise ValueError(f"{out}: not written by make predict, so AGAIN=1 does not replace it; choose another OUT")
    for file in (out, record_file(out)):
        file.unlink(missing_ok=True)


def _has_rows(out: Path) -> bool:
    return out.is_file() and out.stat().st_size > 0


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """Raises ValueError where it is no such record."""
    try:
        content = read_json(file)
        if all(isinstance(content[key], dict) for key in ("made_by", "captions")):
            return content
        raise ValueError("expected made_by and captions")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not what make predict writes beside its file ({error}); {AGAIN}") from error


def _looks_like_labels(out: Path) -> bool:
    with out.open("rb") as file:
        line = file.read(HEAD).split(b"\n")[0].decode("utf-8", "replace")
    try:
        if out.suffix == ".jsonl":
            return {"image", "labels", "proba"} <= set(json.loads(line))
        row = next(csv.reader([line]), [])
        return row[:2] == ["image", "labels"] and row[-1:] == ["problem"]
    except (ValueError, TypeError, csv.Error):
        return False


def _digest(caption: str) -> str:
    """ "" where there is no caption."""
    return digest(caption)[:8] if has_caption(caption) else ""

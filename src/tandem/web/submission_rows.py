"""POST /csv: labels of photos -> the text of a CSV file in the form of the submission, and the ids of its rows."""

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, load_competition
from tandem.data.image_names import id_of_image
from tandem.data.split_tables import read_image_rows
from tandem.data.submission import submission_form

MAX_CELLS = 50_000_000  # rows times labels


class SubmissionRows:
    """Writes labelled photos as the submission is written; the name of a known image is mapped to its id."""

    def __init__(self, paths: Paths) -> None:
        """Raises ValueError where the sample submission fits neither the labels nor the metric."""
        self.competition = load_competition(paths.competition)
        self.form = submission_form(self.competition, paths.input)
        self.known = known_ids(paths, self.competition)

    @property
    def about(self) -> dict[str, str]:
        """`form`, what is written, and `ids`, how they are formed, in words; `values`: labels, flags, probabilities."""
        return {"form": self.form.about, "ids": about_ids(self.competition), "values": self.form.values}

    def id_of(self, name: str) -> str:
        """The id of a photo by the name of its file; another text is an id already."""
        return self.known.get(PurePosixPath(name).name) or id_of_image(self.competition, name)

    def to_csv(self, rows: object) -> str:
        """`rows`: objects with `id` (an id, or the name of a file), `labels`, and perhaps `proba`, {label: number}.

        Without `proba`, a form of probabilities holds 1 and 0. Raises ValueError naming the row and the problem.
        """
        names = self.form.names
        if not isinstance(rows, list) or not rows:
            raise ValueError('rows: expected a list of objects such as {"id": "1.jpg", "labels": ["cat"]}')
        if len(rows) * len(names) > MAX_CELLS:
            most = MAX_CELLS // len(names)
            raise ValueError(f"rows: {len(rows):,} of {len(names):,} labels; expected at most {most:,} in one request")
        column = {name: j for j, name in enumerate(names)}
        pred, proba = np.zeros((len(rows), len(names)), np.uint8), np.zeros((len(rows), len(names)))
        ids: dict[str, int] = {}
        for i, (id, row) in enumerate(zip(self._ids(rows), rows, strict=True)):
            where = f"row {i + 1}"
            if ids.setdefault(id, i) != i:
                raise ValueError(f"{where}: the id {id!r} is that of row {ids[id] + 1} too; expected one row an id")
            pred[i, [column[name] for name in _labels(row.get("labels"), names, where)]] = 1
            proba[i] = pred[i] if row.get("proba") is None else _numbers(row["proba"], names, where)
        return self.form.to_csv(list(ids), pred, proba)

    def _ids(self, rows: list) -> list[str]:
        """The id of each row; files of one name in several folders keep their whole paths."""
        for i, row in enumerate(rows):
            if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not row["id"]:
                raise ValueError(f"row {i + 1}: expected an object with a text `id` and a list `labels`")
        ids = [self.id_of(row["id"]) for row in rows]
        count = Counter(ids)
        return [row["id"] if count[id] > 1 else id for id, row in zip(ids, rows, strict=True)]


def known_ids(paths: Paths, competition: Competition) -> dict[str, str]:
    """{name of the file: id} of the competition's images, without names that stand for more than one id."""
    found: dict[str, set[str]] = {}
    for split in competition.splits if competition.images else ():
        if paths.images(split).is_file():
            rows = read_image_rows(paths.images(split))
            for file, id in zip(rows["file"], rows["id"], strict=True):
                found.setdefault(PurePosixPath(file or "").name, set()).add(id)
    return {name: next(iter(ids)) for name, ids in found.items() if name and len(ids) == 1}


def about_ids(competition: Competition) -> str:
    """How the ids of new photos are formed from the names of their files."""
    if competition.image_column != competition.id:
        return f"known images have their {competition.id}; others the name of the file"
    if competition.image_name:
        return f"the part of the file name that {competition.image_name} calls id"
    if competition.suffix:
        return "the file name without its suffix"
    return "the file name"


def _labels(labels: object, names: tuple[str, ...], where: str) -> list[str]:
    if not isinstance(labels, list):
        raise ValueError(f"{where}: labels is {labels!r:.80}; expected a list of names")
    if wrong := [one for one in labels if one not in names]:
        raise ValueError(f"{where}: label {wrong[0]!r:.80}: expected one of {', '.join(names)}")
    return labels


def _numbers(proba: object, names: tuple[str, ...], where: str) -> list[float]:
    if not isinstance(proba, Mapping) or set(proba) != set(names):
        raise ValueError(f"{where}: proba: expected a number for each of the {len(names)} labels")
    values: list[Any] = [proba[name] for name in names]
    if wrong := [one for one in values if type(one) not in (int, float) or not 0 <= one <= 1]:
        raise ValueError(f"{where}: proba is {wrong[0]!r:.80}; expected a number from 0 to 1")
    return values

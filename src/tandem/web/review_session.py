"""Questions about labels and their answers: each answer is written to corrections.csv before the next question."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition
from tandem.data.corrections import BY_HAND, Correction, GivenLabels, Limits, read_corrections, write_corrections
from tandem.report.data_model import Split
from tandem.report.review_queue import Question

Cell = tuple[str, str]  # id, label


def next_steps(paths: Paths, applied: bool) -> list[str]:
    """What makes the corrections count."""
    first = [] if applied else [f"set corrections = true in {paths.competition}, above its first [section]"]
    return [*first, f"make submit COMP={paths.comp}"]


class ReviewSession:
    """A review of the training labels of one competition.

    proba  (n, c) of the experiment `served`, out of fold
    """

    def __init__(
        self,
        paths: Paths,
        competition: Competition,
        served: str,
        train: Split,
        given: GivenLabels,
        proba: np.ndarray,
        questions: Sequence[Question],
    ) -> None:
        self.paths, self.served, self.train, self.given, self.proba = paths, served, train, given, proba
        self.limits, self.questions = Limits(competition.least, competition.most), list(questions)
        self.applied = bool(competition.corrections)
        self.column = {name: j for j, name in enumerate(given.names)}
        self.asked = {self._cell(question): number for number, question in enumerate(self.questions)}
        self._before: list[tuple[int, dict[Cell, Correction | None]]] = []  # what each answer replaced

    @property
    def about(self) -> dict[str, Any]:
        """What the page shows besides a question."""
        return {
            "competition": self.paths.comp,
            "served": self.served,
            "file": self.paths.corrections.as_posix(),
            "next": next_steps(self.paths, self.applied),
            "questions": len(self.questions),
            **self.progress(),
        }

    def progress(self) -> dict[str, Any]:
        """The numbers of the open questions, and how many labels of how many rows are corrected so far."""
        found = self._read()
        changed = [id for (id, _), one in found.items() if one.changes]
        answered = [k for cell, k in self.asked.items() if cell in found]
        left = sorted(set(range(len(self.questions))) - set(answered))
        return {"open": left, "labels": len(changed), "rows": len(set(changed)), "undo": len(self._before)}

    def question(self, number: int) -> dict[str, Any]:
        """The row, its labels as they are now, most probable first, and which of them is asked about."""
        asked = self._asked(number)
        now, proba = self._labels(asked.row, self._read()), self.proba[asked.row].tolist()
        labels = [
            {"name": name, "given": value, "proba": round(p, 4)}
            for name, value, p in zip(self.given.names, now, proba, strict=True)
        ]
        captions = self.train.captions
        return {
            "number": number,
            "id": self.train.ids[asked.row],
            "caption": captions[asked.row] if captions else None,
            "photo": self.photo(number) is not None,
            "label": self.given.names[asked.label],
            "suspected_by": asked.suspected_by,
            "labels": sorted(labels, key=lambda one: -one["proba"]),
        }

    def photo(self, number: int) -> Path | None:
        """None where the competition has no images."""
        return self.train.files[self._asked(number).row] if self.train.files else None

    def answer(self, number: int, labels: Mapping[str, int]) -> dict[str, Any]:
        """Writes what `labels` of the question's row are; returns the progress.

        An unchanged label is written too where it is asked about: it is right. Raises ValueError where a label or a
        value is unknown, or the row would have too few or too many labels.
        """
        asked, found = self._asked(number), self._read()
        row, now = self.train.ids[asked.row], self._labels(asked.row, found)
        if self._cell(asked)[1] not in labels:
            raise ValueError(f"labels: {self._cell(asked)[1]!r} is asked about and not among them")
        after, replaced = list(now), dict[Cell, Correction | None]()
        for name, value in labels.items():
            if name not in self.column:
                raise ValueError(f"label {name!r:.80}: expected one of {', '.join(self.given.names)}")
            if type(value) is not int or value not in (0, 1):
                raise ValueError(f"label {name!r} is {value!r:.20}; expected 0 or 1")
            j, cell = self.column[name], (row, name)
            after[j] = value
            if value != now[j] or cell in self.asked:
                replaced[cell] = found.get(cell)
                was = self.given.of(asked.row)[j]
                found[cell] = Correction(row, name, was, value, self._suspected_by(cell, replaced[cell]))
        if after != now and (wrong := self.limits.problem(after)):
            raise ValueError(f"the row then has {wrong}; edit all its labels at once")
        write_corrections(self.paths.corrections, list(found.values()))
        self._before.append((number, replaced))
        return self.progress()

    def undo(self) -> dict[str, Any]:
        """Takes the last answer of this session back; returns its `number`, None where there is none, and the
        progress."""
        if not self._before:
            return {"number": None, **self.progress()}
        found, (number, replaced) = self._read(), self._before.pop()
        for cell, before in replaced.items():
            if before is None:
                found.pop(cell, None)
            else:
                found[cell] = before
        write_corrections(self.paths.corrections, list(found.values()))
        return {"number": number, **self.progress()}

    def _read(self) -> dict[Cell, Correction]:
        """The file as it is now: it may be edited by hand while the page is open."""
        return {one.cell: one for one in read_corrections(self.paths.corrections)}

    def _asked(self, number: int) -> Question:
        if not 0 <= number < len(self.questions):
            raise ValueError(f"question {number}: there are {len(self.questions)}, from 0")
        return self.questions[number]

    def _cell(self, question: Question) -> Cell:
        return self.train.ids[question.row], self.given.names[question.label]

    def _labels(self, row: int, found: Mapping[Cell, Correction]) -> list[int | None]:
        """(c,) of one row, as they are now."""
        id, given = self.train.ids[row], self.given.of(row)
        cells = (found.get((id, name)) for name in self.given.names)
        return [value if one is None else one.now for value, one in zip(given, cells, strict=True)]

    def _suspected_by(self, cell: Cell, before: Correction | None) -> str:
        if cell in self.asked:
            return self.questions[self.asked[cell]].suspected_by
        return before.suspected_by if before else BY_HAND

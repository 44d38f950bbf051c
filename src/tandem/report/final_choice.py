"""The two files for the final choice: the best cross-fitted one, and the most different one that may be as good."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tandem.artifacts import journal
from tandem.artifacts.atomic_io import file_digest
from tandem.data.labelled_rows import LabelledRows
from tandem.decoding import Rule
from tandem.graph.experiment_dir import Experiments
from tandem.report.compare import Gain
from tandem.report.sides import Side, of_experiment, of_row, read_side


@dataclass(frozen=True)
class Candidate:
    """A submission file with its out-of-fold predictions.

    gain         over the best one
    correlation  of its out-of-fold errors with those of the best one
    """

    side: Side
    score: float
    gain: Gain
    correlation: float

    @property
    def may_be_as_good(self) -> bool:
        return self.gain.high >= 0


def sides(experiments: Experiments) -> tuple[list[Side], list[str]]:
    """(what has a submission file and out-of-fold predictions, titles of rows whose files are gone)."""
    paths, rows, gone = experiments.paths, journal.read(experiments.paths), []
    found = dict[tuple[str, str], Side]()  # by the file's digest and name: several decoders may write the same file
    for i, row in enumerate(rows):
        side = of_row(paths, rows, i)
        if side.submission and side.oof:
            found[row["digest"], row["name"]] = side
        else:
            gone.append(side.title)
    for one in experiments.scored():
        side = of_experiment(paths, one.name)
        if side.submission and side.oof:
            found.setdefault((file_digest(side.submission), one.name), side)
    return list(found.values()), gone


def candidates(experiments: Experiments, given: Sequence[Side], rows: LabelledRows, rule: Rule) -> list[Candidate]:
    """Best first, each submission file once."""
    scored = [read_side(side, experiments, rows, rule).scored for side in given]
    scores = [rule.score(rows.y, values, rows.known) for values in scored]
    best = max(range(len(scores)), key=lambda i: rule.judge.merit(scores[i]))
    found = [
        Candidate(
            side,
            scores[i],
            Gain(*rule.gain(rows.y, scored[best], scored[i], rows.group, rows.known)),
            error_correlation(rows.y, scored[best], scored[i], rows.known),
        )
        for i, side in enumerate(given)
    ]
    files = dict[str, Candidate]()
    for one in sorted(found, key=lambda one: -rule.judge.merit(one.score)):
        files.setdefault(file_digest(one.side.submission) if one.side.submission else "", one)
    return list(files.values())


def error_correlation(y: np.ndarray, a: np.ndarray, b: np.ndarray, known: np.ndarray | None = None) -> float:
    """Of the errors of two predictions over all rows and labels; 1 where one of them makes the same error everywhere.

    >>> y = np.array([[1, 0, 1, 0]])
    >>> error_correlation(y, np.array([[1, 0, 0, 0]]), np.array([[1, 0, 0, 0]]))
    1.0
    """
    cells = np.ones(y.shape, bool) if known is None else known
    errors = [(y.astype(float) - one.astype(float))[cells] for one in (a, b)]
    if any(np.ptp(one) == 0 for one in errors):
        return 1.0
    return round(float(np.corrcoef(*errors)[0, 1]), 12)


def choose_two(found: Sequence[Candidate]) -> tuple[Candidate, Candidate | None, str]:
    """(the first, the second, why the second in words); None where there is no other."""
    first, *others = found
    if not others:
        return first, None, "there is no other submission file with out-of-fold predictions"
    if near := [one for one in others if one.may_be_as_good]:
        second = min(near, key=lambda one: one.correlation)
        errors, alone = f"correlated with those of the first ({second.correlation:.2f})", len(near) == 1
        if alone:
            return first, second, f"the only other one whose score may be as good; its errors are {errors}"
        of = f"of the {len(near)} whose score may be as good as that of the first, its errors are the least"
        return first, second, f"{of} {errors}, so it is the least likely to fail on the same rows"
    return first, others[0], "none is within noise of the first; this is the next best"

"""What `make compare` and `make final` compare: an experiment, a row of the journal, or a submission file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tandem.artifacts import journal
from tandem.artifacts.atomic_io import file_digest, read_json
from tandem.artifacts.paths import Paths, local_path
from tandem.artifacts.predictions import Predictions
from tandem.data.labelled_rows import LabelledRows
from tandem.decoding import NestedCV, Rule
from tandem.decoding.scoring import cross_val_predict, cross_val_values
from tandem.graph.experiment_dir import Experiments
from tandem.graph.names import by_decoder
from tandem.graph.submission_record import record_file
from tandem.report.collect import read_decoded
from tandem.report.data_model import Decoded, ScoredExperiment
from tandem.runtime.resources import threads
from tandem.runtime.wrong_values import unknown

DIGITS = 4  # of a digest, at least


@dataclass(frozen=True)
class Side:
    """One of two that are compared; a file that does not exist (any more) is None.

    experiment  that the out-of-fold file is, or was, of
    decoder     of the label sets; "": the one that the rule chooses
    """

    title: str
    submission: Path | None = None
    oof: Path | None = None
    experiment: str = ""
    decoder: str = ""


def find_side(option: str, text: str, experiments: Experiments) -> Side:
    """The side that `text` names, such as fusion, 3 (a row of the journal), e0d65f (its digest) or my.csv; raises
    WrongValue where there is none."""
    paths, rows = experiments.paths, journal.read(experiments.paths)
    names = [one.name for one in experiments.scored()]
    if text in names:
        return of_experiment(paths, text)
    if text.isdecimal() and 1 <= int(text) <= len(rows):
        return of_row(paths, rows, int(text) - 1)
    if len(text) >= DIGITS and (found := [i for i, row in enumerate(rows) if row["digest"].startswith(text)]):
        return of_row(paths, rows, found[-1])
    file = local_path(text)
    if file.is_file():
        return Side(file.name, file)
    what = f"no scored experiment, row of the journal (1 to {len(rows)}), digest of one or file" if rows else ""
    raise unknown(option, text, what or "no scored experiment or file, and the journal is empty", names)


def of_experiment(paths: Paths, name: str) -> Side:
    submission = paths.submission(name)
    return Side(name, submission if submission.is_file() else None, paths.oof(name), name)


def of_row(paths: Paths, rows: Sequence[journal.Row], i: int) -> Side:
    """A row of the journal: its kept files."""
    row, (name, decoder) = rows[i], by_decoder(rows[i]["name"])
    record = paths.journal / "none" if "/" in row["name"] else record_file(paths, row["name"], row["digest"])
    files = read_json(record).get("files", {}) if record.is_file() else {}
    kept = {what: file for what, one in files.items() if (file := paths.kept(one)).is_file()}
    return Side(f"row {i + 1} ({row['name']})", kept.get("submission"), kept.get("oof"), name, decoder)


def read_side(side: Side, experiments: Experiments, rows: LabelledRows, rule: Rule) -> Decoded:
    """Its out-of-fold rows, decoded cross-fitted; raises ValueError where they are of other rows or labels."""
    assert side.oof is not None
    paths, oof = experiments.paths, Predictions.read(side.oof)
    if oof.names != rows.names:
        raise ValueError(
            f"{side.title}: {side.oof} has {len(oof.names)} labels, the training rows have {len(rows.names)}"
        )
    try:
        proba = oof.aligned_to(rows.ids)
    except ValueError as error:
        raise ValueError(f"{side.title}: {side.oof}: {error}: the training rows changed since") from error
    now = paths.oof(side.experiment)
    experiment = experiments[side.experiment] if now.is_file() and file_digest(now) == file_digest(side.oof) else None
    if experiment and not side.decoder:
        return read_decoded(experiment, rows, rule, ScoredExperiment(side.experiment, {}, {}, proba))
    rule = replace(rule, decoder=side.decoder) if side.decoder else rule
    apart = experiment.rows_apart(rows, rule, threads()) if experiment else None
    cv = NestedCV(proba, rows.y, rows.fold, rule, threads(), rows.group, rows.known).prepare()
    values = None if rule.judge.needs == "labels" else cross_val_values(cv, apart)
    return Decoded(cross_val_predict(cv, apart), values)

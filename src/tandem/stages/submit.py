"""Submit: oof/C/E/{test.parquet,thresholds.json}, sample submission or test.csv -> submissions/C/E.{json,csv}.

The JSON holds what made the CSV and its scores; both appear only after the CSV passed every check. With DECODER=D the
same is written to submissions/C/E.D.{json,csv}, its label sets by this decoder. A CSV that differs from the one before
gets a row in history/C/journal.csv.
"""

import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tandem
from tandem.artifacts import journal
from tandem.artifacts.atomic_io import file_digest, read_json, write_csv, write_json
from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition
from tandem.config.import_record import assumed_metric
from tandem.data.submission import detect_drift, expected_rows, local_scores, validate_submission
from tandem.decoding import DECODERS
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.graph.keys import STACK
from tandem.graph.names import by_decoder
from tandem.graph.plan import Step
from tandem.graph.submission_record import journal_row, keep
from tandem.report.origin import commit
from tandem.report.scores_table import show_scores
from tandem.runtime.wrong_values import require_one_of
from tandem.sample import NAME as SAMPLE
from tandem.stages._run import bring_up_to_date

NOTE, STARTED = "TANDEM_NOTE", "TANDEM_STARTED"  # variables: what the command tells the task that writes the file


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--decoder", default="", help=f"another submission, by one of {', '.join(DECODERS)}")
    parser.add_argument("--note", default="", help="what is new, for the journal")


def main(args: Namespace) -> None:
    if args.decoder:
        require_one_of("DECODER", args.decoder, list(DECODERS))
    os.environ.update({NOTE: getattr(args, "note", ""), STARTED: str(time.time())})
    try:
        goals = bring_up_to_date(args.comp, "submit", args.exps, args.decoder, args.stack, args.budget)
    finally:
        for name in (NOTE, STARTED):
            os.environ.pop(name, None)
    paths = Paths(args.comp)
    show_scores(paths)
    competition, experiments = load_competition(paths.competition), Experiments(paths)
    if line := assumed_metric(paths, competition):
        print(line)
    if not competition.has_test:
        print(
            "no test table: nothing to submit; add test.csv and run make import again, or label photos: "
            f"make predict IMAGES=photos OUT=labels.csv COMP={args.comp}"
        )
    submitted = (goal.removeprefix("submit ") for goal in goals if goal.startswith("submit "))
    for name in dict.fromkeys(by_decoder(subject)[0] for subject in submitted):
        print(about_thresholds(name, experiments[name].scores))
    for name in dict.fromkeys(goal.removeprefix("submit ") for goal in goals if goal.startswith("submit ")):
        for line in ending(paths, name, experiments):
            print(line)


def ending(paths: Paths, subject: str, experiments: Experiments) -> list[str]:
    """The last lines: the score and its interval, the file, and what to do next."""
    name, by = by_decoder(subject)
    made, scores = read_json(paths.submission(subject).with_suffix(".json")), experiments[name].scores
    found, half = made["out_of_fold"], None if by else scores.get("half_width")
    interval = "" if half is None else f" ± {half:.4f} (95 % interval)"
    local = made["local_leaderboard"]
    on_solution = f"; local leaderboard {local[found['metric']]:.4f}" if local else ""
    comp = "" if paths.comp == SAMPLE else f" COMP={paths.comp}"
    exp = "" if name == STACK else f" EXP={name}"
    return [
        f"{subject}: {found['metric']} {found['score']:.4f}{interval}, cross-fitted{on_solution}",
        f"{paths.submission(subject)}: {made['rows']:,} rows",
        f"next: make report{comp}{exp}",
    ]


def about_thresholds(name: str, scores: Mapping[str, Any]) -> str:
    """The score by the decoder in use, that by the tuned thresholds, and the paired interval of the difference."""
    t = scores["thresholds"]
    ranks = f"{scores['metric']} {scores['score']:.4f} by probabilities; " if t["metric"] != scores["metric"] else ""
    return (
        f"{name}: {ranks}{t['metric']} {t['over_score']:.4f} by {t['over']}, the decoder in use; {t['score']:.4f} by "
        f"per-class thresholds ({t['by']}), {t['gain']:+.4f} [{t['low']:+.4f}, {t['high']:+.4f}]"
    )


def run(paths: Paths, step: Step) -> None:
    name, by = by_decoder(step.task.subject)
    competition, experiment = load_competition(paths.competition), Experiments(paths)[name]
    test, labels, scores = experiment.test(), experiment.labels, experiment.scores
    if test is None or not labels == test.names == tuple(competition.labels.names):
        raise ValueError(f"{paths.thresholds(name)} and {paths.test(name)} differ in labels; run make train")
    expected = expected_rows(competition, paths.input)
    ids, form, captioned = expected.ids, expected.form, experiment.captioned("test", expected.ids)
    raw = test.aligned_to(ids)
    pred, proba = experiment.decode(raw, captioned, by), experiment.submitted_proba(raw, captioned)
    path = paths.submission(step.task.subject)
    rows = form.rows(ids, pred, proba, expected.pairs)
    draft = write_csv(path.with_suffix(".unchecked.csv"), rows, form.delimiter)
    validate_submission(draft, competition, expected)
    local = None
    try:
        local = local_scores(competition, paths.input, expected, pred, proba)
    except ValueError as error:  # the submission is valid without it
        print(f"warning: no local leaderboard: {error}")
    drift = detect_drift(scores["predicted_rate"], _rates(labels, pred), scores["groups"], len(ids)) if not by else {}
    provenance = {
        "experiment": name,
        "competition": paths.comp,
        **step.stale[0].made_from,
        "sha256": file_digest(draft),
        "rows": len(ids),
        "rows_without_caption": int((~captioned).sum()),
        "marks": experiment.marks,
        "checked_against": expected.source,
        "written": form.about,
        "labels_per_row": float(pred.sum(1).mean()),
        "predicted_rate": _rates(labels, pred),
        "out_of_fold": out_of_fold(scores, by),
        "local_leaderboard": local,
        "decoder": experiment.thresholds | ({"decoder": by} if by else {}),
        "run": experiment.run,
        "drift": drift,
    }
    step.stale[0].invalidate()
    os.replace(draft, path)
    into_journal(paths, step.task.subject, experiment, provenance)
    write_json(path.with_suffix(".json"), provenance)
    print(f"{path}: {len(ids)} rows, valid against {expected.source}, {_about(form.values, pred)}: {form.about}")
    if form.note:
        print(f"note: {form.note}")
    if by and form.values == "probabilities":
        print(f"note: DECODER={by} changes nothing in it: probabilities are written, not label sets")
    if not captioned.all():
        print_missing_captions(int((~captioned).sum()), experiment)
    print_drift(provenance)
    if experiment.marks:
        print(f"note: {name}: {', '.join(experiment.marks)}: its cross-fitted score may be optimistic")


def into_journal(paths: Paths, subject: str, experiment: ExperimentDir, provenance: Mapping[str, Any]) -> None:
    """Appends a row, and keeps the files, where the last row of this name is of another CSV. The record beside the CSV
    is written after it: a command that was killed in between comes here again."""
    before = journal.last_of(journal.read(paths), subject)
    if before and before["digest"] == provenance["sha256"]:
        return
    keep(paths, subject, experiment, provenance)
    seconds = time.time() - float(os.environ.get(STARTED) or time.time())
    about = {"note": os.environ.get(NOTE, ""), "minutes": f"{seconds / 60:.2f}"}
    about["commit"] = commit(Path(tandem.__file__).parent)
    journal.append_made(paths, lambda rows: journal_row(paths, subject, experiment, provenance, rows) | about)


def _rates(labels: tuple[str, ...], pred: Any) -> dict[str, float]:
    return dict(zip(labels, pred.mean(0).tolist(), strict=True))


def _about(values: str, pred: Any) -> str:
    sets = f"{pred.sum(1).mean():.2f} labels per row"
    return sets if values != "probabilities" else "fractions"


def out_of_fold(scores: Mapping[str, Any], decoder: str = "") -> dict[str, Any]:
    """The cross-fitted score of what is written: by the decoder in use, or by another one."""
    if not decoder or scores["decoders_for"] != scores["metric"]:
        return {key: scores[key] for key in ("metric", "score", "in_sample", "optimism")}
    own = scores["decoders"][decoder]
    return {"metric": scores["metric"]} | {key: own[key] for key in ("score", "in_sample", "optimism")}


def print_drift(provenance: Mapping[str, Any]) -> None:
    for label, d in provenance["drift"].items():
        print(
            f"warning: {label!r} is predicted on {d['test']:.1%} of the test rows and {d['out_of_fold']:.1%} of the "
            "out-of-fold rows: the test set differs, or averaging the folds makes probabilities more certain"
        )


def print_missing_captions(rows: int, experiment: ExperimentDir) -> None:
    if "captions" in experiment.thresholds.get("without", {}):
        print(f"{rows:,} rows have no caption: predicted from the image alone, with a decoder of their own")
    else:
        print(f"warning: {rows:,} rows have no caption, and {experiment.name} needs one: predicted from an empty text")

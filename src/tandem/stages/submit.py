"""Submit: oof/C/E/{test.parquet,thresholds.json}, sample submission or test.csv -> submissions/C/E.{json,csv}.

The JSON holds what made the CSV and its scores; both appear only after the CSV passed every check.
"""

import os
from argparse import Namespace

from tandem.artifacts.atomic_io import file_digest, write_json, write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition
from tandem.data.complete_competition import assumed_metric
from tandem.data.submission import detect_drift, expected_rows, local_scores, submission_csv, validate_submission
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.graph.plan import Step
from tandem.report.scores_table import show_scores
from tandem.stages._run import bring_up_to_date


def main(args: Namespace) -> None:
    bring_up_to_date(args.comp, "submit", args.exps, args.jobs)
    paths = Paths(args.comp)
    show_scores(paths)
    competition = load_competition(paths.competition)
    if line := assumed_metric(paths, competition):
        print(line)
    if not competition.has_test:
        print(
            "no test table: nothing to submit; add test.csv and run make import again, or label photos: "
            f"make predict IMAGES=<folder> OUT=labels.csv COMP={args.comp}"
        )


def run(paths: Paths, step: Step) -> None:
    competition, experiment = load_competition(paths.competition), Experiments(paths)[step.task.subject]
    name, test, decoder, labels = experiment.name, experiment.test(), experiment.decoder(), experiment.labels
    if test is None or not labels == test.names == tuple(competition.labels.names):
        raise ValueError(f"{paths.thresholds(name)} and {paths.test(name)} differ in labels; run make train")
    columns, ids, source = expected_rows(competition, paths.input)
    captioned = experiment.captioned("test", ids)
    pred = experiment.decode(test.aligned_to(ids), captioned)
    path = paths.submission(name)
    draft = write_text(path.with_suffix(".unchecked.csv"), submission_csv(competition, columns, ids, pred))
    validate_submission(draft, competition, columns, ids)
    scores, local = experiment.scores, None
    try:
        local = local_scores(competition, paths.input, columns, ids, pred)
    except ValueError as error:  # the submission is valid without it
        print(f"warning: no local leaderboard: {error}")
    provenance = {
        "experiment": name,
        "competition": paths.comp,
        **step.stale[0].made_from,
        "sha256": file_digest(draft),
        "rows": len(ids),
        "rows_without_caption": int((~captioned).sum()),
        "checked_against": source,
        "labels_per_row": float(pred.sum(1).mean()),
        "predicted_rate": dict(zip(labels, pred.mean(0).tolist(), strict=True)),
        "out_of_fold": {k: scores[k] for k in ("metric", "score", "in_sample", "optimism")},
        "local_leaderboard": local,
        "decoder": experiment.thresholds,
        "run": experiment.run,
    }
    rates = scores["predicted_rate"], provenance["predicted_rate"]
    provenance["drift"] = detect_drift(*rates, scores["groups"], len(ids))
    step.stale[0].invalidate()
    os.replace(draft, path)
    write_json(path.with_suffix(".json"), provenance)
    print(f"{path}: {len(ids)} rows, valid against {source}, {pred.sum(1).mean():.2f} labels per row")
    if not captioned.all():
        print_missing_captions(int((~captioned).sum()), experiment)
    metric = decoder.rule.metric
    print(f"out of fold {metric} {scores['score']:.4f} (cross-fitted)")
    if local:
        print(f"local leaderboard {metric} {local[metric]:.4f} ({competition.solution})")
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

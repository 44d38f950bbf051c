"""Submit: oof/C/E/{test.parquet,thresholds.json}, sample submission or test.csv -> submissions/C/E.{json,csv}.

The JSON says what made the CSV and what it scored; both appear only after the CSV passed every check.
"""

import os

from tandem.artifacts.atomic_io import file_digest, read_json, write_json, write_text
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.competition import load_competition
from tandem.data.submission import (
    detect_drift,
    expected_rows,
    local_scores,
    submission_csv,
    validate_submission,
)
from tandem.decoding import Decoder


def add_arguments(parser) -> None:
    parser.add_argument("--exp", required=True, help="experiment: a folder in oof/COMP")


def main(args) -> None:
    paths = Paths(args.comp)
    competition = load_competition(paths.competition)
    test = Predictions.read(paths.test(args.exp))
    recipe = read_json(paths.thresholds(args.exp))
    decoder, names = Decoder.from_json(recipe), tuple(recipe["labels"])
    if names != test.names or names != tuple(competition.labels.names):
        raise ValueError(
            f"{paths.thresholds(args.exp)} and {paths.test(args.exp)} differ in labels; run make train"
        )
    columns, ids, source = expected_rows(competition, paths.input)
    pred = decoder(test.aligned_to(ids))
    path = paths.submission(args.exp)
    draft = write_text(path.with_suffix(".unchecked.csv"), submission_csv(competition, columns, ids, pred))
    validate_submission(draft, competition, columns, ids)
    scores, local = read_json(paths.scores(args.exp)), None
    try:
        local = local_scores(competition, paths.input, columns, ids, pred)
    except ValueError as error:  # the submission is as good without it
        print(f"warning: no local leaderboard: {error}")
    provenance = {
        "experiment": args.exp,
        "competition": args.comp,
        "sha256": file_digest(draft),
        "rows": len(ids),
        "checked_against": source,
        "labels_per_row": float(pred.sum(1).mean()),
        "predicted_rate": dict(zip(names, pred.mean(0).tolist(), strict=True)),
        "out_of_fold": {k: scores[k] for k in ("metric", "score", "in_sample", "optimism")},
        "local_leaderboard": local,
        "decoder": recipe,
        "run": read_json(paths.run(args.exp)),
    }
    provenance["drift"] = detect_drift(
        scores["predicted_rate"], provenance["predicted_rate"], scores["rows"], len(ids)
    )
    write_json(path.with_suffix(".json"), provenance)
    os.replace(draft, path)
    print(f"{path}: {len(ids)} rows, valid against {source}, {pred.sum(1).mean():.2f} labels a row")
    print(f"out of fold {decoder.rule.metric} {scores['score']:.4f} (cross-fitted)")
    if local:
        print(
            f"local leaderboard {decoder.rule.metric} {local[decoder.rule.metric]:.4f} ({competition.solution})"
        )
    for name, d in provenance["drift"].items():
        print(
            f"warning: {name!r} is predicted on {d['test']:.1%} of the test rows and {d['out_of_fold']:.1%} of the "
            "out-of-fold rows: the test set differs, or the mean of the folds is surer than one fold"
        )

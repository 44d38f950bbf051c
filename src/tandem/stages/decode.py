"""Decode: oof/C/E/{oof,contributions}.parquet, folds, competition.toml -> oof/C/E/{scores,thresholds}.json."""

from collections.abc import Mapping
from typing import Any

from tandem.artifacts.atomic_io import write_json
from tandem.artifacts.contributions import NO_CAPTION, NO_EXTERNAL, NO_IMAGE
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.competition import load_competition
from tandem.data.corrections import read_corrected
from tandem.data.labelled_rows import read_labelled_rows
from tandem.decoding import Rule
from tandem.decoding.scoring import score
from tandem.graph.experiment_dir import Experiments, same_rows
from tandem.graph.plan import Step
from tandem.runtime.resources import threads
from tandem.stages._tracking import track

KEPT = ("score", "in_sample", "optimism", "fold_spread", "f1_samples", "f1_micro", "f1_macro", "map", "log_loss")
MISSING = {NO_CAPTION: "captions", NO_IMAGE: "photos", NO_EXTERNAL: "external"}


def run(paths: Paths, step: Step) -> None:
    name, rows = step.task.subject, read_labelled_rows(paths)
    rule = Rule.of(load_competition(paths.competition), paths.input)
    oof = Predictions.read(paths.oof(name))
    if not same_rows(oof, rows.names, rows.fold_digest):
        raise ValueError(f"{paths.oof(name)} was made with another fold map or label list; run make train")
    experiment = Experiments(paths)[name]
    apart = experiment.rows_apart(rows, rule, threads())
    about_rows = rows.y, rows.fold, rows.names, rule, threads(), rows.group
    decoder, scores = score(oof.aligned_to(rows.ids), *about_rows, apart, rows.known)
    if paths.given_labels.exists() and (n := read_corrected(paths).labels):
        scores["labels_corrected"] = n
    scores["without"] = {}
    for setting, missing in MISSING.items():
        if (proba := experiment.oof_without(setting, rows)) is not None:
            few = apart if setting == NO_EXTERNAL else None
            without_decoder, without = score(proba, *about_rows, few, rows.known)
            decoder.setdefault("without", {})[missing] = without_decoder
            scores["without"][missing] = {key: without[key] for key in (*KEPT, rule.metric)}
    step.stale[0].invalidate()
    write_json(paths.scores(name), scores)
    write_json(paths.thresholds(name), decoder | step.stale[0].made_from)
    print_scores(name, rule, scores)
    if line := Experiments(paths)[name].about_new_images:
        print(line)
    track(paths, [name])


def print_scores(name: str, rule: Rule, scores: Mapping[str, Any]) -> None:
    sets = rule.sets
    best, top = max(scores["decoders"].items(), key=lambda item: sets.judge.merit(item[1]["score"]))
    why = ""
    if best != scores["decoder"]:
        chance = f"which may be chance: {top['low']:+.4f} to {top['high']:+.4f}"
        why = f" ({best} gains {top['gain']:+.4f}" + (f", {chance})" if rule.decoder == "auto" else ")")
    print(
        f"{name}: out-of-fold {rule.metric} {scores['score']:.4f} cross-fitted, {scores['in_sample']:.4f} in sample; "
        f"decoder{'' if sets is rule else ' of label sets, by ' + sets.metric}: {scores['decoder']}{why}"
    )
    if some := scores.get("fitted_rows"):
        print(f"{name}: decoders were fitted on {some:,} rows, drawn from {scores['rows']:,}, and scored on all")
    if left_out := scores.get("left_out"):
        print(f"{name}: not in {rule.metric}, because all rows have the label or none: {', '.join(left_out)}")
    if few := scores.get("rows_without_caption"):
        score = "no score" if few["score"] is None else f"score {few['score']:.4f} cross-fitted"
        print(f"{name}: {few['rows']:,} rows without a caption: {score}")

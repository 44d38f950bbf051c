"""Decode: oof/C/E/{oof,contributions}.parquet, folds, build/C/metric.json -> oof/C/E/{scores,thresholds}.json."""

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.contributions import NO_CAPTION, NO_IMAGE, read_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.data.labelled_rows import read_labelled_rows
from tandem.decoding import Rule
from tandem.decoding.scoring import score
from tandem.logits import sigmoid
from tandem.runtime.resources import threads

KEPT = (
    "score",
    "in_sample",
    "optimism",
    "fold_spread",
    "f1_samples",
    "f1_micro",
    "f1_macro",
    "map",
    "log_loss",
)
MISSING = {NO_CAPTION: "captions", NO_IMAGE: "photos"}


def add_arguments(parser) -> None:
    parser.add_argument("--exp", required=True, help="experiment: a folder in oof/COMP")


def main(args) -> None:
    paths = Paths(args.comp)
    rows = read_labelled_rows(paths)
    rule = Rule(**read_json(paths.metric_config))
    oof = Predictions.read(paths.oof(args.exp))
    if oof.names != rows.names or oof.provenance.get("folds") != rows.fold_digest:
        raise ValueError(
            f"{paths.oof(args.exp)} was made with another fold map or label list; run make train"
        )
    decoder, scores = score(oof.aligned_to(rows.ids), rows.y, rows.fold, rows.names, rule, threads())
    scores["without"] = {}
    if paths.contributions(args.exp).exists():
        for setting, ids, terms in read_contributions(paths.contributions(args.exp)):
            if setting in MISSING:
                proba = Predictions(ids, rows.names, sigmoid(terms.sum(-1))).aligned_to(rows.ids)
                without_decoder, without = score(proba, rows.y, rows.fold, rows.names, rule, threads())
                decoder.setdefault("without", {})[MISSING[setting]] = without_decoder
                scores["without"][MISSING[setting]] = {key: without[key] for key in KEPT}
    write_json(paths.scores(args.exp), scores)
    write_json(paths.thresholds(args.exp), decoder)
    best, most = max(scores["decoders"].items(), key=lambda item: item[1]["score"])
    why = ""
    if best != scores["decoder"]:
        why = f" ({best} gains {most['gain']:+.4f}, which may be chance: {most['low']:+.4f} to {most['high']:+.4f})"
    print(
        f"{args.exp}: out-of-fold {rule.metric} {scores['score']:.4f} cross-fitted, "
        f"{scores['in_sample']:.4f} in sample; decoder: {scores['decoder']}{why}"
    )

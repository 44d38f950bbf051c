"""What a report is made from, read from the files of all stages; nothing is trained.

Nothing is written either, but for the cross-fitted label sets: they take a minute of 80 labels, and every report
needs them.
"""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from tandem.artifacts.atomic_io import digest, file_digest, read_json
from tandem.artifacts.contributions import BOTH, read_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions, read_provenance
from tandem.config.competition import Competition
from tandem.config.experiments import read_resolved
from tandem.data.labelled_rows import Labelled, read_groups, read_labelled
from tandem.data.split_tables import read_captions, read_images
from tandem.decoding import CrossFit, Decoder, Rule
from tandem.features.feature_store import read_features
from tandem.graph.currency import is_decoded
from tandem.report.data_model import Evidence, Scored, Split, Subject
from tandem.runtime.resources import threads

PREFERRED = "stack"
DECODED = 1  # of the decoders: another number decodes once more


def gather(paths: Paths, competition: Competition, wanted: str = "") -> Evidence:
    """All that is on disk; raises FileNotFoundError where not even the checked rows are."""
    needed = (paths.labels, paths.images("train"), paths.folds)
    lacking = [str(path) for path in needed if not path.exists()]
    if lacking:
        raise FileNotFoundError(f"no {', '.join(lacking)}; run: make folds COMP={paths.comp}")
    rows = read_labelled(paths)
    experiments, stale = read_experiments(paths, rows)
    rule = Rule(competition.metric, competition.beta, competition.least, competition.most)
    subject = read_subject(paths, rows, rule, _choose(paths, experiments, wanted))
    return Evidence(
        comp=paths.comp,
        rule=rule,
        names=rows.names,
        y=rows.y,
        train=read_split(paths, "train"),
        test=read_split(paths, "test") if paths.images("test").exists() else None,
        fold=rows.fold,
        group=read_groups(paths, rows.ids),
        experiments=experiments,
        subject=subject,
        features=read_image_features(paths),
        findings=read_json(paths.check_report) if paths.check_report.exists() else None,
        missing=missing(paths, competition, experiments, stale, subject),
    )


def read_split(paths: Paths, split: str) -> Split:
    images, captions = read_images(paths.images(split)), None
    if paths.captions(split).exists():
        of = dict(zip(*read_captions(paths.captions(split)), strict=True))
        captions = [of[name] for name in images["id"]]
    sizes = np.column_stack([images[key] for key in ("width", "height", "bytes")])
    return Split(images["id"], [paths.input / file for file in images["file"]], captions, sizes)


def read_experiments(paths: Paths, rows: Labelled) -> tuple[list[Scored], list[str]]:
    """(every experiment that is scored, names of those left out: made with another fold map, label list or metric)."""
    found, stale = [], []
    for file in sorted(paths.experiment("x").parent.glob("*/scores.json")):
        name = file.parent.name
        oof = Predictions.read(paths.oof(name)) if paths.oof(name).exists() else None
        same = oof and oof.names == rows.names and oof.provenance.get("folds") == rows.fold_digest
        if not (same and is_decoded(paths, name)):
            stale.append(name)
            continue
        run, submission = read_json(paths.run(name)), _json_beside(paths.submission(name))
        found.append(
            Scored(
                name,
                read_json(file),
                run,
                oof.aligned_to(rows.ids),
                _sees(paths, [name, *run.get("members", {})]),
                submission["local_leaderboard"] if submission else None,
                read_logs(paths, name, np.unique(rows.fold).tolist()),
            )
        )
    return found, stale


def _json_beside(file) -> dict | None:
    file = file.with_suffix(".json")
    return read_json(file) if file.exists() else None


def _sees(paths: Paths, names: Sequence[str]) -> frozenset[str]:
    configs = [paths.experiment_config(name) for name in names]
    return frozenset(what for file in configs if file.exists() for what in read_resolved(file).reads)


def read_logs(paths: Paths, name: str, folds: Sequence[int]) -> dict[int, list[dict]]:
    files = {k: paths.model(name, k, ".json") for k in folds}
    return {k: read_json(file).get("log") or [] for k, file in files.items() if file.exists()}


def _choose(paths: Paths, experiments: Sequence[Scored], wanted: str) -> Scored | None:
    by_name = {e.name: e for e in experiments}
    if wanted and wanted not in by_name:
        raise ValueError(
            f"--exp {wanted}: not scored; there are {sorted(by_name)}; run: make train COMP={paths.comp} EXPS={wanted}"
        )
    best = max(experiments, key=lambda e: e.scores["score"], default=None)
    return by_name.get(wanted or PREFERRED, best)


def read_subject(paths: Paths, rows: Labelled, rule: Rule, scored: Scored | None) -> Subject | None:
    """With its rows decoded once more, each without what was tuned on it.

    Raises ValueError where that is not the score on disk.
    """
    if scored is None:
        return None
    recipe, name = read_json(paths.thresholds(scored.name)), scored.name
    pred = cross_fitted(paths, rows, rule, scored)
    score = rule.score(rows.y, pred)
    if scored.scores["metric"] != rule.metric or abs(score - scored.scores["score"]) > 1e-9:
        raise ValueError(
            f"{paths.scores(name)} says {scored.scores['score']:.4f} {scored.scores['metric']}, its predictions score "
            f"{score:.4f} {rule.metric}; run: make submit COMP={paths.comp}"
        )
    test = Predictions.read(paths.test(name)) if paths.test(name).exists() else None
    if test is not None and test.names != rows.names:
        test = None
    return Subject(
        scored,
        pred,
        recipe,
        read_terms(paths, name, rows.ids),
        None if test is None else test.proba,
        None if test is None else Decoder.from_json(recipe)(test.proba),
        _json_beside(paths.submission(name)),
    )


def cross_fitted(paths: Paths, rows: Labelled, rule: Rule, scored: Scored) -> np.ndarray:
    """(n, c) bool, each row decoded by what saw none of its fold; kept in build/ under the digest of what made it."""
    file = paths.decoded(scored.name)
    key = digest(
        [file_digest(paths.oof(scored.name)), rows.fold_digest, rows.label_digest, asdict(rule), DECODED]
    )
    if read_provenance(file).get("key") == key:
        return Predictions.read(file).aligned_to(rows.ids) > 0.5
    pred = CrossFit(scored.proba, rows.y, rows.fold, rule, threads()).prepare().cross_fitted("auto")
    Predictions(rows.ids, rows.names, pred.astype(np.float32), {"key": key}).write(file)
    return pred


def read_terms(paths: Paths, name: str, ids: Sequence[str]) -> np.ndarray | None:
    """(n, c, 5) contributions to the out-of-fold logits, from all that the model sees."""
    file = paths.contributions(name)
    if not file.exists():
        return None
    for split, found, terms in read_contributions(file):
        if split in (BOTH, "train"):
            row = {name: i for i, name in enumerate(found)}
            return terms[[row[name] for name in ids]]
    return None


def read_image_features(paths: Paths) -> tuple[np.ndarray, np.ndarray] | None:
    """Of train and test, (n, d) and (m, d), by the smallest frozen image encoder that is current for both."""
    if not paths.images("test").exists():
        return None
    for file in sorted(
        paths.features("x", "train").parent.glob("*.train.npy"), key=lambda f: f.stat().st_size
    ):
        slug = file.name.removesuffix(".train.npy")
        config = paths.encoder_config(slug)
        if not config.exists() or read_json(config).get("kind") != "image":
            continue
        try:
            return tuple(_first_view(paths, slug, split) for split in ("train", "test"))
        except (ValueError, FileNotFoundError):  # of other rows, or none yet
            continue
    return None


def _first_view(paths: Paths, slug: str, split: str) -> np.ndarray:
    features = read_features(paths.features(slug, split), read_images(paths.images(split))["id"])
    return np.asarray(features[:, 0], np.float32).reshape(len(features), -1)


def missing(
    paths: Paths,
    competition: Competition,
    experiments: Sequence[Scored],
    stale: Sequence[str],
    subject: Subject | None,
) -> list[tuple[str, str]]:
    """What could be there and is not, with the command that brings it."""
    comp, found = f"COMP={paths.comp}", []
    names = {e.name for e in experiments}
    for name in stale:
        command = f"make stack {comp}" if name == PREFERRED else f"make train {comp} EXPS={name}"
        found.append((f"{name}, which was made with another fold map, label list or metric", command))
    untrained = [name for name in competition.experiments if name not in names.union(stale)]
    if untrained:
        found.append((f"scores of {', '.join(untrained)}", f'make train {comp} EXPS="{" ".join(untrained)}"'))
    key = {e.name: e.run.get("key") for e in experiments}
    for stack in (e for e in experiments if "members" in e.run):
        newer = [m for m, fitted_on in stack.run["members"].items() if key.get(m, fitted_on) != fitted_on]
        if newer:
            found.append(
                (f"a {stack.name} of today's {', '.join(newer)}, trained again since", f"make submit {comp}")
            )
    if len(names - {PREFERRED}) > 1 and PREFERRED not in names.union(stale):
        found.append(("the stack of these experiments", f"make submit {comp}"))
    if subject is None:
        return found
    exps = "" if subject.name == PREFERRED else f" EXPS={subject.name}"
    if subject.test_proba is None:
        found.append((f"test predictions of {subject.name}", f"make submit {comp}{exps}"))
    elif subject.submission is None:
        found.append((f"the submission of {subject.name}", f"make submit {comp}{exps}"))
    if not paths.check_report.exists():
        found.append(("what the check found", f"make check {comp}"))
    return found

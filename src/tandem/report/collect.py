"""Reads everything that a report is made from, in the files of all stages; writes only cross-fitted label sets."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from tandem.artifacts import journal
from tandem.artifacts.atomic_io import digest, file_digest, read_json
from tandem.artifacts.contributions import BOTH, read_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions, read_provenance
from tandem.artifacts.whole_files import DamagedFile
from tandem.config import method_versions as version
from tandem.config.metric_names import merit
from tandem.data.labelled_rows import LabelledRows, read_labelled_rows
from tandem.data.split_tables import read_captions, read_image_rows
from tandem.decoding import NestedCV, Rule
from tandem.decoding.scoring import cross_val_predict, cross_val_values
from tandem.features.feature_store import read_features
from tandem.graph.experiment_dir import ExperimentDir, Experiments, chosen_by, same_rows
from tandem.graph.keys import STACK
from tandem.report.data_model import Decoded, FocusExperiment, ReportData, ScoredExperiment, Split
from tandem.report.leaks import leak_warnings
from tandem.report.origin import origin
from tandem.runtime.resources import threads

HEAT_BYTES = 2_000_000  # of all heat maps in one page, as text; the rows after these have the link to their page alone


def gather(experiments: Experiments, wanted: str = "") -> ReportData:
    """All that is on disk, about the experiment `wanted`, else the stack, else the best; raises FileNotFoundError where
    there are no checked rows or folds, ValueError where `wanted` is not scored."""
    paths = experiments.paths
    if lacking := [str(path) for path in (paths.labels, paths.images("train"), paths.folds) if not path.exists()]:
        raise FileNotFoundError(f"no {', '.join(lacking)}; run: make folds COMP={paths.comp}")
    rows, rule = read_labelled_rows(paths), Rule.of(experiments.competition, paths.input)
    train, test = read_split(paths, "train"), read_split(paths, "test") if paths.images("test").exists() else None
    _require_rows(paths, "train", train.ids, paths.labels, rows.ids)
    scored, stale = read_experiments(experiments, rows)
    if wanted and wanted not in scored:
        raise experiments.not_scored(wanted)
    best = max(scored, key=lambda name: merit(scored[name].scores), default="")
    name = wanted or (STACK if STACK in scored else best)  # "" where nothing is scored
    decoded = {one: read_decoded(experiments[one], rows, rule, scored[one]) for one in scored}
    test_ids = test.ids if test else ()
    focus = read_focus(experiments[name], rows, rule, scored[name], test_ids, decoded[name]) if name else None
    pages = explain_pages(paths, [*train.ids, *(test.ids if test else ())], name)
    return ReportData(
        paths.comp,
        rule,
        rows.names,
        rows.y,
        rows.fold,
        rows.group,
        train=train,
        test=test,
        experiments=list(scored.values()),
        focus=focus,
        features=read_image_features(paths, experiments),
        findings=read_json(paths.check_report) if paths.check_report.exists() else None,
        warnings=list(leak_warnings(experiments)),
        decoded=decoded,
        missing=missing(experiments, list(scored), stale, focus),
        explainable=bool(name) and explainable(experiments, name),
        explained=pages,
        heat=heat_maps(paths.report, pages),
        origin=origin(experiments, scored, name),
        known=rows.known,
        journal=journal.read(paths),
    )


def explainable(experiments: Experiments, name: str) -> bool:
    """Whether make explain can be asked about this experiment; a stack is explained beside one of the others."""
    one = experiments[name]
    if not one.is_stack:
        return not one.is_external
    return any(not other.is_stack and other.config.labels_new_images for other in experiments.scored())


def explain_pages(paths: Paths, ids: Sequence[str], focus: str) -> dict[str, str]:
    """The page of make explain of each id that has one, relative to the report; of several the one of `focus`, else of
    the first experiment by name."""
    folder = paths.explanation("id", focus).parent
    pages = {file.name for file in folder.glob("*.html")}
    makers = {name.removesuffix(".html").rpartition(".")[2] for name in pages}
    found: dict[str, str] = {}
    for maker in sorted(makers, key=lambda name: (name != focus, name), reverse=True):
        names = {image: paths.explanation(image, maker).name for image in ids}
        found |= {image: f"{folder.name}/{name}" for image, name in names.items() if name in pages}
    return found


def heat_maps(report: Path, pages: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The heat maps beside each explanation as data URIs, by id and label, HEAT_BYTES at most."""
    found, left = dict[str, dict[str, str]](), HEAT_BYTES
    for image, page in pages.items():
        file = (report.parent / page).with_suffix(".json")
        heat = read_json(file)["heat"] if file.exists() and file.stat().st_size <= left else {}
        if heat := {label: uri for label, uri in heat.items() if uri.startswith("data:image/png;base64,")}:
            found[image] = heat
            left -= file.stat().st_size
    return found


def read_split(paths: Paths, split: str) -> Split:
    images, captions = read_image_rows(paths.images(split)), None
    if paths.captions(split).exists():
        by_id = dict(zip(*read_captions(paths.captions(split)), strict=True))
        _require_rows(paths, split, images["id"], paths.captions(split), list(by_id))
        captions = [by_id[name] for name in images["id"]]
    sizes = np.column_stack([images[key] for key in ("width", "height", "bytes")])
    return Split(images["id"], [paths.input / file for file in images["file"] if file], captions, sizes)


def _require_rows(paths: Paths, split: str, ids: Sequence[str], other: Path, expected: Sequence[str]) -> None:
    if list(ids) != list(expected):
        why = f"its {len(ids):,} rows are not the {len(expected):,} of {other}"
        raise DamagedFile(f"{paths.images(split)}: damaged, {why}; run: make check COMP={paths.comp}")


def read_experiments(experiments: Experiments, rows: LabelledRows) -> tuple[dict[str, ScoredExperiment], list[str]]:
    """(every scored experiment, names of those left out: made with another fold map, label list or metric)."""
    found, stale = {}, []
    for one in experiments.scored():
        oof = one.oof() if one.paths.oof(one.name).exists() else None
        if oof is None or not same_rows(oof, rows.names, rows.fold_digest) or one.decoder_stale_reason:
            stale.append(one.name)
            continue
        local, logs = (one.submission or {}).get("local_leaderboard"), {} if one.is_stack else one.logs()
        proba, reads = oof.aligned_to(rows.ids), frozenset() if one.is_external else one.reads
        about = one.scores, one.run, proba, reads, local, logs, one.marks
        found[one.name] = ScoredExperiment(one.name, *about)
    return found, stale


def read_decoded(experiment: ExperimentDir, rows: LabelledRows, rule: Rule, scored: ScoredExperiment) -> Decoded:
    """The experiment's out-of-fold rows, decoded again."""
    values = None if rule.judge.needs == "labels" else scored_values(experiment, rows, rule, scored)
    return Decoded(cross_fitted(experiment, rows, rule, scored), values)


def read_focus(
    experiment: ExperimentDir,
    rows: LabelledRows,
    rule: Rule,
    scored: ScoredExperiment,
    test_ids: Sequence[str] = (),
    decoded: Decoded | None = None,
) -> FocusExperiment:
    """The experiment in detail; raises ValueError where the score of its decoded rows differs from the one on disk."""
    paths, name, scores = experiment.paths, experiment.name, scored.scores
    decoded = decoded or read_decoded(experiment, rows, rule, scored)
    score = rule.score(rows.y, decoded.scored, rows.known)
    if scores["metric"] != rule.metric or abs(score - scores["score"]) > 1e-9:
        raise ValueError(
            f"{paths.scores(name)} has {scores['score']:.4f} {scores['metric']}, its predictions score "
            f"{score:.4f} {rule.metric}; run: {experiment.command}"
        )
    test = experiment.test()
    if test is not None and (test.names != rows.names or set(test.ids) != set(test_ids)):
        test = None
    terms = read_terms(paths, name, {"train": rows.ids, "test": test_ids})
    return FocusExperiment(
        **vars(scored),
        **vars(decoded),
        recipe=experiment.thresholds,
        terms=terms.get("train"),
        test_pred=None if test is None else decode_test(experiment, test.aligned_to(test_ids), test_ids),
        test_proba=None if test is None else test.aligned_to(test_ids),
        test_terms=terms.get("test"),
        submission=experiment.submission,
    )


def decode_test(experiment: ExperimentDir, proba: np.ndarray, ids: Sequence[str]) -> np.ndarray:
    """(m, c) bool, as the submission is decoded."""
    return experiment.decode(proba, experiment.captioned("test", ids))


def cross_fitted(experiment: ExperimentDir, rows: LabelledRows, rule: Rule, scored: ScoredExperiment) -> np.ndarray:
    """(n, c) bool, each row decoded by a decoder tuned without its fold; kept in build/ under a content key."""
    paths = experiment.paths
    file, oof = paths.decoded(scored.name), file_digest(paths.oof(scored.name))
    about_rows = [rows.fold_digest, rows.group.tolist(), experiment.captioned("train", rows.ids).tolist()]
    key = digest([oof, *about_rows, rows.label_digest, rule.settings(), rule.decoder, version.DECODER])
    if read_provenance(file).get("key") == key:
        return Predictions.read(file).aligned_to(rows.ids) > 0.5
    cv = NestedCV(scored.proba, rows.y, rows.fold, rule, threads(), rows.group, rows.known).prepare()
    pred = cross_val_predict(cv, experiment.rows_apart(rows, rule, threads()))
    Predictions(rows.ids, rows.names, pred.astype(np.float32), {"key": key}).write(file)
    return pred


def scored_values(experiment: ExperimentDir, rows: LabelledRows, rule: Rule, scored: ScoredExperiment) -> np.ndarray:
    """(n, c) the probabilities that the metric scores, each row's cross-fitted."""
    cv = NestedCV(scored.proba, rows.y, rows.fold, rule, threads(), rows.group, rows.known)
    return cross_val_values(cv, experiment.rows_apart(rows, rule, threads()))


def read_terms(paths: Paths, name: str, ids: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """(n, c, 6) contributions to the logits with image and caption, by split, in the order of its `ids`; of those
    splits that have some."""
    file, terms = paths.contributions(name), {}
    for split, found, values in read_contributions(file) if file.exists() else ():
        split = "train" if split == BOTH else split
        row = {image: i for i, image in enumerate(found)}
        if split in ids and split not in terms and row.keys() >= set(ids[split]):
            terms[split] = values[[row[image] for image in ids[split]]]
    return terms


def read_image_features(paths: Paths, experiments: Experiments) -> tuple[np.ndarray, np.ndarray] | None:
    """Features (n, d) of train and (m, d) of test, by the smallest frozen image encoder that has both."""
    if not paths.images("test").exists():
        return None
    slugs = {e.slug for e in experiments.graph.encoders.values() if e.kind == "image"}
    files = [file for slug in slugs if (file := paths.features(slug, "train")).exists()]
    for file in sorted(files, key=lambda f: (f.stat().st_size, f.name)):
        slug = file.name.removesuffix(".train.npy")
        with suppress(ValueError, FileNotFoundError):  # of other rows, or none yet
            return _first_view(paths, slug, "train"), _first_view(paths, slug, "test")
    return None


def _first_view(paths: Paths, slug: str, split: str) -> np.ndarray:
    features = read_features(paths.features(slug, split), read_image_rows(paths.images(split))["id"])
    return np.asarray(features[:, 0], np.float32).reshape(len(features), -1)


def missing(
    experiments: Experiments, names: Sequence[str], stale: Sequence[str], focus: FocusExperiment | None
) -> list[tuple[str, str]]:
    """What does not exist yet, with the command that makes it."""
    paths = experiments.paths
    comp, other = f"COMP={paths.comp}", "which was made with another fold map, label list or metric"
    found = [(f"{name}, {other}", experiments[name].command) for name in stale]
    if untrained := [name for name in experiments.graph.chosen() if name not in {*names, *stale}]:
        found.append((f"scores of {', '.join(untrained)}", f'make train {comp} EXPS="{" ".join(untrained)}"'))
    for name in names:
        if experiments[name].is_stack and (why := experiments[name].stale_reason):
            found.append((f"a current {name}: {why}", experiments[name].command))
    if sum(not experiments[name].is_stack for name in names) > 1 and STACK not in {*names, *stale}:
        found.append(("the stack of these experiments", f"make submit {comp}"))
    if focus is not None:
        exps = chosen_by(focus.name, experiments[focus.name].is_stack)
        if experiments.competition.has_test and (focus.test_pred is None or focus.submission is None):
            what = "test predictions" if focus.test_pred is None else "the submission"
            found.append((f"{what} of {focus.name}", f"make submit {comp}{exps}"))
        if not paths.check_report.exists():
            found.append(("the report of the data check", f"make check {comp}"))
    return found

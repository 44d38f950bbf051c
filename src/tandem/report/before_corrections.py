"""The cross-fitted score before labels were corrected and after, compared on the rows that were not corrected."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.artifacts.rows_by_id import rows_by_id
from tandem.data.check_competition import content_digest
from tandem.data.corrections import read_corrected
from tandem.data.labelled_rows import LabelledRows, read_labelled_rows
from tandem.data.split_tables import read_labels
from tandem.decoding import Rule
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.metrics import paired_interval
from tandem.report.collect import read_experiments, read_focus


def keep_before(experiments: Experiments, given: str) -> None:
    """Writes the cross-fitted predictions of everything that is scored on the uncorrected labels, of digest `given`; to
    be called before the checked tables have corrected ones."""
    paths = experiments.paths
    if not (paths.labels.exists() and paths.folds.exists()) or content_digest(paths.labels) != given:
        return
    rows, rule = read_labelled_rows(paths), Rule.of(experiments.competition, paths.input)
    for name, scored in read_experiments(experiments, rows)[0].items():
        if experiments[name].thresholds.get("inputs", {}).get("labels") != given:
            continue
        with suppress(ValueError):  # its scores are of other predictions
            focus = read_focus(experiments[name], rows, rule, scored)
            about = {"folds": rows.fold_digest, "rule": rule.settings(), "configs": configs(experiments[name])}
            kept = Predictions(rows.ids, rows.names, focus.scored.astype(np.float32), about)
            kept.write(paths.before_corrections(name))


def configs(experiment: ExperimentDir) -> dict[str, Any]:
    """The settings that it, or each member of a stack, was trained with, by name."""
    ones = [experiment.sibling(name) for name in experiment.members] if experiment.is_stack else [experiment]
    return {one.name: one.run.get("config", {}) for one in ones}


def read_before(paths: Paths, name: str) -> Predictions:
    """Raises FileNotFoundError where nothing was scored before the corrections were applied."""
    if not (file := paths.before_corrections(name)).exists():
        raise FileNotFoundError(
            f"no score of {name} from before the corrections: it was not scored when they were first applied; "
            f"set corrections = false in {paths.competition}, make submit COMP={paths.comp}, then set it to true again "
            f"and make submit COMP={paths.comp}"
        )
    return Predictions.read(file)


def compare(experiment: ExperimentDir, scored: np.ndarray, rows: LabelledRows, rule: Rule) -> list[str]:
    """Lines: how many labels are corrected, both scores, and the paired interval on the rows not corrected.

    scored  (n, c) what the metric scores now, cross-fitted
    """
    paths, name = experiment.paths, experiment.name
    before, corrected = read_before(paths, name), read_corrected(paths)
    if before.provenance["rule"] != rule.settings():
        raise ValueError(
            f"the metric or its settings changed since: before {before.provenance['rule']}, now {rule.settings()}"
        )
    old = rows_by_id(before.proba, before.ids, rows.ids, "prediction from before the corrections")
    _, _, given, given_known = read_labels(paths.given_labels)
    kept = np.asarray(~corrected.cells.any(1))
    known = rows.known_of(kept)
    scores = [
        (rule.score(given, old, given_known), rule.score(rows.y[kept], old[kept], known)),
        (rule.score(rows.y, scored, rows.known), rule.score(rows.y[kept], scored[kept], known)),
    ]
    gain, low, high = paired_interval(
        rule.judge, rows.y[kept], old[kept], scored[kept], rule.beta, rows.group[kept], 0, rule.zero_division, known
    )
    verdict = "better" if low > 0 else "worse" if high < 0 else "may be chance"
    labels, of = corrected.labels, corrected.rows
    lines = [
        f"{name}: {labels:,} label{'s' * (labels != 1)} of {of:,} row{'s' * (of != 1)} corrected; {int(kept.sum()):,} "
        "rows not corrected",
        *(
            f"{when}: {rule.metric} {own:.4f} on the rows not corrected; {everywhere:.4f} on all, by the {which} labels"
            for when, which, (everywhere, own) in zip(("before", "after"), ("given", "corrected"), scores, strict=True)
        ),
        f"gain on the rows not corrected: {gain:+.4f}, paired 95 % interval [{low:+.4f}, {high:+.4f}]: {verdict}",
    ]
    return lines + also_changed(before.provenance, experiment, rows)


def also_changed(before: Mapping[str, Any], experiment: ExperimentDir, rows: LabelledRows) -> list[str]:
    """What differs besides the labels, so that the gain is not theirs alone."""
    then, now = before["configs"], configs(experiment)
    found = [f"configs/{name}.toml" for name in now if name in then and then[name] != now[name]]
    found += ["the members of the stack"] if set(then) != set(now) else []
    found += ["the folds"] if before["folds"] != rows.fold_digest else []
    return [f"note: {', '.join(found)} changed too: the gain is not of the corrections alone"] if found else []

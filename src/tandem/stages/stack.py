"""Stack: oof/C/E/{oof,test}.parquet of the members -> oof/C/S/{run.json,oof,test,contributions}, models/C/S/*.

A stack S is an experiment folder like any other; S is `stack` unless STACK= names it. Its out-of-fold rows come from
levels fitted without their fold. Members that need no caption form a smaller stack, in models/C/S/no_caption. Rows
without a caption, out of fold and of the test set, are predicted by it. Members that label new images form another one,
in models/C/S/no_external, which labels new images; its out-of-fold logits are the setting no_external of the
contributions.
"""

import shutil
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.contributions import (
    BOTH,
    NO_CAPTION,
    NO_EXTERNAL,
    NO_IMAGE,
    TERMS,
    SplitTerms,
    replace_contributions,
    splits_in,
    write_contributions,
)
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions, check_same_origin
from tandem.config.experiments import Experiment
from tandem.data.caption_words import word_counts
from tandem.data.labelled_rows import LabelledRows, read_labelled_rows
from tandem.data.split_tables import read_captioned, read_captions
from tandem.ensemble.fit_stack import LEARNED, MEAN, WEIGHTED, StackFit, fit_no_caption_stack, fit_stack
from tandem.ensemble.left_out import Agreement, agreement, agreement_lines, read_without
from tandem.ensemble.member_terms import cross_fitted_terms, fit_split, stack_terms, stored_terms
from tandem.ensemble.stacking import Stack, StackInputs, read_stack, write_fold_stacks, write_stack
from tandem.graph.experiment_dir import Experiments, same_rows
from tandem.graph.keys import Artifact
from tandem.graph.names import stack_task
from tandem.graph.plan import Step
from tandem.logits import sigmoid
from tandem.runtime.resources import peak_mb, threads, versions
from tandem.stages._run import bring_up_to_date

SEED = 0

Members = Mapping[str, Experiment]


def main(args: Namespace) -> None:
    """Also prints how each modality's term agrees with what happens when it is missing."""
    bring_up_to_date(args.comp, "stack", args.exps, stack=args.stack, budget=args.budget)
    for line in agreement_lines(read_json(Paths(args.comp).run(args.stack)).get("left_out", {})):
        print(line)


def run(paths: Paths, step: Step) -> None:
    name, members = step.task.subject, step.task.config
    oof, *tests = step.task.artifacts  # no second one without a test table
    rows = read_labelled_rows(paths)
    if oof in step.stale:
        fit(paths, name, rows, members, oof)
    for test in tests:
        if test in step.stale or test.stale_reason():  # `fit` removes its contributions
            predict_test(paths, name, rows, members, test)


def fit(paths: Paths, name: str, rows: LabelledRows, members: Members, artifact: Artifact) -> None:
    """Fits on the members' out-of-fold predictions; writes models, predictions, contributions and last `run.json`."""
    start = time.perf_counter()
    predictions = read_members(paths, members, rows)
    probas = {member: found.aligned_to(rows.ids) for member, found in predictions.items()}
    folder = paths.stack(name).parent
    artifact.invalidate()
    experiments = Experiments(paths)
    no_caption = fit_without_captions(paths, name, rows, probas, members)
    captioned = read_captioned(paths, "train", rows.ids)
    enough = no_caption is not None and len(np.unique(rows.fold[captioned])) > 1
    used = captioned if enough else np.ones(len(rows.ids), bool)
    unfinished = paths.unfinished(artifact.key)
    fitted = fit_captioned(paths, rows, probas, used, unfinished)
    own, stack, fold_stacks = split_terms(paths, rows, members, fitted, used)
    write_stack(folder, stack)
    write_fold_stacks(folder, fold_stacks)
    no_external = fit_without_external(paths, name, rows, probas, members, used, unfinished / NO_EXTERNAL)
    seconds = time.perf_counter() - start
    proba, terms = np.zeros(rows.y.shape), np.zeros((*rows.y.shape, len(TERMS)), np.float32)
    proba[used], terms[used] = fitted.proba, own
    written: list[SplitTerms] = [("train", rows.ids, terms)]
    if no_caption is not None:
        terms[~captioned], proba[~captioned] = no_caption[~captioned], sigmoid(no_caption[~captioned].sum(-1))
        written.append((NO_CAPTION, rows.ids, no_caption))
    if no_external is not None:
        if no_caption is not None:
            no_external[~captioned] = no_caption[~captioned]
        written.append((NO_EXTERNAL, rows.ids, no_external))
    paths.test(name).unlink(missing_ok=True)  # its contributions are in the file that is replaced now
    write_contributions(paths.contributions(name), rows.names, written)
    left_out = check_terms(paths, rows, probas, members, terms, no_caption)
    origin = origin_of(paths, name, rows, artifact)
    Predictions(rows.ids, rows.names, proba, origin).write(paths.oof(name))
    stack_mb = sum(f.stat().st_size for f in folder.iterdir() if f.is_file()) / 2**20
    member_mb = sum(read_json(paths.run(member))["model_mb"] for member in members)
    run = {
        "experiment": name,
        "competition": paths.comp,
        "members": {member: found.provenance["key"] for member, found in predictions.items()},
        "external": [member for member, experiment in members.items() if not experiment.labels_new_images],
        "marks": list(dict.fromkeys(mark for member in members for mark in experiments[member].marks)),
        **fitted.summary,
        "left_out": left_out,  # rank correlations of the terms with what happens without a modality
        **artifact.made_from,
        "fold_map": rows.fold_digest,
        "seconds": round(seconds, 2),
        "peak_mb": peak_mb(),
        "model_mb": round(stack_mb + member_mb, 2),  # of all that is needed to predict
        "versions": versions(),
    }
    write_json(paths.run(name), run)
    shutil.rmtree(paths.unfinished(artifact.key).parent, ignore_errors=True)
    print_summary(stack_task(name), fitted, list(members), seconds)


def fit_captioned(
    paths: Paths, rows: LabelledRows, probas: Mapping[str, np.ndarray], used: np.ndarray, unfinished: Path
) -> StackFit:
    """The stack with captions, fitted on the rows `used` (n,) bool."""
    words = read_word_counts(paths, "train", rows.ids)
    words, known = (None if of_rows is None else of_rows[used] for of_rows in (words, rows.known))
    members = {name: proba[used] for name, proba in probas.items()}
    y, fold, group = rows.y[used], rows.fold[used], rows.group[used]
    return fit_stack(members, words, y, fold, SEED, threads(), group, known, unfinished)


def fit_without_external(
    paths: Paths,
    stack: str,
    rows: LabelledRows,
    probas: Mapping[str, np.ndarray],
    members: Members,
    used: np.ndarray,
    unfinished: Path,
) -> np.ndarray | None:
    """Fits and writes the stack of the members that label new images, on the rows `used` (n,) bool.

    Returns its cross-fitted TERMS (n, c, 6), 0 in other rows; None, with no such stack, where all members do,
    or none.
    """
    own = {name: experiment for name, experiment in members.items() if experiment.labels_new_images}
    folder = paths.no_external_stack(stack).parent
    if not own or len(own) == len(members):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    fitted = fit_captioned(paths, rows, {name: probas[name] for name in own}, used, unfinished)
    terms = np.zeros((*rows.y.shape, len(TERMS)), np.float32)
    terms[used], fitted_stack, fold_stacks = split_terms(paths, rows, own, fitted, used)
    write_stack(folder, fitted_stack)
    write_fold_stacks(folder, fold_stacks)
    return terms


def split_terms(
    paths: Paths, rows: LabelledRows, members: Members, fitted: StackFit, used: np.ndarray
) -> tuple[np.ndarray, Stack, dict[int, Stack]]:
    """(cross-fitted TERMS (n, c, 6) of the rows `used` (n,) bool, the stack with its `TermSplit`, those of the folds
    with theirs, which have the means of all rows)."""
    ids = [rows.ids[i] for i in np.flatnonzero(used)]
    sources = stored_terms(paths, members, BOTH, ids, len(rows.names))
    terms = cross_fitted_terms(fitted.contributions, fitted.inputs, fitted.fold, sources)
    split, inputs = fit_split(fitted.stack, fitted.inputs, sources), fitted.inputs
    fold_stacks = {
        k: replace(one, split=fit_split(one, inputs, sources, split.means)) for k, one in fitted.fold_stacks.items()
    }
    return terms, replace(fitted.stack, split=split), fold_stacks


def check_terms(
    paths: Paths,
    rows: LabelledRows,
    probas: Mapping[str, np.ndarray],
    members: Members,
    terms: np.ndarray,
    no_caption: np.ndarray | None,
) -> Agreement:
    """How the stack's terms (n, c, 6) agree with its logits without captions, and with those of a mean of the members
    that can do without photos."""
    if not paths.captions("train").exists():
        return {}
    usable, photos = {}, None
    for i, (name, experiment) in enumerate(members.items()):
        if experiment.reads == {"caption"}:
            usable[i] = probas[name]
        elif experiment.explains and NO_IMAGE in splits_in(file := paths.contributions(name)):
            usable[i] = read_without(file, NO_IMAGE, rows.ids, rows.names)
    captioned = read_captioned(paths, "train", rows.ids)
    if usable and any("image" in experiment.reads for experiment in members.values()):
        photos = fit_no_caption_stack(usable, rows.y, rows.fold, SEED, rows.known)[1][captioned].sum(-1)
    captions = None if no_caption is None else no_caption[captioned].sum(-1)
    return agreement(rows.names, terms[captioned], {"captions": captions, "photos": photos})


def print_summary(title: str, fitted: StackFit, members: Sequence[str], seconds: float) -> None:
    print(f"{title} of {len(members)}: {', '.join(members)}; {seconds:.1f} s")
    if some := fitted.summary.get("second_level_rows"):
        print(f"boosted trees and regressions were fitted on {some:,} rows, drawn from {len(fitted.fold):,}")
    if fitted.summary["dropped"]:
        print(f"not used, because they do not lower the loss: {', '.join(fitted.summary['dropped'])}")
    if (kept := fitted.summary["kept"]) != LEARNED:
        used = {MEAN: "the plain mean", WEIGHTED: "the weighted mean"}.get(kept, kept)
        print(f"boosted trees and regressions gain nothing over {used}: {used} is used instead")


def read_members(paths: Paths, members: Members, rows: LabelledRows) -> dict[str, Predictions]:
    """Out-of-fold predictions; raises ValueError where they are of other rows, labels or folds."""
    predictions = {name: Predictions.read(paths.oof(name)) for name in members}
    check_same_origin(predictions)
    for name, member in predictions.items():
        if not same_rows(member, rows.names, rows.fold_digest):
            raise ValueError(f"{paths.oof(name)} was made with another fold map or label list; run make train")
    return predictions


def fit_without_captions(
    paths: Paths, stack_name: str, rows: LabelledRows, probas: Mapping[str, np.ndarray], members: Members
) -> np.ndarray | None:
    """Fits and writes the stack for rows without a caption.

    Returns its cross-fitted TERMS (n, c, 6); None, with no such stack, where every member needs captions, or there are
    none. A stack of image models has one too, because with captions it reads their length.
    """
    usable = {
        i: probas[name]
        if experiment.reads == {"image"}
        else read_without(paths.contributions(name), NO_CAPTION, rows.ids, rows.names)
        for i, (name, experiment) in enumerate(members.items())
        if not experiment.needs_captions
        and (experiment.reads == {"image"} or NO_CAPTION in splits_in(paths.contributions(name)))
    }
    if not usable or not paths.captions("train").exists():
        shutil.rmtree(paths.no_caption_stack(stack_name).parent, ignore_errors=True)
        return None
    fold_stacks: dict[int, Stack] = {}
    stack, contributions = fit_no_caption_stack(usable, rows.y, rows.fold, SEED, rows.known, fold_stacks)
    write_stack(paths.no_caption_stack(stack_name).parent, stack)
    write_fold_stacks(paths.no_caption_stack(stack_name).parent, fold_stacks)
    return stack_terms(contributions, ["image"] * len(usable), None)


def predict_test(paths: Paths, name: str, rows: LabelledRows, members: Members, artifact: Artifact) -> None:
    tests = [Predictions.read(paths.test(member)) for member in members]
    ids = tests[0].ids
    inputs = StackInputs.of([test.aligned_to(ids) for test in tests], read_word_counts(paths, "test", ids))
    stack = read_stack(paths.stack(name).parent)
    sources = stored_terms(paths, members, "test", ids, len(rows.names))
    proba, terms = stack.predict_proba(inputs), stack_terms(stack.contributions(inputs), sources, stack.split)
    missing = np.flatnonzero(~read_captioned(paths, "test", ids))
    if paths.no_caption_stack(name).exists():
        # fusion networks predicted these rows from the image alone
        without, few = read_stack(paths.no_caption_stack(name).parent), inputs.take(missing)
        terms[missing] = stack_terms(without.contributions(few), ["image"] * len(members), None)
        proba[missing] = without.predict_proba(few)
    replace_contributions(paths.contributions(name), rows.names, ("test", ids, terms))
    origin = origin_of(paths, name, rows, artifact) | {"inputs": dict(artifact.inputs)}
    Predictions(ids, rows.names, proba, origin).write(paths.test(name))


def read_word_counts(paths: Paths, split: str, ids: Sequence[str]) -> np.ndarray | None:
    """(n,) word counts of the captions; None without captions."""
    if not paths.captions(split).exists():
        return None
    caption = dict(zip(*read_captions(paths.captions(split)), strict=True))
    return word_counts([caption[id] for id in ids])


def origin_of(paths: Paths, name: str, rows: LabelledRows, artifact: Artifact) -> dict[str, str]:
    return {"experiment": name, "competition": paths.comp, "folds": rows.fold_digest, "key": artifact.key}

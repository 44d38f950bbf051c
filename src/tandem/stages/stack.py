"""Stack: oof/C/E/{oof,test}.parquet of the members -> oof/C/stack/{run.json,oof,test,contributions}, models/C/stack/*.

A stack is an experiment folder like any other. Its out-of-fold rows come from levels that never saw their fold. Members
that do without captions are a smaller stack for rows that have none, in models/C/stack/no_caption.
"""

import shutil
import time

import numpy as np

from tandem.artifacts.atomic_io import digest, read_json, write_json
from tandem.artifacts.contributions import (
    NO_CAPTION,
    TERMS,
    gathered,
    read_contributions,
    write_contributions,
)
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions, read_provenance, same_origin
from tandem.config.experiments import read_resolved
from tandem.data.labelled_rows import Labelled, read_labelled
from tandem.data.split_tables import read_captions
from tandem.ensemble.stacking import (
    LEARNERS,
    CrossFitStack,
    Level,
    Stack,
    choose,
    cross_fitted_mean,
    fixed_stack,
    mean_stack,
    spread,
)
from tandem.logits import logit, sigmoid
from tandem.metrics import log_loss
from tandem.runtime.resources import peak_mb, threads, versions

NAME = "stack"
SEED = 0
VERSION = 4  # of the method: another number makes every stack stale


def add_arguments(parser) -> None:
    parser.add_argument("--exps", required=True, nargs="+", help="the members")


def main(args) -> None:
    paths = Paths(args.comp)
    rows = read_labelled(paths)
    members = {name: Predictions.read(paths.oof(name)) for name in args.exps}
    same_origin(members)
    for name, member in members.items():
        if member.names != rows.names or member.provenance.get("folds") != rows.fold_digest:
            raise ValueError(
                f"{paths.oof(name)} was made with another fold map or label list; run make train"
            )
    origins = [(name, member.provenance["key"]) for name, member in members.items()]
    words, words_digest = _words(paths, "train", rows.ids)
    key = digest([origins, rows.label_digest, words_digest, SEED, VERSION])
    folder = paths.model(NAME, 0, "").parent
    made = (folder / "stack.json").exists() and paths.contributions(NAME).exists()
    if made and read_provenance(paths.oof(NAME)).get("key") == key:
        paths.oof(NAME).touch()
    else:
        level = Level.of([member.aligned_to(rows.ids) for member in members.values()], words)
        _fit(paths, rows, members, level, key)
    if not all(paths.test(name).exists() for name in args.exps):
        return
    tests = {name: Predictions.read(paths.test(name)) for name in args.exps}
    ids = next(iter(tests.values())).ids
    words, words_digest = _words(paths, "test", ids)
    test_key = digest([key, [member.provenance["key"] for member in tests.values()], words_digest])
    if read_provenance(paths.test(NAME)).get("key") == test_key:
        paths.test(NAME).touch()
        return
    level = Level.of([member.aligned_to(ids) for member in tests.values()], words)
    stack = Stack.load(folder)
    parts = _terms(paths, args.exps, spread(stack, level))
    write_contributions(
        paths.contributions(NAME),
        rows.names,
        [
            *(part for part in read_contributions(paths.contributions(NAME)) if part[0] != "test"),
            ("test", ids, parts),
        ],
    )
    proba = stack.predict_proba(level)
    Predictions(ids, rows.names, proba, _origin(paths, rows, test_key)).write(paths.test(NAME))


def _fit(paths: Paths, rows: Labelled, members: dict[str, Predictions], level: Level, key: str) -> None:
    start = time.perf_counter()
    names, m = list(members), len(members)
    fits = CrossFitStack(level, rows.y, rows.fold, SEED, threads())
    stacked, parts = fits.cross_fitted()
    single = int(np.argmin([log_loss(rows.y, member.aligned_to(rows.ids)) for member in members.values()]))
    simple = {names[single]: np.eye(m)[single], "mean": np.full(m, 1 / m)}
    fixed = {name: fixed_stack(level, weights) for name, weights in simple.items()}
    candidates = {name: stack.predict_proba(level) for name, stack in fixed.items()} | {NAME: stacked}
    kept, gains = choose(rows.y, candidates)
    stack = fits.stack() if kept == NAME else fixed[kept]
    if kept != NAME:
        parts = spread(stack, level)
    folder = paths.model(NAME, 0, "").parent
    stack.save(folder)
    seconds = time.perf_counter() - start
    used = stack.second.members if kept == NAME else range(m)
    dropped = [name for i, name in enumerate(names) if i not in used]
    runs = [read_json(paths.run(name)) for name in members]
    stack_mb = sum(f.stat().st_size for f in folder.iterdir() if f.is_file()) / 2**20
    run = {
        "experiment": NAME,
        "competition": paths.comp,
        "members": {name: member.provenance["key"] for name, member in members.items()},
        "kept": kept,
        "dropped": dropped,
        "candidates": {name: log_loss(rows.y, proba) for name, proba in candidates.items()},
        "gains": gains,
        "third_level": dict(zip(LEARNERS, stack.weights.tolist(), strict=True)),
        "shift": stack.shift,
        "scale": stack.scale,
        "weights": dict(
            zip([names[i] for i in stack.second.members], stack.second.weights.tolist(), strict=True)
        ),
        "key": key,
        "folds": rows.fold_digest,
        "seconds": round(seconds, 2),
        "peak_mb": peak_mb(),
        "model_mb": round(stack_mb + sum(r["model_mb"] for r in runs), 2),  # all it takes to predict
        "versions": versions(),
    }
    write_json(paths.run(NAME), run)
    written = [("train", rows.ids, _terms(paths, names, parts))]
    if (blind := _without_captions(paths, rows, members)) is not None:
        written.append((NO_CAPTION, rows.ids, blind))
    write_contributions(paths.contributions(NAME), rows.names, written)
    paths.test(NAME).unlink(missing_ok=True)  # its contributions were in that file
    Predictions(rows.ids, rows.names, candidates[kept], _origin(paths, rows, key)).write(paths.oof(NAME))
    print(f"stack of {len(members)}: {', '.join(members)}; {seconds:.1f} s")
    if dropped:
        print(f"never helps, so not used: {', '.join(dropped)}")
    if kept != NAME:
        print(f"learned weights gain no more than chance over {kept}: that is used instead")


def _without_captions(paths: Paths, rows: Labelled, members: dict[str, Predictions]) -> np.ndarray | None:
    """Fits and keeps what labels rows without a caption: a mean of the members that do without.

    Returns its cross-fitted TERMS (n, c, 5), or None where no member does without, or none reads captions.
    """
    kept = paths.blind_stack(NAME)
    experiments = [read_resolved(paths.experiment_config(name)) for name in members]
    able = [i for i, experiment in enumerate(experiments) if not experiment.needs_captions]
    if not able or not any("caption" in experiment.reads for experiment in experiments):
        shutil.rmtree(kept.parent, ignore_errors=True)
        return None
    probas = [np.full(rows.y.shape, 0.5)] * len(members)  # of the others, which have no weight
    for i, (name, member) in enumerate(members.items()):
        if i in able:
            blind = member if experiments[i].reads == {"image"} else _no_caption(paths, name, rows.names)
            probas[i] = blind.aligned_to(rows.ids)
    level = Level.of(probas, None)
    kept.parent.mkdir(exist_ok=True)
    mean_stack(level, rows.y, able, SEED).save(kept.parent)
    proba = cross_fitted_mean(level, rows.y, rows.fold, able, SEED)
    return (np.eye(len(TERMS))[TERMS.index("image")] * logit(proba)[..., None]).astype(np.float32)


def _no_caption(paths: Paths, name: str, labels: tuple[str, ...]) -> Predictions:
    """What a network that joins photo and caption says out of fold of the photo alone."""
    parts = {setting: (ids, terms) for setting, ids, terms in read_contributions(paths.contributions(name))}
    ids, terms = parts[NO_CAPTION]
    return Predictions(ids, labels, sigmoid(terms.sum(-1)))


def _words(paths: Paths, split: str, ids: list[str]) -> tuple[np.ndarray | None, str]:
    """((n,) words of each caption, digest of them), or (None, "") where there are no captions."""
    if not paths.captions(split).exists():
        return None, ""
    caption = dict(zip(*read_captions(paths.captions(split)), strict=True))
    words = np.array([len(caption[name].split()) for name in ids])
    return words, digest(words.tolist())


def _terms(paths: Paths, names: list[str], parts: np.ndarray) -> np.ndarray:
    """(n, c, m + 2) of members, context and base -> (n, c, 5) of TERMS."""
    return gathered(parts, [read_resolved(paths.experiment_config(name)).reads for name in names])


def _origin(paths: Paths, rows: Labelled, key: str) -> dict[str, str]:
    return {"experiment": NAME, "competition": paths.comp, "folds": rows.fold_digest, "key": key}

"""Stack: oof/C/E/{oof,test}.parquet of the members -> oof/C/stack/{run.json,oof,test,contributions}, models/C/stack/*.

A stack is an experiment folder like any other. Its out-of-fold rows come from levels fitted without their fold. Members
that need no caption form a smaller stack for rows without one, in models/C/stack/no_caption.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np

from tandem.artifacts.atomic_io import digest, read_json, write_json
from tandem.artifacts.contributions import (
    NO_CAPTION,
    TERMS,
    Part,
    gathered,
    read_contributions,
    write_contributions,
)
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions, read_provenance, same_origin
from tandem.config.experiments import read_resolved, sees
from tandem.data.labelled_rows import Labelled, read_labelled
from tandem.data.split_tables import read_captions
from tandem.ensemble.fit_stack import LEARNED, fit_no_caption_stack, fit_stack
from tandem.ensemble.stack_store import read_stack, save_no_caption_stack, write_stack
from tandem.ensemble.stacking import STACK_VERSION, StackInputs, count_words
from tandem.inference.fold_models import needs_captions
from tandem.logits import logit, sigmoid
from tandem.runtime.resources import peak_mb, threads, versions

NAME = "stack"
SEED = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exps", required=True, nargs="+", help="the members")


def main(args: argparse.Namespace) -> None:
    paths = Paths(args.comp)
    rows = read_labelled(paths)
    members = _read_members(paths, args.exps, rows)
    key = digest(
        [_keys(members), rows.label_digest, _digest_words(paths, "train", rows.ids), SEED, STACK_VERSION]
    )
    made = paths.stack(NAME).exists() and paths.contributions(NAME).exists()
    if made and read_provenance(paths.oof(NAME)).get("key") == key:
        paths.oof(NAME).touch()
    else:
        _fit(paths, rows, members, key)
    if not all(paths.test(name).exists() for name in args.exps):
        return
    tests = {name: Predictions.read(paths.test(name)) for name in args.exps}
    ids = next(iter(tests.values())).ids
    test_key = digest([key, [k for _, k in _keys(tests)], _digest_words(paths, "test", ids)])
    if read_provenance(paths.test(NAME)).get("key") == test_key:
        paths.test(NAME).touch()
    else:
        _predict_test(paths, rows, tests, test_key)


def _read_members(paths: Paths, names: Sequence[str], rows: Labelled) -> dict[str, Predictions]:
    """Out-of-fold predictions; raises ValueError where they are of other rows, labels or folds."""
    members = {name: Predictions.read(paths.oof(name)) for name in names}
    same_origin(members)
    for name, member in members.items():
        if member.names != rows.names or member.provenance.get("folds") != rows.fold_digest:
            raise ValueError(
                f"{paths.oof(name)} was made with another fold map or label list; run make train"
            )
    return members


def _fit(paths: Paths, rows: Labelled, members: dict[str, Predictions], key: str) -> None:
    start = time.perf_counter()
    probas = {name: member.aligned_to(rows.ids) for name, member in members.items()}
    words = _words(paths, "train", rows.ids)
    fit = fit_stack(probas, words, rows.y, rows.fold, SEED, threads())
    folder = paths.stack(NAME).parent
    write_stack(folder, fit.stack)
    seconds = time.perf_counter() - start
    stack_mb = sum(f.stat().st_size for f in folder.iterdir() if f.is_file()) / 2**20
    run = {
        "experiment": NAME,
        "competition": paths.comp,
        "members": dict(_keys(members)),
        **fit.summary(rows.y),
        "key": key,
        "folds": rows.fold_digest,
        "seconds": round(seconds, 2),
        "peak_mb": peak_mb(),
        # of all that is needed to predict
        "model_mb": round(stack_mb + sum(read_json(paths.run(name))["model_mb"] for name in members), 2),
        "versions": versions(),
    }
    write_json(paths.run(NAME), run)
    written: list[Part] = [("train", rows.ids, _terms(paths, fit.names, fit.contributions))]
    if (no_caption := _fit_without_captions(paths, rows, probas)) is not None:
        written.append((NO_CAPTION, rows.ids, no_caption))
    write_contributions(paths.contributions(NAME), rows.names, written)
    paths.test(NAME).unlink(missing_ok=True)  # its contributions were in that file
    Predictions(rows.ids, rows.names, fit.proba, _origin(paths, rows, key)).write(paths.oof(NAME))
    print(f"stack of {len(members)}: {', '.join(members)}; {seconds:.1f} s")
    if fit.dropped:
        print(f"never helps, so not used: {', '.join(fit.dropped)}")
    if fit.kept != LEARNED:
        print(f"learned weights gain no more than chance over {fit.kept}: that is used instead")


def _fit_without_captions(paths: Paths, rows: Labelled, probas: dict[str, np.ndarray]) -> np.ndarray | None:
    """Fits and writes the stack for rows without a caption.

    Returns its cross-fitted TERMS (n, c, 5); None, with no such stack, where every member needs captions or none does.
    """
    experiments = {name: read_resolved(paths.experiment_config(name)) for name in probas}
    usable = {
        i: probas[name] if sees(experiments[name]) == {"image"} else _read_no_caption(paths, name, rows)
        for i, name in enumerate(probas)
        if not needs_captions(experiments[name])
    }
    if not usable or not any("caption" in sees(experiment) for experiment in experiments.values()):
        save_no_caption_stack(paths, NAME, None)
        return None
    stack, proba = fit_no_caption_stack(usable, rows.y, rows.fold, SEED)
    save_no_caption_stack(paths, NAME, stack)
    return (np.eye(len(TERMS))[TERMS.index("image")] * logit(proba)[..., None]).astype(np.float32)


def _read_no_caption(paths: Paths, name: str, rows: Labelled) -> np.ndarray:
    """(n, c) out-of-fold probabilities that an image-caption network gives from the image alone."""
    parts = {setting: (ids, terms) for setting, ids, terms in read_contributions(paths.contributions(name))}
    ids, terms = parts[NO_CAPTION]
    return Predictions(ids, rows.names, sigmoid(terms.sum(-1))).aligned_to(rows.ids)


def _predict_test(paths: Paths, rows: Labelled, tests: dict[str, Predictions], key: str) -> None:
    ids = next(iter(tests.values())).ids
    probas = [member.aligned_to(ids) for member in tests.values()]
    inputs, stack = StackInputs.of(probas, _words(paths, "test", ids)), read_stack(paths.stack(NAME).parent)
    written = [part for part in read_contributions(paths.contributions(NAME)) if part[0] != "test"]
    written.append(("test", ids, _terms(paths, list(tests), stack.contributions(inputs))))
    write_contributions(paths.contributions(NAME), rows.names, written)
    proba = stack.predict_proba(inputs)
    Predictions(ids, rows.names, proba, _origin(paths, rows, key)).write(paths.test(NAME))


def _keys(members: dict[str, Predictions]) -> list[tuple[str, str]]:
    return [(name, member.provenance["key"]) for name, member in members.items()]


def _words(paths: Paths, split: str, ids: Sequence[str]) -> np.ndarray | None:
    """(n,) word counts of the captions, None without captions."""
    if not paths.captions(split).exists():
        return None
    caption = dict(zip(*read_captions(paths.captions(split)), strict=True))
    return count_words([caption[name] for name in ids])


def _digest_words(paths: Paths, split: str, ids: Sequence[str]) -> str:
    words = _words(paths, split, ids)
    return "" if words is None else digest(words.tolist())


def _terms(paths: Paths, names: Sequence[str], contributions: np.ndarray) -> np.ndarray:
    """(n, c, m + 2) of members, context and base -> (n, c, 5) of TERMS."""
    return gathered(contributions, [sees(read_resolved(paths.experiment_config(name))) for name in names])


def _origin(paths: Paths, rows: Labelled, key: str) -> dict[str, str]:
    return {"experiment": NAME, "competition": paths.comp, "folds": rows.fold_digest, "key": key}

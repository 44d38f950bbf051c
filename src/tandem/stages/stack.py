"""Stack: oof/C/E/{oof,test}.parquet of the members -> oof/C/stack/{run.json,oof,test}, models/C/stack/*.

A stack is an experiment folder like any other. Its out-of-fold rows come from a second level that never saw their fold.
"""

import time

from tandem.files import digest, read_json, write_json
from tandem.machine import peak_mb, threads, versions
from tandem.models.boosting import PARAMETERS, ROUNDS
from tandem.paths import Paths
from tandem.predictions import Predictions, read_provenance, same_origin
from tandem.stacking import LOGISTIC_C, Stack, cross_fit_stack, features
from tandem.training import Labelled, read_labelled

NAME = "stack"
SEED = 0


def add_arguments(parser) -> None:
    parser.add_argument("--exps", required=True, nargs="+", help="the members")


def main(args) -> None:
    paths = Paths(args.comp)
    rows = read_labelled(paths)
    folder = paths.model(NAME, 0, "").parent
    members = {name: Predictions.read(paths.oof(name)) for name in args.exps}
    same_origin(members)
    for name, member in members.items():
        if member.names != rows.names or member.provenance.get("folds") != rows.fold_digest:
            raise ValueError(
                f"{paths.oof(name)} was made with another fold map or label list; run make train"
            )
    settings = {"lightgbm": {**PARAMETERS, "rounds": ROUNDS}, "logistic_c": LOGISTIC_C, "seed": SEED}
    origins = [(name, member.provenance["key"]) for name, member in members.items()]
    key = digest([origins, rows.label_digest, settings])
    if read_provenance(paths.oof(NAME)).get("key") == key and (folder / "logistic.safetensors").exists():
        paths.oof(NAME).touch()
    else:
        _fit(paths, rows, members, key, settings)
    if not all(paths.test(name).exists() for name in args.exps):
        return
    tests = {name: Predictions.read(paths.test(name)) for name in args.exps}
    test_key = digest([key, [member.provenance["key"] for member in tests.values()]])
    if read_provenance(paths.test(NAME)).get("key") == test_key:
        paths.test(NAME).touch()
        return
    ids = next(iter(tests.values())).ids
    x = features([member.aligned_to(ids) for member in tests.values()])
    proba = Stack(SEED, threads()).load(folder).predict_proba(x)
    Predictions(ids, rows.names, proba, _origin(rows, test_key)).write(paths.test(NAME))


def _fit(paths: Paths, rows: Labelled, members: dict[str, Predictions], key: str, settings: dict) -> None:
    start = time.perf_counter()
    x = features([member.aligned_to(rows.ids) for member in members.values()])
    proba = cross_fit_stack(x, rows.y, rows.fold, SEED, threads())
    folder = paths.model(NAME, 0, "").parent
    Stack(SEED, threads()).fit(x, rows.y).save(folder)
    seconds = time.perf_counter() - start
    stack_mb = sum(f.stat().st_size for f in folder.iterdir()) / 2**20
    runs = [read_json(paths.run(name)) for name in members]
    run = {
        "experiment": NAME,
        "competition": paths.comp,
        "config": {"members": list(members), **settings},
        "key": key,
        "folds": rows.fold_digest,
        "seconds": round(seconds, 2),
        "peak_mb": peak_mb(),
        "model_mb": round(stack_mb + sum(r["model_mb"] for r in runs), 2),  # all it takes to predict
        "versions": versions(),
    }
    write_json(paths.run(NAME), run)
    Predictions(rows.ids, rows.names, proba, _origin(rows, key)).write(paths.oof(NAME))
    print(f"stack of {len(members)}: {', '.join(members)}; {seconds:.1f} s")


def _origin(rows: Labelled, key: str) -> dict[str, str]:
    return {"experiment": NAME, "folds": rows.fold_digest, "key": key}

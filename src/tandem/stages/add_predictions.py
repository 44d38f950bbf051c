"""Add predictions: OOF, TEST, FOLDS (CSV or parquet) -> input/C/external/NAME/*, oof/C/NAME/{run.json,oof,test}.

The files are checked whole, then kept in `input/C/external/NAME/`; the experiment NAME, of kind "external", is made
from these and scored. ZIP, of the notebook that trains at Kaggle, has these files of several experiments; each is added
as NAME_kaggle. With REMOVE=1 all this is deleted.
"""

import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tandem.artifacts.atomic_io import file_digest, read_json, write_json, write_with
from tandem.artifacts.paths import Paths, check_name, local_path
from tandem.artifacts.predictions import Predictions, read_provenance
from tandem.config.competition import Competition, require_competition
from tandem.config.external import OTHER_FOLDS
from tandem.data.archive import unpack_zip
from tandem.data.external_predictions import (
    KINDS,
    Kind,
    as_probabilities,
    kind_of,
    read_folds,
    read_values,
    same_partition,
)
from tandem.data.labelled_rows import LabelledRows, read_labelled_rows
from tandem.data.split_tables import read_ids
from tandem.data.user_table import read_user_table
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments
from tandem.graph.keys import STACK
from tandem.graph.lock import only_run
from tandem.graph.plan import Step, steps
from tandem.report.leaks import leak_result
from tandem.runtime.leftovers import scratch_folder
from tandem.runtime.resources import peak_mb, versions
from tandem.runtime.wrong_values import require_one_of
from tandem.stages._run import bring_up_to_date, open_graph
from tandem.training.kaggle_session import FOLDS, RESULTS, RESULTS_RECORD


@dataclass(frozen=True)
class Added:
    """Checked predictions in the order of our rows."""

    oof: Predictions
    test: Predictions | None  # None of a competition without test rows
    folds: list[str] | None  # (n,) the fold of each training row; None where they are unknown


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--name", default="", help="of the new experiment")
    parser.add_argument("--zip", type=local_path, help="results of train.ipynb, which make kernel EXPS= writes")
    parser.add_argument("--oof", type=local_path, help="out-of-fold predictions of all training rows: CSV or parquet")
    parser.add_argument("--test", type=local_path, help="predictions of all test rows")
    parser.add_argument("--folds", type=local_path, help="columns id and fold: which rows were predicted together")
    parser.add_argument("--kind", default="", help=f"{' or '.join(KINDS)}, where the values do not tell")
    parser.add_argument("--again", action="store_true", help="replace what was added under this name")
    parser.add_argument("--remove", action="store_true", help="delete what was added under this name")


def main(args: Namespace) -> None:
    if not args.zip:
        add(args)
        return
    require_competition(args.comp)
    if given := [word for word in ("oof", "test", "folds", "kind", "remove") if getattr(args, word)]:
        raise ValueError(f"ZIP= has all files: leave out {'=, '.join(given).upper()}=")
    with scratch_folder() as work:
        for one in of_results(args, work / "results"):
            add(one)


def of_results(args: Namespace, folder: Path) -> list[Namespace]:
    """The arguments of each experiment in ZIP, unpacked into the new `folder`; raises ValueError where it is another
    kind of zip, or NAME is given for several."""
    unpack_zip(args.zip, folder)
    try:
        record = read_json(folder / RESULTS_RECORD)
        names = {check_name("experiment", name): list(files) for name, files in record["experiments"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{args.zip} is no {RESULTS}, the output of train.ipynb of make kernel: {error}") from error
    if not names:
        raise ValueError(f"{args.zip}: no experiment is finished in it; run the notebook again, with its output added")
    if args.name and len(names) > 1:
        raise ValueError(f"NAME={args.name}: {args.zip} has {len(names)} experiments, {', '.join(names)}; leave it out")
    files = {"folds": folder / FOLDS, "kind": "probabilities", "zip": None}
    return [
        Namespace(**vars(args) | files | {
            "name": args.name or f"{name}_kaggle",
            "oof": folder / name / "oof.parquet",
            "test": folder / name / "test.parquet" if "test.parquet" in there else None,
        })
        for name, there in names.items()
    ]  # fmt: skip


def add(args: Namespace) -> None:
    """Adds, or removes, the predictions of one experiment."""
    paths, name = Paths(args.comp), args.name
    if not name:
        raise ValueError(
            "there is no name; run: make add-predictions NAME=notebook OOF=oof.csv TEST=test.csv, or ZIP=results.zip"
        )
    check_name("NAME", name)
    if args.remove:
        remove(paths, name)
        return
    require_competition(args.comp)
    if args.kind:
        require_one_of("KIND", args.kind, list(KINDS))
    with only_run(paths):
        graph = open_graph(paths)
    if steps(graph, ["folds"]):
        bring_up_to_date(args.comp, "folds")
        graph = open_graph(paths)
    check_free(graph, name)
    added = read_added(graph, args)
    with only_run(paths):
        if keep(paths, name, added, args.again):
            print(f"{paths.external_oof(name).parent}: {about(added)}")
        else:
            print(f"{paths.external_oof(name).parent} holds the same predictions already")
    bring_up_to_date(args.comp, "train", name)
    experiment = Experiments(paths)[name]
    if OTHER_FOLDS in experiment.marks:
        print(f"warning: {name}: {about_folds(experiment.run['own_folds'])}")
    if warning := leak_result(experiment)["warning"]:
        print(f"warning: {name} {warning}")
    print(f'to stack it: make submit COMP={args.comp} EXPS="{name} ...", or name it in experiments = [...]')


def check_free(graph: Graph, name: str) -> None:
    """Raises ValueError where NAME belongs to another experiment or to a stack."""
    paths, taken = graph.paths, ""
    if name in graph.experiments and not graph.experiments[name].external:
        taken = f"the experiment of configs/{name}.toml"
    elif name in graph.sets:
        taken = "a set of sets.toml"
    elif name == STACK or (paths.run(name).exists() and Experiments(paths)[name].is_stack):
        taken = "a stack"
    if taken:
        raise ValueError(f"NAME={name}: this is {taken}; choose another name")


def read_added(graph: Graph, args: Namespace) -> Added:
    """Reads and checks all files; raises FileNotFoundError or ValueError with what came, what was expected."""
    paths, competition = graph.paths, graph.competition
    if not args.oof:
        raise ValueError(
            f"there are no out-of-fold predictions; run: make add-predictions NAME={args.name} OOF=oof.csv"
        )
    if competition.has_test and not args.test:
        raise ValueError(f"{paths.comp} has test rows to predict; add TEST=test.csv")
    if args.test and not competition.has_test:
        raise ValueError(f"TEST={args.test}: {paths.comp} has no test rows; leave TEST out")
    rows = read_labelled_rows(paths)
    table, names = read_user_table(args.oof), rows.names
    values = read_values(table, names, rows.ids, "training rows")
    kind: Kind = args.kind or kind_of(table, names, values, rows.y)
    origin = {"competition": paths.comp, "values": kind, "oof": _source(args.oof)}
    test = None
    if args.test:
        ids, test_table = read_ids(paths.images("test")), read_user_table(args.test)
        test_values = read_values(test_table, names, ids, "test rows")
        found = args.kind or kind_of(test_table, names, test_values)
        if found != kind:
            both = f"{args.oof} seems to hold {kind}, {args.test} {found}"
            raise ValueError(f"question: {both}; are they logits or probabilities? Answer with KIND=logits or "
                             "KIND=probabilities")  # fmt: skip
        origin |= {"test": _source(args.test)}
        test = Predictions(ids, names, as_probabilities(test_table, names, test_values, kind), origin)
    oof = Predictions(rows.ids, names, as_probabilities(table, names, values, kind), origin)
    return Added(oof, test, folds_of(args, competition, rows))


def _source(file: Path) -> dict[str, str]:
    return {"file": file.name, "digest": file_digest(file)}


def folds_of(args: Namespace, competition: Competition, rows: LabelledRows) -> list[str] | None:
    """The fold of each row, by FOLDS or where the file is a copy of one of ours; None where they are unknown."""
    if args.folds:
        return read_folds(read_user_table(args.folds), rows.ids, competition.id)
    if args.oof.suffix.lower() == ".parquet" and read_provenance(args.oof).get("folds") == rows.fold_digest:
        return list(map(str, rows.fold.tolist()))
    return None


def keep(paths: Paths, name: str, added: Added, again: bool) -> bool:
    """Writes input/C/external/NAME/ whole or not at all; False where it holds the same. Raises ValueError where it
    holds others, unless `again`."""
    folder = paths.external_oof(name).parent
    new = folder.with_name(f".{name}.new")
    shutil.rmtree(new, ignore_errors=True)
    added.oof.write(new / paths.external_oof(name).name)
    if added.test:
        added.test.write(new / paths.external_test(name).name)
    if added.folds:
        table = pa.table({"id": pa.array(list(added.oof.ids), pa.string()), "fold": pa.array(added.folds, pa.string())})
        write_with(new / paths.external_folds(name).name, lambda partial: pq.write_table(table, partial))
    if folder.exists():
        same = _contents(new) == _contents(folder)
        if same or not again:
            shutil.rmtree(new)
            if same:
                return False
            replace = "add AGAIN=1 to replace them, or choose another NAME"
            raise ValueError(f"{folder} holds other predictions of the same name; {replace}")
        shutil.rmtree(folder)
    new.rename(folder)
    return True


def _contents(folder: Path) -> Mapping[str, Any]:
    """{name of a file: its table}, whatever file it was made from."""
    return {file.name: pq.read_table(file).replace_schema_metadata(None) for file in folder.iterdir()}


def about(added: Added) -> str:
    n, c = added.oof.proba.shape
    test = f", {len(added.test.ids):,} test rows" if added.test else ""
    return f"{n:,} training rows{test}, {c} labels, given as {added.oof.provenance['values']}"


def about_folds(own_folds: str) -> str:
    """What differs, and what it means."""
    differ = {"unknown": "its folds are unknown (give FOLDS=folds.csv)", "other": "its folds differ from ours"}
    return f"{differ[own_folds]}, so it is marked {OTHER_FOLDS!r}: its cross-fitted score may be optimistic"


def remove(paths: Paths, name: str) -> None:
    """Deletes the predictions, and what was made from them alone; raises FileNotFoundError where there are none."""
    kept = paths.external_oof(name).parent
    if not kept.is_dir():
        raise FileNotFoundError(f"{kept} does not exist; nothing was added as {name!r}")
    with only_run(paths):
        made = paths.submission(name)
        for file in (made, made.with_suffix(".json"), paths.decoded(name), *made.parent.glob(f"{name}.*.csv")):
            file.unlink(missing_ok=True)
        shutil.rmtree(paths.experiment(name), ignore_errors=True)
        shutil.rmtree(kept)
    print(f"{kept} and {paths.experiment(name)} are deleted")


def run(paths: Paths, step: Step) -> None:
    """The kept predictions in the order of our rows, as those of any experiment; last `run.json`."""
    name, rows = step.task.subject, read_labelled_rows(paths)
    oof, *tests = step.task.artifacts
    if oof in step.stale:
        write_oof(paths, name, rows, step)
    for artifact in tests:
        if artifact in step.stale:
            ids, origin = read_ids(paths.images("test")), _origin(paths, name, rows, artifact.key)
            given = read_kept(paths.external_test(name), rows, ids)
            Predictions(ids, rows.names, given, origin | {"inputs": artifact.inputs}).write(paths.test(name))


def write_oof(paths: Paths, name: str, rows: LabelledRows, step: Step) -> None:
    artifact, folds, own = step.task.artifacts[0], paths.external_folds(name), "unknown"
    if folds.exists():
        fold = dict(zip(*pq.read_table(folds).to_pydict().values(), strict=True))
        own = "same" if same_partition([fold.get(id) for id in rows.ids], rows.fold.tolist()) else "other"
    proba = read_kept(paths.external_oof(name), rows, rows.ids)
    artifact.invalidate()
    Predictions(rows.ids, rows.names, proba, _origin(paths, name, rows, artifact.key)).write(paths.oof(name))
    run = {
        "experiment": name,
        "competition": paths.comp,
        "config": step.task.config.model_dump(),
        "folds": [],  # no models
        "fold_map": rows.fold_digest,
        "own_folds": own,  # of whoever made them: same as ours, other, unknown
        "marks": [] if own == "same" else [OTHER_FOLDS],
        "source": read_provenance(paths.external_oof(name)),
        "seconds": 0.0,
        "seconds_per_fold": [],
        "peak_mb": peak_mb(),
        "model_mb": 0.0,
        "versions": versions(),
    }
    write_json(paths.run(name), run | artifact.made_from)


def _origin(paths: Paths, name: str, rows: LabelledRows, key: str) -> dict[str, Any]:
    return {"experiment": name, "competition": paths.comp, "folds": rows.fold_digest, "key": key}


def read_kept(file: Path, rows: LabelledRows, ids: list[str]) -> np.ndarray:
    """(n, c) of our rows; raises ValueError where the data changed since they were added."""
    again = "the data changed since these predictions were added; add them again with AGAIN=1"
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist; {again}")
    kept = Predictions.read(file)
    if kept.names != rows.names:
        raise ValueError(f"{file}: the labels are not those of the competition; {again}")
    try:
        return kept.aligned_to(ids)
    except ValueError as error:
        raise ValueError(f"{file}: {error}; {again}") from error

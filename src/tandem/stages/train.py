"""Train: configs/E.toml, folds, features or images -> models/C/E/fold<k>.*, oof/C/E/{run.json,oof,test}.

`oof.parquet` and `test.parquet`: column id, then one float32 probability per label; every id once. A model that
splits its logits into terms also gets `contributions.parquet`: out of fold (both; of networks that can do without one
input no_caption, no_image too) and for the test rows.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.contributions import BOTH, modality_shares, replace_contributions, write_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.experiments import Experiment
from tandem.features.pretrained_weights import load_backbone
from tandem.features.weights_identity import UNRESOLVED, weights_identity
from tandem.graph.declared_stages import Graph
from tandem.graph.keys import Artifact
from tandem.graph.task import Step, step_of
from tandem.graph.units import folds_of
from tandem.logits import sigmoid
from tandem.runtime.resources import peak_mb, versions
from tandem.runtime.torch_setup import use_threads
from tandem.training.copied_models import copy_trained
from tandem.training.fold_job import FoldJob
from tandem.training.parallel_folds import fit, fit_folds
from tandem.training.split_inputs import read_inputs


def prepare(paths: Paths, step: Step) -> None:
    """Downloads weights whose revision is not known yet, and copies models that another experiment has trained."""
    network = step.task.config.pixel_network
    if network and weights_identity(network).endswith(UNRESOLVED):
        load_backbone(network.model, network.weights)
    if step.task.config.seeds > 1:
        graph, job = Graph.open(paths), FoldJob.of(paths, step.task.subject, step.task.config)
        step = step_of(graph.task(step.task.name)) or step
        for k, seed, artifact in folds_of(step):
            if artifact in step.stale:
                copy_trained(graph, job.of_seeds[seed], k, artifact)


def fit_fold(
    paths: Paths, name: str, config: Experiment, k: int, seed: int, made_from: Mapping[str, Any], folds: Sequence[int]
) -> None:
    """The model of one of `folds` and one seed, by its number, and its held-out predictions."""
    fit(FoldJob.of(paths, name, config).of_seeds[seed], k, made_from, folds)


def run(paths: Paths, step: Step) -> None:
    """Pools the predictions of the folds; first fits those that are missing."""
    use_threads()
    oof, *tests = (artifact for artifact in step.task.artifacts if "fold" not in artifact.inputs)
    job, folds = FoldJob.of(paths, step.task.subject, step.task.config), folds_of(step)
    numbers = list(dict.fromkeys(k for k, _, _ in folds))
    missing = [(job.of_seeds[seed], k, a.made_from) for k, seed, a in folds if a in step.stale and a.stale_reason()]
    fit_folds(missing, numbers)
    if oof in step.stale or any(a in step.stale for _, _, a in folds):
        write_oof(job, numbers, oof)
    for test in tests:  # none without a test table
        if test in step.stale or test.stale_reason():  # `write_oof` removes its contributions
            write_test(job, numbers, test)


def write_oof(job: FoldJob, folds: list[int], artifact: Artifact) -> None:
    """Predictions, contributions and last `run.json`."""
    paths, rows = job.paths, job.rows
    artifact.invalidate()
    terms = job.held_out_terms(folds) if job.experiment.has_terms else {}
    if terms:
        paths.test(job.name).unlink(missing_ok=True)  # its contributions are in the file that is replaced now
        parts = [(setting, rows.ids, part) for setting, part in terms.items()]
        write_contributions(paths.contributions(job.name), rows.names, parts)
    for file in paths.models_dir(job.name).glob("fold*"):  # of another number of folds or seeds
        fold, seed = re.findall(r"^fold(\d+)(?:-seed(\d+))?", file.name)[0]
        if int(fold) not in folds or int(seed or 0) >= job.experiment.seeds:
            file.unlink()
    origin = job.origin(artifact.key)
    Predictions(rows.ids, rows.names, job.held_out(folds), origin).write(paths.oof(job.name))
    write_json(paths.run(job.name), run_record(job, folds, terms) | artifact.made_from)


def run_record(job: FoldJob, folds: list[int], terms: dict[str, np.ndarray]) -> dict[str, Any]:
    """The content of `run.json`, without key and inputs."""
    files = [one.file(k, ".safetensors") for k in folds for one in job.of_seeds]
    records = [[read_json(one.file(k, ".json")) for one in job.of_seeds] for k in folds]
    seconds = [sum(record["seconds"] for record in each) for each in records]
    peaks = [record.get("peak_mb", 0) for each in records for record in each]
    return {
        "experiment": job.name,
        "competition": job.paths.comp,
        "config": job.experiment.model_dump(),
        "folds": folds,
        "fold_map": job.rows.fold_digest,
        "seconds": round(sum(seconds), 2),
        "seconds_per_fold": [round(s, 2) for s in seconds],
        **{f"{name}_per_fold": [_joined(name, each) for each in records] for name in ("engine", "node")},
        "peak_mb": max(peak_mb(), *peaks),
        "model_mb": round(sum(f.stat().st_size for f in files) / 2**20, 2),
        **({"shares": modality_shares(job.rows.names, terms[BOTH])} if terms else {}),
        "versions": versions(),
    }


def _joined(name: str, records: list[dict[str, Any]]) -> str:
    """The values of the models of one fold; "unknown" of those that were trained before it was recorded."""
    return ", ".join(dict.fromkeys(record.get(name, "unknown") for record in records))


def write_test(job: FoldJob, folds: list[int], artifact: Artifact) -> None:
    """Mean of the folds' logits for the test rows, as probability; and of their contributions."""
    inputs, ensemble = read_inputs(job.paths, job.experiment, "test"), job.load(folds)
    if job.experiment.has_terms:
        terms = ensemble.terms(inputs)[BOTH]
        part = ("test", inputs.ids, terms.astype(np.float32))
        replace_contributions(job.paths.contributions(job.name), job.rows.names, part)
    proba = sigmoid(terms.sum(-1)).astype(np.float32) if job.experiment.explains else ensemble.probabilities(inputs)
    origin = job.origin(artifact.key) | {"inputs": artifact.inputs}
    Predictions(inputs.ids, job.rows.names, proba, origin).write(job.paths.test(job.name))

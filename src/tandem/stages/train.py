"""Train: configs/E.toml, folds, features or images -> models/C/E/fold<k>.*, oof/C/E/{run.json,oof,test}.

`oof.parquet` and `test.parquet`: column id, then one float32 probability per label; every id once. A model that
splits its logits into terms also gets `contributions.parquet`: out of fold (both; of networks that can do without one
input no_caption, no_image too) and for the test rows.
"""

import re
from typing import Any

import numpy as np

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.contributions import BOTH, modality_shares, read_contributions, write_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.features.pretrained_weights import load_backbone
from tandem.features.weights_identity import UNRESOLVED, weights_identity
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments
from tandem.graph.keys import Artifact
from tandem.graph.plan import Step, step_of
from tandem.logits import sigmoid
from tandem.runtime.resources import peak_mb, versions
from tandem.runtime.torch_setup import use_threads
from tandem.training.copied_models import copy_trained
from tandem.training.fold_job import FoldJob
from tandem.training.parallel_folds import fit_folds
from tandem.training.split_inputs import read_inputs


def run(paths: Paths, step: Step) -> None:
    use_threads()
    network = step.task.config.pixel_network
    if network and weights_identity(network).endswith(UNRESOLVED):
        load_backbone(network.model, network.weights)  # downloads the weights, so that their revision is known
        step = step_of(Graph.open(paths).task(step.task.name)) or step
    folds = [artifact for artifact in step.task.artifacts if "fold" in artifact.inputs]
    oof, *tests = step.task.artifacts[len(folds) :]  # no test predictions without a test table
    numbers = list(dict.fromkeys(artifact.inputs["fold"] for artifact in folds))
    config, teacher = step.task.config, step.task.config.teacher
    job = FoldJob(
        paths, step.task.subject, config, teacher and FoldJob(paths, teacher, Experiments(paths)[teacher].config)
    )
    models = [(one, k) for one in job.of_seeds for k in numbers]  # in the order of `folds`
    stale = [(*model, a) for model, a in zip(models, folds, strict=True) if a in step.stale]
    if config.seeds > 1:
        graph = Graph.open(paths)
        stale = [one for one in stale if not copy_trained(graph, *one)]
    fit_folds([(one, k, a.made_from) for one, k, a in stale], numbers)
    if oof in step.stale or any(a in step.stale for a in folds):
        write_oof(job, numbers, oof)
    for test in tests:
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
    seconds = [sum(read_json(one.file(k, ".json"))["seconds"] for one in job.of_seeds) for k in folds]
    return {
        "experiment": job.name,
        "competition": job.paths.comp,
        "config": job.experiment.model_dump(),
        "folds": folds,
        "fold_map": job.rows.fold_digest,
        "seconds": round(sum(seconds), 2),
        "seconds_per_fold": [round(s, 2) for s in seconds],
        "peak_mb": peak_mb(),
        "model_mb": round(sum(f.stat().st_size for f in files) / 2**20, 2),
        **({"shares": modality_shares(job.rows.names, terms[BOTH])} if terms else {}),
        "versions": versions(),
    }


def write_test(job: FoldJob, folds: list[int], artifact: Artifact) -> None:
    """Mean of the folds' logits for the test rows, as probability; and of their contributions."""
    inputs, ensemble = read_inputs(job.paths, job.experiment, "test"), job.load(folds)
    if job.experiment.has_terms:
        terms = ensemble.terms(inputs)[BOTH]
        file = job.paths.contributions(job.name)
        parts = [part for part in read_contributions(file) if part[0] != "test"]
        write_contributions(file, job.rows.names, [*parts, ("test", inputs.ids, terms.astype(np.float32))])
    proba = sigmoid(terms.sum(-1)).astype(np.float32) if job.experiment.explains else ensemble.probabilities(inputs)
    origin = job.origin(artifact.key) | {"inputs": artifact.inputs}
    Predictions(inputs.ids, job.rows.names, proba, origin).write(job.paths.test(job.name))

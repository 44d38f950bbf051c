"""A model that another experiment has trained already, with the same settings and seed, is copied."""

import shutil
from functools import partial

from tandem.artifacts.atomic_io import read_json, write_json, write_with
from tandem.artifacts.predictions import Predictions
from tandem.graph.declared_stages import FOLD_TERMS, Graph
from tandem.graph.keys import Artifact, model_name
from tandem.runtime.progress import print_line
from tandem.training.fold_job import FoldJob


def copy_trained(graph: Graph, job: FoldJob, k: int, wanted: Artifact) -> bool:
    """Copies the model of fold k from an experiment where it is current, with the files that training it would write;
    False where there is none."""
    found = _same_model(graph, job, k, wanted)
    if found is None:
        return False
    name, seed = found
    paths, record = job.paths, job.file(k, ".json")
    record.unlink(missing_ok=True)  # until it is written again, the fold is stale
    for suffix in (".safetensors", *([FOLD_TERMS] if job.experiment.explains else [])):
        write_with(job.file(k, suffix), partial(shutil.copyfile, paths.model(name, k, suffix, seed)))
    trained = Predictions.read(paths.model(name, k, ".parquet", seed))
    origin = {"key": wanted.key, "folds": job.rows.fold_digest}
    Predictions(trained.ids, trained.names, trained.proba, origin).write(job.file(k, ".parquet"))
    write_json(record, read_json(paths.model(name, k, ".json", seed)) | wanted.made_from)
    print_line(f"{job.title} fold {k}: copied from {name} {model_name(k, seed)}, which has the same settings and seed")
    return True


def _same_model(graph: Graph, job: FoldJob, k: int, wanted: Artifact) -> tuple[str, int] | None:
    """(experiment, number of its seed) of a current model with the inputs of `wanted`, by the name of any file."""
    for name, experiment in graph.experiments.items():
        for seed in range(experiment.seeds):
            if name != job.name and experiment.of_seed(seed) == job.experiment:
                artifact = graph.fold(name, k, seed)
                same = _without_name(artifact, name) == _without_name(wanted, job.name)
                if same and not artifact.stale_reason():
                    return name, seed
    return None


def _without_name(artifact: Artifact, name: str) -> dict:
    return {("settings" if key == f"configs/{name}.toml" else key): value for key, value in artifact.inputs.items()}

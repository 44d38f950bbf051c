"""Trains some folds in the calling process, so that a notebook can follow each epoch."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.features.pretrained_weights import load_backbone
from tandem.features.weights_identity import UNRESOLVED, weights_identity
from tandem.graph.declared_stages import Graph
from tandem.graph.lock import only_run
from tandem.runtime.resources import fold_threads
from tandem.runtime.torch_setup import use_threads_within
from tandem.stages._run import make_current, open_graph
from tandem.training.fold_job import FoldJob
from tandem.training.parallel_folds import fit

OnEpoch = Callable[[dict[str, Any]], object]


def fit_here(paths: Paths, name: str, folds: Sequence[int] | None, on_epoch: OnEpoch | None) -> None:
    """Trains those of `folds` (None: all) that are stale, and first what they need; the files are those of make train.

    on_epoch  called with the log entry of each epoch and its `fold`
    """
    with only_run(paths):
        graph = open_graph(paths)
        graph.trainable(name)
        make_current(graph, graph.task(f"train {name}").needs)
        graph = _with_weights(graph.refreshed(), name)
        numbers = graph.fold_numbers
        if unknown := sorted(set(folds or ()) - set(numbers)):
            raise ValueError(f"folds={unknown}: expected some of {list(numbers)}")
        job = FoldJob.of(paths, name, graph.experiments[name])
        for k, one in product(numbers if folds is None else folds, job.of_seeds):
            artifact = graph.fold(name, k, one.seed)
            if artifact.stale_reason():
                follow = None if on_epoch is None else partial(_follow, on_epoch, k)
                with use_threads_within(fold_threads(len(numbers))):
                    fit(one, k, artifact.made_from, numbers, follow)


def fold_records(paths: Paths, name: str, folds: Sequence[int] | None) -> dict[int, Mapping[str, Any]]:
    """What `fold<k>.json` holds of each fold that is trained, of these or of all."""
    graph = Graph.open(paths)
    files = {k: paths.model(name, k, ".json") for k in (graph.fold_numbers if folds is None else folds)}
    return {k: read_json(file) for k, file in files.items() if file.exists()}


def _follow(on_epoch: OnEpoch, k: int, entry: dict[str, Any]) -> None:
    on_epoch({"fold": k, **entry})


def _with_weights(graph: Graph, name: str) -> Graph:
    """Downloads what a network is trained from where that is not here yet, so that its revision is known."""
    network = graph.experiments[name].pixel_network
    if network and weights_identity(network).endswith(UNRESOLVED):
        load_backbone(network.model, network.weights)
        return graph.refreshed()
    return graph

"""Features: build/C/{split}.{images,captions}.parquet -> features/C/ENCODER.SPLIT.npy, float16: (n, views, d),
of feature maps (n, views, h, w, d), of token states (n, 1, t, d).

Beside it: `.ids.json` (the rows) and `.meta.json`: key and inputs, shape, rows, and seconds of one core.
"""

from collections.abc import Sequence

from tandem.artifacts.paths import Paths
from tandem.config.encoders import Encoder
from tandem.data.split_tables import read_ids
from tandem.features.extract import load_encoder
from tandem.features.shards import SHARD_ROWS, Shard, Wanted, put_together, run_shard, run_shards, split_work
from tandem.features.weights_identity import UNRESOLVED, weights_identity
from tandem.graph.declared_stages import Graph
from tandem.graph.plan import Step
from tandem.runtime.processes import run_in_new_process
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import device, use_threads


def run(paths: Paths, step: Step) -> None:
    run_together(paths, [step])


def run_together(paths: Paths, steps: Sequence[Step]) -> None:
    """Makes the features of several stale tasks: each image is decoded once for all encoders of images.

    In this process, or where there are many rows in one process of one thread for each of `threads()`. A killed run
    continues from what it has computed. To run the parts elsewhere, call what this calls: `wanted` -> `split_work` ->
    `run_shard` of each shard (the only one that needs torch, and time) -> `put_together`.
    """
    use_threads()
    for these in wanted(paths, steps):
        rows = sum(one.rows for one in these if one.encoder == these[0].encoder)
        number = 1 if device().type == "cuda" else max(1, min(threads(), rows // SHARD_ROWS))
        run_shards(paths, split_work(paths, these, number))
        put_together(paths, these)


def compute_shard(paths: Paths, shard: Shard) -> None:
    """`run_shard` as a unit of work."""
    use_threads()
    run_shard(paths, shard)


def wanted(paths: Paths, steps: Sequence[Step]) -> list[list[Wanted]]:
    """What the steps must make: of all encoders of images together, then of those of captions."""
    encoders = [step.task.config for step in steps]
    for encoder in encoders:
        if weights_identity(encoder).endswith(UNRESOLVED):
            run_in_new_process(_download, encoder)
    stale, graph = {artifact.record for step in steps for artifact in step.stale}, Graph.open(paths)
    found: dict[str, list[Wanted]] = {}
    for encoder in encoders:
        for split in graph.competition.splits:
            artifact = graph.features(encoder, split)
            if artifact.record in stale:
                rows = len(read_ids((paths.images if encoder.reads == "image" else paths.captions)(split)))
                found.setdefault(encoder.reads, []).append(Wanted(encoder, split, rows, artifact.made_from))
    return list(found.values())


def _download(encoder: Encoder) -> None:
    """Loads the weights, so that their revision is known."""
    load_encoder(encoder)

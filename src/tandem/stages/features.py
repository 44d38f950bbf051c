"""Features: build/C/{split}.{images,captions}.parquet -> features/C/ENCODER.SPLIT.npy, float16: (n, views, d),
of feature maps (n, views, h, w, d), of token states (n, 1, t, d).

Beside it: `.ids.json` (the rows) and `.meta.json`: key and inputs, shape, rows, and seconds of one core.
"""

from tandem.artifacts.paths import Paths
from tandem.features.extract import load_encoder
from tandem.features.shards import Shard, put_together, run_shard, split_work
from tandem.graph.plan import Step
from tandem.graph.units import wanted_by
from tandem.runtime.torch_setup import use_threads


def run(paths: Paths, *steps: Step) -> None:
    """Makes the features of stale tasks whose encoders have the same `items`, all in this process; a killed run
    continues from what it has computed. A run of several tasks computes the shards in processes instead."""
    use_threads()
    wanted = [one for step in steps for one in wanted_by(paths, step)]
    for shard in split_work(paths, wanted, 1):
        run_shard(paths, shard)
    put_together(paths, wanted)


def prepare(paths: Paths, step: Step) -> None:
    """Downloads the weights, so that their revision is known."""
    del paths
    load_encoder(step.task.config)


def compute_shard(paths: Paths, shard: Shard) -> None:
    """`run_shard` as a unit of work."""
    use_threads()
    run_shard(paths, shard)

"""Features: build/C/{split}.{images,captions}.parquet -> features/C/ENCODER.SPLIT.npy, float16: (n, views, d),
of feature maps (n, views, h, w, d), of token states (n, 1, t, d).

Beside it: `.ids.json` (the rows) and `.meta.json` (encoder, key and inputs). One run encodes all splits, so the encoder
is loaded once.
"""

from tandem.artifacts.paths import Paths
from tandem.features.extract import encode_split, load_encoder
from tandem.features.weights_identity import UNRESOLVED, weights_identity
from tandem.graph.declared_stages import Graph
from tandem.graph.plan import Step
from tandem.runtime.torch_setup import use_threads


def run(paths: Paths, step: Step) -> None:
    use_threads()
    encoder, stale = step.task.config, {artifact.record for artifact in step.stale}
    if weights_identity(encoder).endswith(UNRESOLVED):
        load_encoder(encoder)  # downloads the weights, so that their revision is known
    graph = Graph.open(paths)
    for split in graph.competition.splits:
        artifact = graph.features(encoder, split)
        if artifact.record in stale:
            encode_split(paths, encoder, split, artifact.made_from)

"""Two folds of configs/fusion.toml side by side, as `make train` fits them, against one after another on all cores.

Both sides train the same networks on the same rows, made of random features; starting the processes counts.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, to_toml
from tandem.config.encoders import Encoder
from tandem.config.experiments import FusionExperiment
from tandem.config.labels import Labels
from tandem.config.load_experiments import load_experiment
from tandem.data.split_tables import write_captions, write_images, write_labels
from tandem.features.feature_store import write_features
from tandem.runtime.resources import peak_mb, threads
from tandem.training.fold_job import FoldJob
from tandem.training.parallel_folds import fit, fit_folds

ROWS, LABELS, FOLDS, TOKENS = 1600, 18, 5, 12
SHAPES = {"trunk": (2, 14, 14, 208), "tokens": (1, 32, 384), "image": (1, 2560)}  # of the features of one row


def features(encoder: Encoder, rng: np.random.Generator) -> np.ndarray:
    """(n, views, ...), as large as the features of real rows."""
    values = rng.random((ROWS, *SHAPES[encoder.kind]), np.float32)
    if encoder.kind == "tokens":
        values[:, :, TOKENS:] = 0
    return values


def prepared(folder: Path) -> FoldJob:
    """Random rows of a competition with folds and features."""
    paths, rng = Paths("bench", folder), np.random.default_rng(0)
    ids, names = [str(i) for i in range(ROWS)], [f"label {j}" for j in range(LABELS)]
    labels = Labels(format="separated", column="labels", separator="|", names=names)
    competition = Competition(
        id="id", caption="caption", images="images", labels=labels, most=LABELS, experiments=["fusion"]
    )
    write_text(paths.competition, to_toml(competition))
    images = {"id": ids, "file": ids, "width": [1] * ROWS, "height": [1] * ROWS, "bytes": [1] * ROWS}
    write_images(paths.images("train"), images | {"sha": ids, "hash": [b"0" * 64] * ROWS})
    write_captions(paths.captions("train"), ids, ids)
    y = (rng.random((ROWS, LABELS)) < 0.1).astype(np.uint8)
    write_labels(paths.labels, ids, tuple(names), y)
    write_text(paths.folds, "id,fold,group\n" + "".join(f"{i},{i % FOLDS},{i}\n" for i in range(ROWS)))
    experiment = load_experiment(Path("configs/fusion.toml"))
    assert isinstance(experiment, FusionExperiment)
    short = experiment.train.model_copy(update={"epochs": 2, "min_steps": 0, "tune_from": 0})
    experiment = experiment.model_copy(update={"train": short})
    for encoder in experiment.encoders:
        file = paths.features(encoder.slug, "train")
        write_features(file, ids, lambda start, e=encoder: iter([features(e, rng)]), {"key": ""}, "rows")
    return FoldJob(paths, "fusion", experiment)


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with tempfile.TemporaryDirectory() as folder:
        job = prepared(Path(folder))
        start = time.perf_counter()
        fit_folds([(job, k, {"key": "together"}) for k in (0, 1)], range(FOLDS))
        together, mb = time.perf_counter() - start, peak_mb()
        start = time.perf_counter()
        for k in (0, 1):
            fit(job, k, {"key": "apart"}, FOLDS)
        apart = time.perf_counter() - start
    print(f"two folds on {threads()} threads: {together:.1f} s side by side, {apart:.1f} s one after another")
    print(f"the larger process held {mb} MB")
    print(f"figure folds_side_by_side_speedup {apart / together:.2f} x")


if __name__ == "__main__":
    main()

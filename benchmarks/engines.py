"""What Ray costs: the folds of one experiment on two local workers of a Ray cluster, against two processes of the pool.

Prints `ray_overhead`: seconds by Ray / seconds by the pool, of the same work. Takes over a minute: only with LONG=1.
"""

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

ROWS, EPOCHS, FOLDS = 3000, 12, 6


def write(paths) -> None:
    """A checked competition with random features, and a head to be trained on them."""
    import numpy as np
    from checked import fake_features, write_competition, write_experiment, write_folds, write_split

    from tandem.config.encoders import ImageEncoder
    from tandem.config.experiments import HeadExperiment
    from tandem.config.training import Head, HeadTraining
    from tandem.data.split_tables import write_labels

    rng = np.random.default_rng(0)
    ids, names = [f"{i}.jpg" for i in range(ROWS)], [f"label{i}" for i in range(18)]
    write_split(paths, "train", ids, [""] * ROWS)
    write_labels(paths.labels, ids, names, (rng.random((ROWS, 18)) < 0.2).astype(np.uint8))
    write_folds(paths, ids, [i % FOLDS for i in range(ROWS)])
    write_competition(paths, names, experiments=["head"], test="", folds={"n": FOLDS})
    encoder = ImageEncoder(model="test_efficientnet", size=32)
    training = HeadTraining(epochs=EPOCHS)
    experiment = HeadExperiment(kind="head", image=encoder, head=Head(hidden=512), train=training)
    write_experiment(paths, "head", experiment)
    fake_features(paths, experiment, "train", [rng.normal(size=(ROWS, 1, 1280)).astype(np.float32)])


def seconds(engine: str) -> float:
    """From the first fold to the last, without the start of the cluster."""
    from tandem.artifacts.paths import Paths
    from tandem.graph.declared_stages import Graph
    from tandem.graph.task import Step, step_of
    from tandem.graph.unit_files import with_files
    from tandem.graph.units import units
    from tandem.runtime.engines import chosen_engine

    os.environ["TANDEM_ENGINE"] = engine
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        paths = Paths("bench")
        write(paths)
        graph = Graph.open(paths)
        step = step_of(graph.task("train head"))
        assert isinstance(step, Step)
        with chosen_engine()(paths) as executor:
            executor.width  # noqa: B018  the cluster is there
            start = time.perf_counter()
            for unit in units(step)[:-1]:
                executor.submit(with_files(graph, unit, step) if executor.sends else unit)
            done = len(list(executor.results()))
            took = time.perf_counter() - start
        assert done == FOLDS
    return took


def main() -> None:
    if not os.environ.get("LONG"):
        print("ray_overhead: only with LONG=1")
        return
    os.environ["TANDEM_THREADS"] = "2"
    pool, ray = seconds("local"), seconds("ray")
    print(f"engines: {FOLDS} folds of a head, {ROWS:,} rows, 2 workers: pool {pool:.1f} s, Ray {ray:.1f} s")
    print(f"ray_overhead: {ray / pool:.2f} x")


if __name__ == "__main__":
    main()

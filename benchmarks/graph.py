"""A second `make submit` that has nothing to do, on 40,000 rows: with the digests of the run before, and without them.

The competition is simulated: small files in place of images, features and models, with the records of a finished run.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tandem.artifacts.atomic_io import write_json, write_text
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.competition import Competition, to_toml
from tandem.data.split_tables import write_captions, write_images, write_labels
from tandem.graph.declared_stages import Graph
from tandem.graph.keys import Artifact

ROWS, LABELS, FOLDS = 40_000, 18, 5
EXPERIMENTS = ["image_lite2", "text_minilm", "text_tfidf", "concat_lite2"]


def competition(paths: Paths) -> None:
    """Rows, images, checked tables and folds."""
    names = [f"label{j}" for j in range(LABELS)]
    rng = np.random.default_rng(0)
    labels = {"format": "separated", "column": "labels", "separator": "|", "names": names}
    settings = {"id": "id", "caption": "caption", "images": "data", "labels": labels, "most": LABELS}
    write_text(paths.competition, to_toml(Competition.model_validate(settings | {"experiments": EXPERIMENTS})))
    (paths.input / "data").mkdir()
    for split, start in (("train", 0), ("test", ROWS)):
        ids = [f"{start + i}.jpg" for i in range(ROWS)]
        for name in ids:
            (paths.input / "data" / name).write_bytes(b"image")
        write_text(paths.input / f"{split}.csv", "id,labels,caption\n" + "".join(f"{i},label0,a photo\n" for i in ids))
        images = {"id": ids, "file": [f"data/{i}" for i in ids], "width": [8] * ROWS, "height": [8] * ROWS}
        write_images(paths.images(split), images | {"bytes": [5] * ROWS, "sha": ids, "hash": [b"0" * 64] * ROWS})
        write_captions(paths.captions(split), ids, ["a photo"] * ROWS)
    ids = [f"{i}.jpg" for i in range(ROWS)]
    write_labels(paths.labels, ids, tuple(names), rng.integers(0, 2, (ROWS, LABELS)).astype(np.uint8))
    write_text(paths.folds, "id,fold,group\n" + "".join(f"{i}.jpg,{i % FOLDS},{i}\n" for i in range(ROWS)))


def finish(artifact: Artifact) -> None:
    """Its files, empty, and its record."""
    for file in artifact.files:
        if not file.exists():
            write_text(file, "")
    if artifact.record.suffix == ".parquet":
        one = Predictions(["a"], ("label",), np.ones((1, 1), np.float32), artifact.made_from)
        one.write(artifact.record)
    else:
        write_json(artifact.record, artifact.made_from)


def submit(root: Path) -> float:
    """Seconds of `tandem submit` in a process of its own."""
    source = str(Path(__file__).parents[1] / "src")
    command = [sys.executable, "-c", "from tandem.stages._run import bring_up_to_date as b; b('bench', 'submit')"]
    start = time.perf_counter()
    run = subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": source}, capture_output=True, text=True)
    assert "Nothing to be done" in run.stdout, run.stdout + run.stderr
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = Paths("bench", root)
        competition(paths)
        os.chdir(root)
        paths = Paths("bench")
        for task in Graph.open(paths).tasks(Graph.open(paths).goal("submit")):
            for artifact in Graph.open(paths).task(task).artifacts:
                finish(artifact)
        time.sleep(2.5)  # digests of files that are younger are not kept
        submit(root)
        warm = min(submit(root) for _ in range(3))
        paths.digests.unlink()
        cold = submit(root)
    print(f"{ROWS:,} + {ROWS:,} rows, {len(EXPERIMENTS)} experiments: {warm:.2f} s, without kept digests {cold:.2f} s")
    print(f"figure second_submit_seconds {warm:.2f} s")
    print(f"figure kept_digests_speedup {cold / warm:.2f} x")


if __name__ == "__main__":
    main()

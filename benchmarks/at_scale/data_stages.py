"""Import, check, folds and submit of a simulated competition, and the slowest parts of the check on their own."""

import os
import re
import shutil
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from at_scale.stage import Size, Stage
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.competition import load_competition
from tandem.data.csv_reader import read_table
from tandem.data.folds import assign_folds
from tandem.data.image_scan import CACHE_SCHEMA, folder_state
from tandem.data.split_tables import read_given_labels, write_captions
from tandem.data.thumbnails import COLOURS, FREQUENCIES, HASH_BYTES, SIDE
from tandem.graph.declared_stages import Graph
from tandem.graph.plan import step_of
from tandem.stages import check, folds, import_, submit
from tandem.stages._run import bring_up_to_date

WORDS = 2_000  # of the captions
COPIES = 200  # one image in so many is a copy of another
AT_ONCE = 10_000  # rows
HERE = Path(__file__).resolve().parents[2]


def label_sets(size: Size, n: int, seed: int) -> np.ndarray:
    """(n, c) uint8: two labels a row on average, the common ones ten times as often as the rare ones."""
    rng = np.random.default_rng(seed)
    share = np.geomspace(10, 1, size.labels)
    y = rng.random((n, size.labels), np.float32) < 2 * share / share.sum()
    y[np.arange(n), rng.integers(size.labels, size=n)] |= ~y.any(axis=1)
    y[: size.labels, : len(y)] |= np.eye(*y[: size.labels, : len(y)].shape, dtype=bool)  # each label is there
    return y.astype(np.uint8)


def caption_texts(n: int, seed: int) -> list[str]:
    """Ten words each, from WORDS, the common ones more often."""
    rng = np.random.default_rng(seed)
    drawn = (WORDS * rng.random((n, 10)) ** 3).astype(int)
    return ["a photo of " + " ".join(f"w{word}" for word in row) for row in drawn.tolist()]


def write_tables(folder: Path, size: Size, n: int, n_test: int) -> None:
    """train.csv, test.csv and sample_submission.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    names = np.array([f"l{j}" for j in range(size.labels)], object)
    for name, rows, first in (("train", n, 0), ("test", n_test, n)):
        with (folder / f"{name}.csv").open("w") as file:
            file.write("image,caption" + ",labels" * (name == "train") + "\n")
            for start in range(0, rows, AT_ONCE):
                k = min(AT_ONCE, rows - start)
                texts = caption_texts(k, first + start)
                y = label_sets(size, k, first + start).astype(bool)
                for i in range(k):
                    own = f",{' '.join(names[y[i]])}" if name == "train" else ""
                    file.write(f"{first + start + i:07d}.jpg,{texts[i]}{own}\n")
    with (folder / "sample_submission.csv").open("w") as file:
        file.write("image,labels\n" + "".join(f"{n + i:07d}.jpg,l0\n" for i in range(n_test)))


def thumbnails(n: int, seed: int) -> np.ndarray:
    """(n, HASH_BYTES) uint8 as `perceptual_hash` gives them: amplitudes fall with frequency as in photos."""
    rng = np.random.default_rng(seed)
    pixel = np.arange(SIDE)
    basis = np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * (pixel + 0.5) / SIDE)
    falling = 60 / np.maximum(np.add.outer(np.arange(FREQUENCIES), np.arange(FREQUENCIES)), 1)
    waves = rng.standard_normal((n, FREQUENCIES, FREQUENCIES), np.float32) * falling
    grey = (128 + basis.T @ waves @ basis).astype(np.float32) + rng.normal(0, 2, (n, SIDE, SIDE))
    colour = 128 + 12 * rng.standard_normal((n, 2, COLOURS, COLOURS), np.float32)
    found = np.concatenate([grey.reshape(n, -1), colour.reshape(n, -1)], axis=1).clip(0, 255).astype(np.uint8)
    assert found.shape[1] == HASH_BYTES
    found[COPIES::COPIES] = found[: len(found) - COPIES : COPIES] ^ 1
    return found


def cache_rows(files: list[str], stamp: tuple[int, int]) -> Iterator[pa.Table]:
    """What a finished scan knows of these files."""
    for start in range(0, len(files), AT_ONCE):
        own = files[start : start + AT_ONCE]
        n = len(own)
        hashes = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(HASH_BYTES), n, [None, pa.py_buffer(thumbnails(n, start).tobytes())]
        )
        shas = [f"{start + i:016x}" for i in range(n)]
        numbers = [[value] * n for value in (*stamp, 640, 480, 100_000)]
        yield pa.table([own, *numbers, shas, hashes, [""] * n], schema=CACHE_SCHEMA)


def make_competition(paths: Paths, size: Size) -> None:
    """Tables, empty image files and the cache of their scan."""
    write_tables(paths.input, size, size.rows, size.test_rows)
    folder = paths.input / "data"
    folder.mkdir()
    files = [f"{i:07d}.jpg" for i in range(size.rows + size.test_rows)]
    for file in files:
        os.close(os.open(folder / file, os.O_CREAT))
        os.utime(folder / file, ns=(10**18, 10**18))
    paths.build.mkdir(parents=True)
    with pq.ParquetWriter(paths.scan_cache, CACHE_SCHEMA) as writer:
        for table in cache_rows([f"data/{file}" for file in files], (0, 10**18)):
            writer.write_table(table)


def run_import(paths: Paths, size: Size) -> None:
    import_.main(Namespace(comp=paths.comp, zip=None, dir=None, set="", **dict.fromkeys(import_.ANSWERS)))
    assert len(load_competition(paths.competition).labels.names) == size.labels


def run_check(paths: Paths, size: Size) -> None:
    assert not check.check(Graph.open(paths)), "the simulated competition has errors"


def run_folds(paths: Paths, size: Size) -> None:
    step = step_of(Graph.open(paths).task("folds"))
    assert step
    folds.run(paths, step)


def stratify(paths: Paths, size: Size) -> None:
    assign_folds(read_given_labels(paths)[2], np.arange(size.rows), 5, 0)


def submit_paths(paths: Paths) -> Paths:
    return Paths(paths.comp, paths.root / "submit")


def prepare_submit(paths: Paths, size: Size) -> None:
    """As many test rows as the others have training rows, with predictions that nobody trained."""
    paths = submit_paths(paths)
    shutil.copytree(HERE / "configs", paths.configs, ignore=lambda _, names: set(names) - {"text_tfidf.toml"})
    write_tables(paths.input, size, max(300, 2 * size.labels), 20)
    os.chdir(paths.root)
    run_import(paths, size)
    text = paths.competition.read_text()
    paths.competition.write_text(re.sub("experiments = .*", 'experiments = ["text_tfidf"]', text))
    bring_up_to_date(paths.comp, "submit", "text_tfidf")
    write_tables(paths.input, size, max(300, 2 * size.labels), size.rows)
    test = Predictions.read(paths.test("text_tfidf"))
    ids = [line.partition(",")[0] for line in (paths.input / "test.csv").read_text().splitlines()[1:]]
    write_captions(paths.captions("test"), ids, ["a caption"] * len(ids))
    proba = np.random.default_rng(0).random((len(ids), size.labels), np.float32)
    Predictions(ids, test.names, proba, test.provenance).write(paths.test("text_tfidf"))


def run_submit(paths: Paths, size: Size) -> None:
    paths = submit_paths(paths)
    os.chdir(paths.root)
    step = step_of(Graph.open(paths).task("submit text_tfidf"))
    assert step
    submit.run(paths, step)


def tables(paths: Paths) -> list[Path]:
    return [paths.input / name for name in ("train.csv", "test.csv", "sample_submission.csv")]


def search(size: Size) -> float:
    """Multiplications of the search for near-duplicates, where each image is compared with 256 versions of others in
    each of 12 trees, or with all: 52 frequencies."""
    n = size.rows + size.test_rows
    return n * 52.0 * min(4 * n, 12 * 256)


BEFORE_TRAINING = [
    Stage("import", run_import, make_competition, tables),
    Stage(
        "csv", lambda paths, size: read_table(paths.input / "train.csv"), files=lambda p: tables(p)[:1], needed=False
    ),
    Stage("image_files", lambda paths, size: folder_state(paths.input / "data"), needed=False),
    Stage("check", run_check, files=lambda paths: [*tables(paths), paths.scan_cache], multiplications=search),
    Stage("stratification", stratify, files=lambda paths: [paths.labels], needed=False),
    Stage("folds", run_folds, files=lambda paths: [paths.labels, paths.images("train")], multiplications=search),
]
AFTER_TRAINING = [
    Stage(
        "submit",
        run_submit,
        prepare_submit,
        lambda paths: [*tables(submit_paths(paths))[1:], submit_paths(paths).test("text_tfidf")],
    )
]

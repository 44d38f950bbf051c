"""Sample: nothing -> input/sample/ with images/<id>.jpg, train.csv (id, labels, caption), test.csv (id, caption),
solution.csv and sample_submission.csv (id, labels), and competition.toml, written last.

The same seed gives the same bytes. Licences of the fonts it is drawn with: see `tandem.sample`.
"""

import shutil
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from tandem.artifacts.atomic_io import csv_text, write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, Folds, to_toml
from tandem.config.labels import Labels
from tandem.data.label_codec import LabelCodec
from tandem.runtime.progress import progress
from tandem.sample import NAME
from tandem.sample.captions import write_caption
from tandem.sample.drawing import draw_image, to_jpeg
from tandem.sample.glyphs import Glyphs, fonts_folder
from tandem.sample.scenes import MOST, draw_scene
from tandem.sample.things import LABELS

IMAGES, TRAIN, TEST = "images", "train.csv", "test.csv"
SAMPLE = Competition(
    id="id",
    caption="caption",
    images=IMAGES,
    suffix=".jpg",
    labels=Labels(format="separated", column="labels", separator="|", names=list(LABELS)),
    least=1,
    most=MOST,
    experiments=["image_lite0", "image_lite0_finetune", "text_minilm", "text_tfidf", "concat", "fast"],
    folds=Folds(n=5, seed=0),
)
ROWS = {"train": 800, "test": 200}


def draw_row(seed: int, row: int, glyphs: Glyphs) -> tuple[list[str], str, bytes]:
    """(labels, caption, JPEG) of one row; each of the three draws from its own stream."""
    where, words, pixels = np.random.default_rng([seed, row]).spawn(3)
    scene = draw_scene(where)
    return scene.labels, write_caption(scene, words), to_jpeg(draw_image(scene, glyphs, pixels), pixels)


def draw_files(folder: Path, n_train: int, n_test: int, seed: int) -> np.ndarray:
    """Writes images and CSV files into `folder`; returns how many labels of each name there are."""
    (folder / IMAGES).mkdir(parents=True)
    glyphs, codec = Glyphs(fonts_folder()), LabelCodec(SAMPLE.labels.names, SAMPLE.labels.separator)
    rows = []
    with progress(n_train + n_test, "draw", "images") as bar:
        for i in range(n_train + n_test):
            labels, caption, jpeg = draw_row(seed, i, glyphs)
            name = f"s{i:05d}"
            (folder / IMAGES / f"{name}{SAMPLE.suffix}").write_bytes(jpeg)
            rows.append((name, codec.separator.join(labels), caption))
            bar.update()
    train, test = rows[:n_train], rows[n_train:]
    commonest = next(iter(LABELS))
    write_text(folder / TRAIN, csv_text(("id", "labels", "caption"), *train))
    write_text(folder / TEST, csv_text(("id", "caption"), *((name, caption) for name, _, caption in test)))
    write_text(folder / SAMPLE.solution, csv_text(("id", "labels"), *(row[:2] for row in test)))
    write_text(folder / SAMPLE.sample_submission, csv_text(("id", "labels"), *((row[0], commonest) for row in test)))
    return codec.encode(labels for _, labels, _ in rows).sum(axis=0)


def draw_competition(paths: Paths, n_train: int, n_test: int, seed: int) -> np.ndarray:
    """Draws into a temporary folder, then moves the files to the competition's; returns the counts of `draw_files`."""
    partial = paths.input.with_name(f".{paths.comp}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        counts = draw_files(partial, n_train, n_test, seed)
        paths.input.mkdir(parents=True, exist_ok=True)
        paths.competition.unlink(missing_ok=True)
        for new in partial.iterdir():
            old = paths.input / new.name
            if old.is_dir():
                shutil.rmtree(old)
            new.replace(old)
        write_text(paths.competition, to_toml(SAMPLE))
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return counts


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, help="each seed draws other scenes (default: 0)")


def main(args: Namespace) -> None:
    if args.comp != NAME:
        raise ValueError(f"{args.comp!r}: only {NAME!r} is drawn; for others run make import")
    run(Paths(args.comp), args.seed)


def run(paths: Paths, seed: int = 0) -> None:
    start = time.perf_counter()
    counts = draw_competition(paths, ROWS["train"], ROWS["test"], seed)
    n = sum(ROWS.values())
    print(
        f"{paths.input}: {ROWS['train']} train and {ROWS['test']} test rows drawn in "
        f"{time.perf_counter() - start:.1f} s; {len(counts)} labels, {counts.sum() / n:.2f} per row, "
        f"from {SAMPLE.labels.names[counts.argmax()]} ({counts.max() / n:.1%}) "
        f"to {SAMPLE.labels.names[counts.argmin()]} ({counts.min() / n:.1%})"
    )

"""Head training, TF-IDF, stack and decode of the set for a million rows, on simulated features and predictions.

One fold is trained of five: its seconds are those of each. The models of the other folds are copies of it, and the
held-out predictions are drawn around the labels, so that the stack and the decoder have something to learn.
"""

import shutil
from functools import partial
from pathlib import Path

import numpy as np

from at_scale.stage import Size, Stage
from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.encoders import Encoder
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.split_tables import read_ids
from tandem.features.feature_store import write_features
from tandem.graph.declared_stages import Graph
from tandem.graph.plan import step_of
from tandem.logits import sigmoid
from tandem.stages import decode, stack, submit
from tandem.stages.train import write_oof, write_test
from tandem.training.fold_job import FoldJob

HEAD, TFIDF = "scale_head", "scale_tfidf"
WIDTHS = {"image": 1280, "caption": 384}  # numbers of a row's features
HIDDEN, EPOCHS = 256, 2
HERE = Path(__file__).resolve().parents[2]
BLOCK = 4096  # rows


def prepare_features(paths: Paths, size: Size) -> None:
    """The two experiments, and the features of the head: noise that repeats every BLOCK rows, and the labels."""
    paths.configs.mkdir(exist_ok=True)
    for name in (HEAD, TFIDF):
        shutil.copy(HERE / "configs" / f"{name}.toml", paths.configs)
    text = paths.competition.read_text().splitlines()
    kept = [line for line in text if not line.startswith("experiments")]
    paths.competition.write_text("\n".join([f"experiments = {[HEAD, TFIDF]}", *kept]) + "\n")
    graph, y = Graph.open(paths), read_labelled_rows(paths).y
    for encoder in graph.experiments[HEAD].encoders:
        _write_features(graph, paths, encoder, "train", y)
        _write_features(graph, paths, encoder, "test", y[: size.test_rows])


def _write_features(graph: Graph, paths: Paths, encoder: Encoder, split: str, y: np.ndarray) -> None:
    width = WIDTHS[encoder.reads]
    noise = np.random.default_rng(0).standard_normal((BLOCK, width), np.float32)
    told = np.random.default_rng(1).standard_normal((y.shape[1], width), np.float32) / 4

    def encode(start: int):
        for first in range(start, len(y), BLOCK):
            part = y[first : first + BLOCK].astype(np.float32)
            yield (noise[: len(part)] + part @ told)[:, None]

    file = paths.features(encoder.slug, split)
    made_from = graph.features(encoder, split).made_from
    write_features(file, read_ids(paths.images(split)), encode, made_from, encoder.reads)


def job_of(paths: Paths, name: str) -> FoldJob:
    return FoldJob(paths, name, Graph.open(paths).experiments[name])


def train_fold(name: str, paths: Paths, size: Size) -> None:
    job_of(paths, name).fit_fold(0, Graph.open(paths).fold(name, 0).made_from, lambda entry: None)


def prepare_predictions(name: str, paths: Paths, size: Size) -> None:
    """The other folds' models, and held-out predictions of all folds around the labels."""
    graph, job = Graph.open(paths), job_of(paths, name)
    rng = np.random.default_rng([len(name), size.rows])
    record = read_json(job.file(0, ".json"))
    for k in graph.fold_numbers:
        if k:
            shutil.copy(job.file(0, ".safetensors"), job.file(k, ".safetensors"))
        write_json(job.file(k, ".json"), record | graph.fold(name, k).made_from)
        rows = np.flatnonzero(job.rows.fold == k)
        y = job.rows.y[rows].astype(np.float32)
        logits = 4.0 * y - 3.5 + 1.5 * rng.standard_normal(y.shape, np.float32)
        origin = {"key": graph.fold(name, k).key, "folds": job.rows.fold_digest}
        Predictions([job.rows.ids[i] for i in rows], job.rows.names, sigmoid(logits), origin).write(
            job.file(k, ".parquet")
        )


def predict(name: str, paths: Paths, size: Size) -> None:
    graph, job = Graph.open(paths), job_of(paths, name)
    write_oof(job, list(graph.fold_numbers), graph.oof(name))
    write_test(job, list(graph.fold_numbers), graph.test(name))


def run_task(module, name: str, paths: Paths, size: Size) -> None:
    step = step_of(Graph.open(paths).task(name))
    assert step, f"{name} is current"
    module.run(paths, step)


def features(split: str, paths: Paths) -> list[Path]:
    graph = Graph.open(paths)
    return [paths.features(encoder.slug, split) for encoder in graph.experiments[HEAD].encoders]


def training(size: Size) -> float:
    """Multiplications of the first layer, forward and backward for its weights, over four of five folds."""
    return 0.8 * size.rows * EPOCHS * 2 * sum(WIDTHS.values()) * HIDDEN


def predicting(size: Size) -> float:
    """Each row by one model, a test row by five; with image, caption, both and neither."""
    return (size.rows + 5 * size.test_rows) * 5.0 * sum(WIDTHS.values()) * HIDDEN


def members(paths: Paths) -> list[Path]:
    return [paths.oof(HEAD), paths.oof(TFIDF), paths.contributions(HEAD)]


MODELS = [
    Stage("head_fold", partial(train_fold, HEAD), prepare_features, partial(features, "train"), training),
    Stage(
        "head_predictions",
        partial(predict, HEAD),
        partial(prepare_predictions, HEAD),
        partial(features, "train"),
        predicting,
    ),
    Stage("tfidf_fold", partial(train_fold, TFIDF), files=lambda paths: [paths.captions("train")]),
    Stage(
        "tfidf_predictions",
        partial(predict, TFIDF),
        partial(prepare_predictions, TFIDF),
        lambda paths: [paths.captions("test")],
    ),
    Stage("stack", partial(run_task, stack, "stack"), files=members),
    Stage("decode", partial(run_task, decode, "decode stack"), files=lambda paths: [paths.oof("stack"), paths.labels]),
    Stage(
        "submit_stack",
        partial(run_task, submit, "submit stack"),
        files=lambda paths: [paths.test("stack")],
        needed=False,
    ),
]

"""The job: one experiment and one fold, a function of files; and what a job reads.

A fold is current when its files were written under the same key: configuration, fold map, labels and inputs. So a
killed run goes on where it was, and nothing is fitted twice.
"""

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tandem.config import Experiment, FinetuneExperiment, HeadExperiment, TfidfExperiment, read_resolved
from tandem.encoders.store import features_key, read_features
from tandem.files import digest, read_json, write_json
from tandem.models.inputs import Inputs
from tandem.paths import Paths
from tandem.predictions import Predictions, logit, read_provenance, sigmoid
from tandem.rows import read_captions, read_images, read_labels


def read_folds(paths: Paths, ids: list[str]) -> np.ndarray:
    """(n,) fold of each id; raises ValueError where one has none."""
    with paths.folds.open(encoding="utf-8", newline="") as file:
        fold = {row["id"]: int(row["fold"]) for row in csv.DictReader(file)}
    missing = [name for name in ids if name not in fold]
    if missing or len(fold) != len(ids):
        raise ValueError(
            f"{paths.folds}: {len(fold)} rows, {len(ids)} training rows, {len(missing)} without a fold"
            f"{', first: ' + missing[0] if missing else ''}; run make folds"
        )
    return np.array([fold[name] for name in ids])


@dataclass(frozen=True)
class Labelled:
    """The training rows: ids (n,), label names (c,), y (n, c) uint8, fold (n,)."""

    ids: list[str]
    names: tuple[str, ...]
    y: np.ndarray
    fold: np.ndarray

    @cached_property
    def fold_digest(self) -> str:
        return digest([self.ids, self.fold.tolist()])

    @cached_property
    def label_digest(self) -> str:
        return digest([self.names, self.y.tolist()])


def read_labelled(paths: Paths) -> Labelled:
    ids, names, y = read_labels(paths.labels)
    return Labelled(ids, names, y, read_folds(paths, ids))


def inputs_key(paths: Paths, experiment: Experiment, split: str) -> str:
    """Digest of what the experiment sees of one split, without reading features."""
    if isinstance(experiment, HeadExperiment):
        return digest([features_key(paths.features(e.slug, split)) for e in experiment.encoders])
    if isinstance(experiment, FinetuneExperiment):
        from tandem.encoders.weights import backbone_source

        images = read_images(paths.images(split))
        return digest([images["id"], images["sha"], backbone_source(experiment.model, experiment.weights)])
    return digest(read_captions(paths.captions(split)))


def read_inputs(paths: Paths, experiment: Experiment, split: str) -> tuple[list[str], Inputs]:
    """(ids, inputs) of one split in the order of its CSV."""
    images = read_images(paths.images(split))
    ids = images["id"]
    if isinstance(experiment, HeadExperiment):
        blocks = tuple(read_features(paths.features(e.slug, split), ids) for e in experiment.encoders)
        return ids, Inputs(len(ids), blocks=blocks)
    if isinstance(experiment, TfidfExperiment):
        return ids, Inputs(len(ids), captions=read_captions(paths.captions(split))[1])
    return ids, Inputs(len(ids), files=[paths.input / f for f in images["file"]])


def make_model(experiment: Experiment, n_labels: int):
    """The model of an experiment: fit / predict_proba / save / load. Imports only what that one needs."""
    if isinstance(experiment, HeadExperiment):
        from tandem.models.head import HeadModel as Model
    elif isinstance(experiment, FinetuneExperiment):
        from tandem.models.image import ImageModel as Model
    else:
        from tandem.models.linear import TfidfModel as Model
    return Model(experiment, n_labels)


class Job:
    """All folds of one experiment of one competition."""

    def __init__(self, paths: Paths, name: str):
        self.paths, self.name = paths, name
        self.experiment = read_resolved(paths.experiment_config(name))
        self.rows = read_labelled(paths)
        self.folds = [int(k) for k in np.unique(self.rows.fold)]
        self._trained_on = inputs_key(paths, self.experiment, "train")

    def fold_key(self, k: int) -> str:
        parts = [
            self.experiment.model_dump(),
            k,
            self.rows.fold_digest,
            self.rows.label_digest,
            self._trained_on,
        ]
        return digest(parts)

    def fold_is_current(self, k: int) -> bool:
        files = [self.paths.model(self.name, k, suffix) for suffix in (".json", ".safetensors", ".parquet")]
        return all(f.exists() for f in files) and read_json(files[0])["key"] == self.fold_key(k)

    @cached_property
    def inputs(self) -> Inputs:
        ids, inputs = read_inputs(self.paths, self.experiment, "train")
        if ids != self.rows.ids:
            raise ValueError(
                f"{self.paths.images('train')} and {self.paths.labels} differ in their rows; run make check"
            )
        return inputs

    def fit_fold(self, k: int, on_epoch: Callable[[dict], None]) -> None:
        """Fits on all folds but k, writes the model, its predictions for fold k, and last `fold<k>.json`."""
        start = time.perf_counter()
        key, rows = self.fold_key(k), self.rows
        train, held_out = np.flatnonzero(rows.fold != k), np.flatnonzero(rows.fold == k)
        checkpoint = self.paths.model(self.name, k, f".{key}.checkpoint")
        for stale in checkpoint.parent.glob(f"fold{k}.*.checkpoint"):
            if stale != checkpoint:
                stale.unlink()
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        model = make_model(self.experiment, len(rows.names))
        seed = self.experiment.seed * 1000 + k
        log = model.fit(self.inputs.take(train), rows.y[train], seed, checkpoint, on_epoch)
        weights = self.paths.model(self.name, k, ".safetensors")
        model.save(weights)
        model = make_model(self.experiment, len(rows.names)).load(weights)  # scored as it will be used
        proba = model.predict_proba(self.inputs.take(held_out))
        held_ids = [rows.ids[i] for i in held_out]
        origin = {"key": key, "folds": rows.fold_digest}
        Predictions(held_ids, rows.names, proba, origin).write(self.paths.model(self.name, k, ".parquet"))
        seconds = round(time.perf_counter() - start, 2)
        write_json(self.paths.model(self.name, k, ".json"), {"key": key, "seconds": seconds, "log": log})
        checkpoint.unlink(missing_ok=True)

    def oof_key(self) -> str:
        return digest([self.fold_key(k) for k in self.folds])

    def out_of_fold(self) -> Predictions:
        """The held-out predictions of all folds, in the order of the training rows."""
        proba = np.zeros(self.rows.y.shape, np.float32)
        for k in self.folds:
            part = Predictions.read(self.paths.model(self.name, k, ".parquet"))
            held_out = np.flatnonzero(self.rows.fold == k)
            proba[held_out] = part.aligned_to([self.rows.ids[i] for i in held_out])
        return Predictions(self.rows.ids, self.rows.names, proba, self._origin(self.oof_key()))

    def test_key(self) -> str:
        return digest([self.oof_key(), inputs_key(self.paths, self.experiment, "test")])

    def test_is_current(self) -> bool:
        return read_provenance(self.paths.test(self.name)).get("key") == self.test_key()

    def predict_test(self) -> Predictions:
        """Mean of the folds' logits for the test rows, as probability."""
        ids, inputs = read_inputs(self.paths, self.experiment, "test")
        total = np.zeros((len(ids), len(self.rows.names)))
        for k in self.folds:
            model = make_model(self.experiment, len(self.rows.names))
            total += logit(model.load(self.paths.model(self.name, k, ".safetensors")).predict_proba(inputs))
        proba = sigmoid(total / len(self.folds)).astype(np.float32)
        return Predictions(ids, self.rows.names, proba, self._origin(self.test_key()))

    def _origin(self, key: str) -> dict[str, str]:
        return {
            "experiment": self.name,
            "competition": self.paths.comp,
            "folds": self.rows.fold_digest,
            "key": key,
        }

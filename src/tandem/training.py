"""The job: one experiment and one fold, a function of files; and what a job reads.

A fold is current when its files were written under the same key: configuration, fold map, labels and inputs. So a
killed run goes on where it was, and nothing is fitted twice.
"""

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module

import numpy as np

from tandem.config import Experiment, FusionExperiment, read_resolved, reads_rows, teacher_of
from tandem.contributions import BOTH, read_contributions, write_contributions
from tandem.encoders.store import features_key, read_features
from tandem.files import digest, read_json, write_json
from tandem.models.inputs import Inputs, Maps
from tandem.paths import SPLITS, Paths
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
    parts: list = [features_key(paths.features(e.slug, split)) for e in experiment.encoders]
    rows = reads_rows(experiment)
    if "image" in rows:
        from tandem.encoders.weights import backbone_source

        network = experiment.trunk if isinstance(experiment, FusionExperiment) else experiment
        images = read_images(paths.images(split))
        parts += [images["id"], images["sha"], backbone_source(network.model, network.weights)]
    if "caption" in rows:
        parts += read_captions(paths.captions(split))
    return digest(parts)


def read_inputs(paths: Paths, experiment: Experiment, split: str) -> tuple[list[str], Inputs]:
    """(ids, inputs) of one split in the order of its CSV."""
    images = read_images(paths.images(split))
    ids, rows = images["id"], reads_rows(experiment)
    blocks, maps = [], []
    for encoder in experiment.encoders:
        features = read_features(paths.features(encoder.slug, split), ids)
        if encoder.kind in ("trunk", "tokens"):
            maps.append(Maps((features,)))
        else:
            blocks.append(features)
    return ids, Inputs(
        len(ids),
        blocks=tuple(blocks),
        captions=read_captions(paths.captions(split))[1] if "caption" in rows else None,
        files=[paths.input / f for f in images["file"]] if "image" in rows else None,
        maps=tuple(maps),
    )


def unlabelled(paths: Paths) -> list[str]:
    """The splits whose rows may be learned from without their labels."""
    return [split for split in SPLITS if split != "train" and paths.images(split).exists()]


def confidence(proba: np.ndarray) -> np.ndarray:
    """1 - entropy of each probability in bits: 0 at one half, 1 where the teacher is sure.

    >>> confidence(np.array([0.0, 0.5, 1.0, 0.9])).round(2).tolist()
    [1.0, 0.0, 1.0, 0.53]
    """
    p = np.clip(proba, 1e-9, 1 - 1e-9)
    return 1 + p * np.log2(p) + (1 - p) * np.log2(1 - p)


TERMS = ".terms.parquet"  # beside a fold's predictions: what moved them
MODELS = {
    "head": ("head", "HeadModel"),
    "fusion": ("fusion", "FusionModel"),
    "finetune": ("image", "ImageModel"),
    "tfidf": ("linear", "TfidfModel"),
}


def make_model(experiment: Experiment, n_labels: int):
    """The model of an experiment: fit / predict_proba / save / load, and predict_terms where it explains.

    Imports only what that one needs.
    """
    module, name = MODELS[experiment.kind]
    return getattr(import_module(f"tandem.models.{module}"), name)(experiment, n_labels)


def as_trained(experiment: Experiment, rows: int) -> Experiment:
    """With so many labelled rows: where they are fewer than `tune_from`, the late stages keep their weights."""
    if not isinstance(experiment, FusionExperiment) or rows >= experiment.train.tune_from:
        return experiment
    train = experiment.train.model_copy(update={"backbone_lr": 0.0, "caption_lr": 0.0})
    return experiment.model_copy(update={"train": train})


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
            as_trained(self.experiment, len(self.rows.y)).model_dump(),
            k,
            self.rows.fold_digest,
            self.rows.label_digest,
            self._trained_on,
        ]
        if self.teacher:
            parts += [self.teacher.fold_key(k), *self._unlabelled]
        return digest(parts)

    @cached_property
    def teacher(self) -> "Job | None":
        """The job whose fold models label the unlabelled rows."""
        name = teacher_of(self.experiment)
        return Job(self.paths, name) if name else None

    @cached_property
    def _unlabelled(self) -> list[str]:
        """What is known of the unlabelled rows: theirs and the teacher's inputs."""
        experiments = (self.experiment, self.teacher.experiment)
        return [inputs_key(self.paths, e, split) for e in experiments for split in unlabelled(self.paths)]

    def fold_is_current(self, k: int) -> bool:
        suffixes = [".json", ".safetensors", ".parquet", *([TERMS] if self.experiment.explains else [])]
        files = [self.paths.model(self.name, k, suffix) for suffix in suffixes]
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
        model = make_model(as_trained(self.experiment, len(rows.y)), len(rows.names))
        seed = self.experiment.seed * 1000 + k
        inputs, y, more = self.inputs.take(train), rows.y[train], {}
        if self.teacher:
            inputs, y, more["weights"] = self._with_pseudo(k, inputs, y)
        log = model.fit(inputs, y, seed, checkpoint, on_epoch, **more)
        weights = self.paths.model(self.name, k, ".safetensors")
        model.save(weights)
        model = make_model(self.experiment, len(rows.names)).load(weights)  # scored as it will be used
        held_ids, inputs = [rows.ids[i] for i in held_out], self.inputs.take(held_out)
        if self.experiment.explains:
            terms = model.predict_terms(inputs)
            proba = sigmoid(terms[BOTH].sum(-1))
            parts = [(setting, held_ids, part) for setting, part in terms.items()]
            write_contributions(self.paths.model(self.name, k, TERMS), rows.names, parts)
        else:
            proba = model.predict_proba(inputs)
        origin = {"key": key, "folds": rows.fold_digest}
        Predictions(held_ids, rows.names, proba, origin).write(self.paths.model(self.name, k, ".parquet"))
        seconds = round(time.perf_counter() - start, 2)
        write_json(self.paths.model(self.name, k, ".json"), {"key": key, "seconds": seconds, "log": log})
        checkpoint.unlink(missing_ok=True)

    def _with_pseudo(self, k: int, inputs: Inputs, y: np.ndarray) -> tuple[Inputs, np.ndarray, np.ndarray]:
        """Training rows of fold k, then the unlabelled rows as its teacher sees them, which never saw fold k either."""
        teacher, pseudo = self.teacher, self.experiment.pseudo
        if not teacher.fold_is_current(k):
            raise ValueError(
                f"{self.name} learns from {teacher.name}; run make train EXPS={teacher.name} first"
            )
        model = make_model(teacher.experiment, len(self.rows.names))
        model.load(self.paths.model(teacher.name, k, ".safetensors"))
        soft, weights = [y], [np.ones(y.shape)]
        for split in unlabelled(self.paths):
            proba = model.predict_proba(read_inputs(self.paths, teacher.experiment, split)[1])
            soft.append(proba)
            weights.append(pseudo.weight * confidence(proba))
            inputs = inputs.followed_by(read_inputs(self.paths, self.experiment, split)[1])
        return inputs, np.concatenate(soft), np.concatenate(weights)

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

    def out_of_fold_terms(self) -> dict[str, np.ndarray]:
        """(n, c, 5) contributions a setting: each row's from the model that did not see it."""
        found: dict[str, np.ndarray] = {}
        for k in self.folds:
            held_out = np.flatnonzero(self.rows.fold == k)
            file = self.paths.model(self.name, k, TERMS)
            for setting, ids, terms in read_contributions(file):
                if ids != [self.rows.ids[i] for i in held_out]:
                    raise ValueError(f"{file}: not the rows of fold {k}; delete it and run make train")
                whole = found.setdefault(setting, np.zeros((*self.rows.y.shape, terms.shape[2]), np.float32))
                whole[held_out] = terms
        return found

    def test_key(self) -> str:
        return digest([self.oof_key(), inputs_key(self.paths, self.experiment, "test")])

    def test_is_current(self) -> bool:
        return read_provenance(self.paths.test(self.name)).get("key") == self.test_key()

    def predict_test(self) -> tuple[Predictions, np.ndarray | None]:
        """Mean of the folds' logits for the test rows, as probability; and of their terms (n, c, 5), if it explains."""
        ids, inputs = read_inputs(self.paths, self.experiment, "test")
        total, terms = 0.0, 0.0
        for k in self.folds:
            model = make_model(self.experiment, len(self.rows.names))
            model.load(self.paths.model(self.name, k, ".safetensors"))
            if self.experiment.explains:
                terms += model.predict_terms(inputs)[BOTH] / len(self.folds)
            else:
                total += logit(model.predict_proba(inputs)) / len(self.folds)
        proba = sigmoid(terms.sum(-1) if self.experiment.explains else total).astype(np.float32)
        predictions = Predictions(ids, self.rows.names, proba, self._origin(self.test_key()))
        return predictions, terms if self.experiment.explains else None

    def _origin(self, key: str) -> dict[str, str]:
        return {
            "experiment": self.name,
            "competition": self.paths.comp,
            "folds": self.rows.fold_digest,
            "key": key,
        }

"""Fits an experiment's model of one fold on all other folds, and pools the predictions of the folds."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tandem.artifacts.atomic_io import write_json
from tandem.artifacts.contributions import BOTH, read_contributions, write_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.experiments import Experiment, FusionExperiment
from tandem.config.own_code import located_code
from tandem.data.labelled_rows import LabelledRows, read_labelled_rows
from tandem.graph.declared_stages import TERMS
from tandem.logits import sigmoid
from tandem.metrics import f1_samples
from tandem.models.base import ExplainingModel, Model, TrainingRun
from tandem.models.fold_ensemble import FoldEnsemble
from tandem.models.inputs import Inputs
from tandem.models.registry import make_model
from tandem.training.pseudo_labels import with_pseudo_labels
from tandem.training.split_inputs import read_inputs


@dataclass(frozen=True)
class FoldJob:
    """Trains one experiment of one competition, fold by fold; its results depend on files alone.

    teacher  the experiment whose fold models give pseudo-labels to unlabelled rows; None where it learns from none
    """

    paths: Paths
    name: str
    experiment: Experiment
    teacher: "FoldJob | None" = None

    @cached_property
    def rows(self) -> LabelledRows:
        return read_labelled_rows(self.paths)

    @cached_property
    def inputs(self) -> Inputs:
        """The inputs of all training rows."""
        inputs = read_inputs(self.paths, self.experiment, "train")
        if list(inputs.ids) != list(self.rows.ids):
            raise ValueError(
                f"{self.paths.images('train')} and {self.paths.labels} differ in their rows; run make check"
            )
        return inputs

    def fit_fold(self, k: int, made_from: Mapping[str, Any], on_epoch: Callable[[dict], None]) -> dict[str, Any]:
        """Fits on all folds but k; writes the model, its predictions for fold k, and last `fold<k>.json`, which it
        returns: seconds, F1 per row at 0.5 of fold k, the log of `fit`, and `made_from`."""
        start = time.perf_counter()
        rows, key = self.rows, str(made_from["key"])
        train, held_out = np.flatnonzero(rows.fold != k), np.flatnonzero(rows.fold == k)
        checkpoint = self.paths.model(self.name, k, f".{key}.checkpoint")
        for stale in checkpoint.parent.glob(f"fold{k}.*.checkpoint"):
            if stale != checkpoint:
                stale.unlink()
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        experiment = located_code(self.experiment, self.paths.root)
        model = make_model(experiment.as_trained(len(rows.y)), len(rows.names))
        inputs, y, weights = self.inputs.take(train), rows.y[train], rows.known_of(train)
        if self.teacher and isinstance(self.experiment, FusionExperiment):
            teacher = self.teacher.load([k])  # the teacher's model of this fold was not trained on fold k either
            inputs, y, weights = with_pseudo_labels(self.paths, self.experiment, teacher, inputs, y, weights)
        run = TrainingRun(self.experiment.seed * 1000 + k, checkpoint, on_epoch, weights)
        log = model.fit(inputs, y, run) or []
        file, record = (self.paths.model(self.name, k, suffix) for suffix in (".safetensors", ".json"))
        record.unlink(missing_ok=True)  # until it is written again, the fold is stale
        model.save(file)
        model = make_model(experiment, len(rows.names)).load(file)  # scored as it will be used
        proba = self._predict_held_out(model, k, held_out, {"key": key, "folds": rows.fold_digest})
        done = {
            "seconds": round(time.perf_counter() - start, 2),
            "held_out_f1": f1_samples(rows.y[held_out], proba > 0.5, known=rows.known_of(held_out)),
            "log": log,
        }
        write_json(record, {**made_from, **done})
        checkpoint.unlink(missing_ok=True)
        return {**made_from, **done}

    def _predict_held_out(self, model: Model, k: int, held_out: np.ndarray, origin: dict[str, str]) -> np.ndarray:
        """(rows of fold k, c) probabilities, which it also writes, with the terms of each logit if there are any."""
        rows, inputs = self.rows, self.inputs.take(held_out)
        ids = [rows.ids[i] for i in held_out]
        if self.experiment.explains:
            assert isinstance(model, ExplainingModel)
            terms = model.predict_terms(inputs)
            proba = sigmoid(terms[BOTH].sum(-1))
            parts = [(setting, ids, part) for setting, part in terms.items()]
            write_contributions(self.paths.model(self.name, k, TERMS), rows.names, parts)
        else:
            proba = model.predict_proba(inputs)
        Predictions(ids, rows.names, proba, origin).write(self.paths.model(self.name, k, ".parquet"))
        return proba

    def held_out(self, folds: Sequence[int]) -> np.ndarray:
        """(n, c) float32: each row of `folds` by the model that was not trained on it; zero elsewhere."""
        proba = np.zeros(self.rows.y.shape, np.float32)
        for k in folds:
            part = Predictions.read(self.paths.model(self.name, k, ".parquet"))
            rows = np.flatnonzero(self.rows.fold == k)
            proba[rows] = part.aligned_to([self.rows.ids[i] for i in rows])
        return proba

    def held_out_terms(self, folds: Sequence[int]) -> dict[str, np.ndarray]:
        """(n, c, 5) contributions by setting, of each row from the model that was not trained on it."""
        whole: dict[str, np.ndarray] = {}
        for k in folds:
            rows = np.flatnonzero(self.rows.fold == k)
            file = self.paths.model(self.name, k, TERMS)
            for setting, ids, terms in read_contributions(file):
                if ids != [self.rows.ids[i] for i in rows]:
                    raise ValueError(f"{file}: not the rows of fold {k}; delete it and run make train")
                shape = (*self.rows.y.shape, terms.shape[2])
                whole.setdefault(setting, np.zeros(shape, np.float32))[rows] = terms
        return whole

    def load(self, folds: Sequence[int]) -> FoldEnsemble:
        """The models of these folds."""
        files = [self.paths.model(self.name, k, ".safetensors") for k in folds]
        return FoldEnsemble.load(located_code(self.experiment, self.paths.root), len(self.rows.names), files)

    def origin(self, key: str) -> dict[str, str]:
        """The provenance of its predictions."""
        about = {"experiment": self.name, "competition": self.paths.comp}
        return {**about, "folds": self.rows.fold_digest, "key": key}

"""Fits an experiment's model of one fold on all other folds, and pools the predictions of the folds."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tandem.artifacts.atomic_io import write_json
from tandem.artifacts.contributions import BOTH, read_contributions, write_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.competition import EXTRA_WEIGHT, load_competition
from tandem.config.experiments import Experiment, FusionExperiment
from tandem.config.own_code import located_code
from tandem.data.extra_rows import ExtraRows, read_extra
from tandem.data.labelled_rows import LabelledRows, read_labelled_rows
from tandem.graph.declared_stages import FOLD_TERMS
from tandem.graph.experiment_dir import Experiments
from tandem.logits import logit, sigmoid
from tandem.metrics import f1_samples
from tandem.models.base import ExplainingModel, Model, TrainingRun, Watched
from tandem.models.data_parallel import ALONE, BY_SEVERAL, processes, together
from tandem.models.fold_ensemble import FoldEnsemble
from tandem.models.inputs import Inputs
from tandem.models.registry import make_model
from tandem.runtime.resources import peak_mb, threads, where
from tandem.runtime.torch_setup import device_used, reset_device_memory
from tandem.training.pseudo_labels import with_pseudo_labels
from tandem.training.split_inputs import read_inputs

WATCHED_ROWS = 100  # of the held-out fold, in the training log


@dataclass(frozen=True)
class FoldJob:
    """Trains one experiment of one competition, fold by fold; its results depend on files alone.

    teacher  the experiment whose fold models give pseudo-labels to unlabelled rows; None where it learns from none
    seed     number of the seed that it trains, of an experiment with several
    whole    the job of all seeds, whose rows and inputs it shares
    """

    paths: Paths
    name: str
    experiment: Experiment
    teacher: "FoldJob | None" = None
    seed: int = 0
    whole: "FoldJob | None" = field(default=None, repr=False)

    @classmethod
    def of(cls, paths: Paths, name: str, config: Experiment) -> "FoldJob":
        """With the teacher as it was trained."""
        teacher = config.teacher and cls(paths, config.teacher, Experiments(paths)[config.teacher].config)
        return cls(paths, name, config, teacher or None)

    @cached_property
    def of_seeds(self) -> list["FoldJob"]:
        """A job for each seed; itself where there is one."""
        seeds = self.experiment.seeds
        each = [replace(self, experiment=self.experiment.of_seed(s), seed=s, whole=self) for s in range(seeds)]
        return each if seeds > 1 else [self]

    @property
    def title(self) -> str:
        return f"{self.name} seed {self.seed}" if self.seed else self.name

    def file(self, k: int, suffix: str) -> Path:
        return self.paths.model(self.name, k, suffix, self.seed)

    @cached_property
    def rows(self) -> LabelledRows:
        return self.whole.rows if self.whole else read_labelled_rows(self.paths)

    @cached_property
    def inputs(self) -> Inputs:
        """The inputs of all training rows."""
        if self.whole:
            return self.whole.inputs
        inputs = read_inputs(self.paths, self.experiment, "train")
        if list(inputs.ids) != list(self.rows.ids):
            raise ValueError(
                f"{self.paths.images('train')} and {self.paths.labels} differ in their rows; run make check"
            )
        return inputs

    @cached_property
    def extra(self) -> tuple[ExtraRows, float] | None:
        """The extra rows and the weight of their labels; None where the competition has none."""
        competition = load_competition(self.paths.competition)
        return (read_extra(self.paths), competition.extra_weight or EXTRA_WEIGHT) if competition.extra else None

    @cached_property
    def extra_inputs(self) -> Inputs:
        return read_inputs(self.paths, self.experiment, "extra")

    def training_rows(self, train: np.ndarray) -> tuple[Inputs, np.ndarray, np.ndarray | None]:
        """(inputs, y (n, c), weights (n, c) or None where all are 1) of these rows, then of the extra rows that are
        like none of the other training rows, which are held out."""
        rows = self.rows
        inputs, y, known = self.inputs.take(train), rows.y[train], rows.known_of(train)
        if self.extra is None:
            return inputs, y, known
        extra, weight = self.extra
        kept = extra.unlike(set(rows.ids) - {rows.ids[i] for i in train})
        own = np.ones(y.shape) if known is None else known
        added = weight * (np.ones(extra.y.shape) if extra.known is None else extra.known)[kept]
        return (
            inputs.followed_by(self.extra_inputs.take(kept)),
            np.concatenate([y, extra.y[kept]]),
            np.concatenate([own, added]),
        )

    def fit_fold(self, k: int, made_from: Mapping[str, Any], on_epoch: Callable[[dict], None]) -> dict[str, Any]:
        """Fits on all folds but k; writes the model, its predictions for fold k, and last `fold<k>.json`, which it
        returns: seconds and threads, rows trained on, F1 per row at 0.5 of fold k, peak memory, where and
        on which device it ran, how fast, the log of `fit`, and `made_from`."""
        start = time.perf_counter()
        rows, key = self.rows, str(made_from["key"])
        train, held_out = np.flatnonzero(rows.fold != k), np.flatnonzero(rows.fold == k)
        checkpoint = self.file(k, f".{key}.checkpoint")
        for stale in checkpoint.parent.glob(f"{self.file(k, '').name}.*.checkpoint"):
            if stale != checkpoint:
                stale.unlink()
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        experiment = located_code(self.experiment, self.paths.root)
        watched, several = self._watched(held_out), self.experiment.kind in BY_SEVERAL and processes() != ALONE
        if several:  # the other processes train it too
            processes().from_first((self._without_rows(), k))
        with together() if several else nullcontext():
            fitted, log, speed = self.fitted(k, checkpoint, on_epoch, watched)
        file, record = self.file(k, ".safetensors"), self.file(k, ".json")
        record.unlink(missing_ok=True)  # until it is written again, the fold is stale
        fitted.save(file)
        model = make_model(experiment, len(rows.names)).load(file)  # scored as it will be used
        proba = self._predict_held_out(model, k, held_out, {"key": key, "folds": rows.fold_digest})
        done = {
            "seconds": round(time.perf_counter() - start, 2),
            "threads": threads(),
            "rows": len(train),
            "held_out_f1": f1_samples(rows.y[held_out], proba > 0.5, known=rows.known_of(held_out)),
            "peak_mb": peak_mb(),
            **where(),
            **speed,
            "log": log,
        }
        if pace := getattr(fitted, "pace", None):  # images per second of the last epoch
            done["pace"] = pace.record()
        write_json(record, {**made_from, **done})
        checkpoint.unlink(missing_ok=True)
        return {**made_from, **done}

    def fitted(
        self,
        k: int,
        checkpoint: Path | None = None,
        on_epoch: Callable[[dict], None] = lambda entry: None,
        watched: Watched | None = None,
    ) -> tuple[Model, list[dict[str, Any]], dict[str, Any]]:
        """(the model of all folds but k, its log, device and rows a second); writes nothing but the checkpoint."""
        experiment, rows = located_code(self.experiment, self.paths.root), self.rows
        model = make_model(experiment.as_trained(len(rows.y)), len(rows.names))
        inputs, y, weights = self.training_rows(np.flatnonzero(rows.fold != k))
        if self.teacher and isinstance(self.experiment, FusionExperiment):
            teacher = self.teacher.load([k])  # the teacher's model of this fold was not trained on fold k either
            inputs, y, weights = with_pseudo_labels(self.paths, self.experiment, teacher, inputs, y, weights)
        epochs: list[dict[str, Any]] = []

        def follow(entry: dict[str, Any]) -> None:
            epochs.append(entry)
            on_epoch(entry)

        run = TrainingRun(self.experiment.seed * 1000 + k, checkpoint, follow, weights, watched=watched)
        reset_device_memory()
        start = time.perf_counter()
        log = model.fit(inputs, y, run) or []
        seconds = max(time.perf_counter() - start, 1e-6)
        speed = {"rows_per_second": round(len(y) * max(1, len(epochs)) / seconds, 1), **device_used()}
        return model, log, speed

    def _without_rows(self) -> "FoldJob":
        """The same job, which has read nothing yet."""
        return replace(self, whole=None, teacher=self.teacher and replace(self.teacher))

    def _watched(self, held_out: np.ndarray) -> Watched:
        """At most WATCHED_ROWS of the held-out rows, evenly spaced, for the training log."""
        few = held_out[np.linspace(0, len(held_out) - 1, min(len(held_out), WATCHED_ROWS)).astype(int)]
        return Watched(self.inputs.take(few), self.rows.y[few], self.rows.known_of(few))

    def _predict_held_out(self, model: Model, k: int, held_out: np.ndarray, origin: dict[str, str]) -> np.ndarray:
        """(rows of fold k, c) probabilities, which it also writes, with the terms of each logit if there are any."""
        rows, inputs = self.rows, self.inputs.take(held_out)
        ids = [rows.ids[i] for i in held_out]
        if self.experiment.explains:
            assert isinstance(model, ExplainingModel)
            terms = model.predict_terms(inputs)
            proba = sigmoid(terms[BOTH].sum(-1))
            parts = [(setting, ids, part) for setting, part in terms.items()]
            write_contributions(self.file(k, FOLD_TERMS), rows.names, parts)
        else:
            proba = model.predict_proba(inputs)
        Predictions(ids, rows.names, proba, origin).write(self.file(k, ".parquet"))
        return proba

    def held_out(self, folds: Sequence[int]) -> np.ndarray:
        """(n, c) float32: each row of `folds` by the model that was not trained on it, of several seeds by the mean of
        their logits; zero elsewhere."""
        if len(self.of_seeds) > 1:
            known = np.isin(self.rows.fold, folds)[:, None]
            return np.where(known, sigmoid(self._mean_logits(folds)), 0).astype(np.float32)
        proba = np.zeros(self.rows.y.shape, np.float32)
        for k in folds:
            part = Predictions.read(self.file(k, ".parquet"))
            rows = np.flatnonzero(self.rows.fold == k)
            proba[rows] = part.aligned_to([self.rows.ids[i] for i in rows])
        return proba

    def _mean_logits(self, folds: Sequence[int]) -> np.ndarray:
        """(n, c): the mean over the seeds; of terms, their sum, so that both are the same to rounding."""
        if self.experiment.explains:
            return self.held_out_terms(folds)[BOTH].sum(-1)
        return np.mean([logit(job.held_out(folds)) for job in self.of_seeds], axis=0)

    def held_out_terms(self, folds: Sequence[int]) -> dict[str, np.ndarray]:
        """(n, c, 6) contributions by setting, of each row from the model that was not trained on it; of several seeds
        their means."""
        if len(self.of_seeds) > 1:
            each = [job.held_out_terms(folds) for job in self.of_seeds]
            return {setting: np.mean([terms[setting] for terms in each], axis=0) for setting in each[0]}
        whole: dict[str, np.ndarray] = {}
        for k in folds:
            rows = np.flatnonzero(self.rows.fold == k)
            for setting, terms in self._fold_terms(k, rows).items():
                shape = (*self.rows.y.shape, terms.shape[2])
                whole.setdefault(setting, np.zeros(shape, np.float32))[rows] = terms
        return whole

    def _fold_terms(self, k: int, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Those of fold k: as written with its predictions, or, where these are not computed from them, predicted."""
        if not self.experiment.explains:
            return self.load([k]).terms(self.inputs.take(rows))
        file = self.file(k, FOLD_TERMS)
        parts = read_contributions(file)
        if any(ids != [self.rows.ids[i] for i in rows] for _, ids, _ in parts):
            raise ValueError(f"{file}: not the rows of fold {k}; delete it and run make train")
        return {setting: terms for setting, _, terms in parts}

    def load(self, folds: Sequence[int]) -> FoldEnsemble:
        """The models of these folds, of every seed."""
        files = [job.file(k, ".safetensors") for k in folds for job in self.of_seeds]
        return FoldEnsemble.load(located_code(self.experiment, self.paths.root), len(self.rows.names), files)

    def origin(self, key: str) -> dict[str, str]:
        """The provenance of its predictions."""
        about = {"experiment": self.name, "competition": self.paths.comp}
        return {**about, "folds": self.rows.fold_digest, "key": key}

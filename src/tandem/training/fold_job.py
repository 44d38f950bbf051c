"""The job: one experiment and one fold, a function of files; and what a job reads.

A fold is current when its files were written under the same key: configuration, fold map, labels and inputs. So a
killed run goes on where it was, and nothing is fitted twice.
"""

import time
from collections.abc import Callable
from functools import cached_property

import numpy as np

from tandem.artifacts.atomic_io import digest, read_json, write_json
from tandem.artifacts.contributions import BOTH, read_contributions, write_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions, read_provenance
from tandem.config.experiments import read_resolved
from tandem.data.labelled_rows import read_labelled
from tandem.logits import sigmoid
from tandem.models.base import TrainingRun
from tandem.models.fold_ensemble import FoldEnsemble
from tandem.models.inputs import Inputs
from tandem.models.registry import make_model
from tandem.training.pseudo_labels import confidence
from tandem.training.split_inputs import inputs_key, read_inputs, unlabelled

TERMS = ".terms.parquet"  # beside a fold's predictions: what moved them


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
            self.experiment.as_trained(len(self.rows.y)).model_dump(),
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
        name = self.experiment.teacher
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
        inputs = read_inputs(self.paths, self.experiment, "train")
        if inputs.ids != self.rows.ids:
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
        model = make_model(self.experiment.as_trained(len(rows.y)), len(rows.names))
        seed = self.experiment.seed * 1000 + k
        inputs, y, weighing = self.inputs.take(train), rows.y[train], None
        if self.teacher:
            inputs, y, weighing = self._with_pseudo(k, inputs, y)
        log = model.fit(inputs, y, TrainingRun(seed, checkpoint, on_epoch, weighing))
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
            proba = model.predict_proba(read_inputs(self.paths, teacher.experiment, split))
            soft.append(proba)
            weights.append(pseudo.weight * confidence(proba))
            inputs = inputs.followed_by(read_inputs(self.paths, self.experiment, split))
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
        inputs = read_inputs(self.paths, self.experiment, "test")
        files = [self.paths.model(self.name, k, ".safetensors") for k in self.folds]
        ensemble, terms = FoldEnsemble.load(self.experiment, len(self.rows.names), files), None
        if self.experiment.explains:
            terms = ensemble.terms(inputs)[BOTH]
            proba = sigmoid(terms.sum(-1)).astype(np.float32)
        else:
            proba = ensemble.probabilities(inputs)
        return Predictions(inputs.ids, self.rows.names, proba, self._origin(self.test_key())), terms

    def _origin(self, key: str) -> dict[str, str]:
        return {
            "experiment": self.name,
            "competition": self.paths.comp,
            "folds": self.rows.fold_digest,
            "key": key,
        }

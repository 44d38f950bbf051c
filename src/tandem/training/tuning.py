"""Searches the settings of an experiment by cross-validation within some folds; a killed search continues.

Source: tree-structured Parzen estimator, Bergstra et al. 2011, as in Optuna.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from tandem.artifacts.atomic_io import digest
from tandem.config.experiments import Experiment
from tandem.config.own_code import located_code
from tandem.config.tuning import SearchSpace, Span, Value
from tandem.ensemble.fit_stack import surrogate_loss
from tandem.models.base import TrainingRun
from tandem.models.registry import make_model
from tandem.training.fold_job import FoldJob

LOSSES = "losses"  # attribute of a trial, and of a study for the untuned experiment: the mean loss of each fold so far
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
FIRST = 5  # trials that are never pruned: of fewer a median says little
DIGITS = 3  # of a number that is tried, so that files stay readable

Losses = list[float]


@dataclass(frozen=True)
class Found:
    """The best of the trials of one search and of the untuned experiment, by mean loss over its folds."""

    chosen: dict[str, Value]  # by dotted key; empty where no trial is better than the untuned experiment
    loss: float
    untuned_loss: float
    trials: int
    pruned: int


@dataclass(frozen=True)
class Search:
    """One search: trials are judged on `folds`, each predicted by a model trained on the others of `folds`.

    job   of the untuned experiment
    name  of the study: what its trials depend on
    """

    job: FoldJob
    space: SearchSpace
    folds: tuple[int, ...]
    name: str
    storage: BaseStorage  # of the studies

    def run(
        self, trials: int, untuned: Losses | None = None, on_fits: Callable[[int], object] = lambda n: None
    ) -> Found:
        """Continues until so many trials are finished; `on_fits` is told how many fits are done or left out.

        untuned  the losses of the untuned experiment, where they are known
        """
        study = open_study(self.storage, self.name)
        for left in study.get_trials(states=(TrialState.RUNNING,)):  # of a killed run
            study.tell(left.number, state=TrialState.FAIL)
        if untuned is None:
            untuned = self._untuned(study, on_fits)
        while (done := len(study.get_trials(states=FINISHED))) < trials:
            seed = int(digest([self.name, done])[:8], 16)  # so that a killed search continues as if it had not been
            study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=False)
            self._run_trial(study, study.ask())
            on_fits(len(self.folds))
        return self._best(study, untuned)

    def _untuned(self, study: optuna.Study, on_fits: Callable[[int], object]) -> Losses:
        losses: Losses = study.user_attrs.get(LOSSES, [])
        for k in self.folds[len(losses) :]:
            losses = [*losses, self._loss(self.job.experiment, k)]
            study.set_user_attr(LOSSES, losses)
        on_fits(len(self.folds))
        return losses

    def _run_trial(self, study: optuna.Study, trial: Trial) -> None:
        """Folds in order; pruned where the mean loss so far is above the median of the trials before."""
        chosen = suggest(trial, self.space)
        known: Losses = next((t.user_attrs[LOSSES] for t in study.trials if t.user_attrs.get("chosen") == chosen), [])
        trial.set_user_attr("chosen", chosen)
        try:
            experiment = self.space.experiment(chosen)
        except ValueError:  # values that do not go together
            study.tell(trial, state=TrialState.PRUNED)
            return
        losses: Losses = []
        for step, k in enumerate(self.folds):
            try:
                losses.append(known[step] if step < len(known) else self._loss(experiment, k))
            except ValueError:  # it diverged
                losses.append(float("inf"))
            trial.set_user_attr(LOSSES, losses)
            trial.report(float(np.mean(losses)), step)
            if trial.should_prune() or not np.isfinite(losses[-1]):
                study.tell(trial, state=TrialState.PRUNED)
                return
        study.tell(trial, float(np.mean(losses)))

    def _loss(self, experiment: Experiment, k: int) -> float:
        """Mean log loss of the rows of fold k, whatever the metric: see `surrogate_loss`."""
        job, rows = self.job, self.job.rows
        train = np.flatnonzero(np.isin(rows.fold, [j for j in self.folds if j != k]))
        held_out = np.flatnonzero(rows.fold == k)
        experiment = located_code(experiment, job.paths.root)
        model = make_model(experiment.as_trained(len(rows.y)), len(rows.names))
        inputs, y, weights = job.training_rows(train)
        model.fit(inputs, y, TrainingRun(experiment.seed * 1000 + k, weights=weights))
        proba = model.predict_proba(job.inputs.take(held_out))
        return fold_loss(rows.y[held_out], proba, rows.known_of(held_out))

    def _best(self, study: optuna.Study, untuned: Losses) -> Found:
        finished, loss = study.get_trials(states=FINISHED), float(np.mean(untuned))
        whole = [trial for trial in finished if trial.state == TrialState.COMPLETE]
        best: FrozenTrial | None = min(whole, key=lambda trial: trial.values[0], default=None)
        better = best is not None and best.values[0] < loss
        chosen = dict(best.user_attrs["chosen"]) if best is not None and better else {}
        found = best.values[0] if best is not None and better else loss
        return Found(chosen, found, loss, len(finished), len(finished) - len(whole))


def fold_loss(y: np.ndarray, proba: np.ndarray, known: np.ndarray | None) -> float:
    return float(surrogate_loss(y, proba, known).mean())


def open_storage(file: Path) -> RDBStorage:
    """The studies in an SQLite file, which is made where it does not exist; raises ValueError where it is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        return RDBStorage(f"sqlite:///{file}")
    except SQLAlchemyError as error:
        raise ValueError(f"{file}: no studies of Optuna ({type(error).__name__}); delete it to search anew") from error


def open_study(storage: BaseStorage, name: str) -> optuna.Study:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=FIRST)
    return optuna.create_study(storage=storage, study_name=name, pruner=pruner, load_if_exists=True)


def suggest(trial: Trial, space: SearchSpace) -> dict[str, Value]:
    """A value for each key; numbers of DIGITS digits."""
    chosen: dict[str, Value] = {}
    for key, span in space.ranges.items():
        if not isinstance(span, Span):
            chosen[key] = cast(Value, trial.suggest_categorical(key, span))
        elif isinstance(span.low, int) and isinstance(span.high, int):
            chosen[key] = trial.suggest_int(key, span.low, span.high, log=span.log)
        else:
            exact = trial.suggest_float(key, span.low, span.high, log=span.log)
            chosen[key] = min(max(float(f"{exact:.{DIGITS}g}"), span.low), span.high)
    return chosen


def number_of_fits(folds: int, outer: int, trials: int) -> int:
    """Fits of all searches, at most: of each outer fold on the folds - 1 others, with the untuned experiment, and then
    of the best; and of the search on all folds, whose untuned experiment is trained already.

    >>> number_of_fits(5, 5, 30), number_of_fits(5, 0, 30)
    (775, 150)
    """
    return outer * ((trials + 1) * (folds - 1) + 1) + trials * folds


def untuned_losses(job: FoldJob, folds: Sequence[int]) -> Losses:
    """The loss of each fold by the trained fold models."""
    rows, proba = job.rows, job.held_out(folds)
    parts = [np.flatnonzero(rows.fold == k) for k in folds]
    return [fold_loss(rows.y[part], proba[part], rows.known_of(part)) for part in parts]

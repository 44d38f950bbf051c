"""Pseudo-labels for unlabelled rows."""

import numpy as np

from tandem.artifacts.paths import Paths
from tandem.config.experiments import FusionExperiment
from tandem.logits import clip_proba
from tandem.models.fold_ensemble import FoldEnsemble
from tandem.models.inputs import Inputs
from tandem.training.split_inputs import read_inputs, unlabelled


def confidence(proba: np.ndarray) -> np.ndarray:
    """1 - entropy of each probability in bits: 0 at one half, 1 at 0 and 1.

    >>> confidence(np.array([0.0, 0.5, 1.0, 0.9], np.float32)).round(2).tolist()
    [1.0, 0.0, 1.0, 0.53]
    """
    p = clip_proba(proba, 1e-9)
    return 1 + p * np.log2(p) + (1 - p) * np.log2(1 - p)


def with_pseudo_labels(
    paths: Paths,
    experiment: FusionExperiment,
    teacher: FoldEnsemble,
    inputs: Inputs,
    y: np.ndarray,
    known: np.ndarray | None = None,  # (n, c) weights of the labels of the training rows; None: all are 1
) -> tuple[Inputs, np.ndarray, np.ndarray]:
    """(inputs, y, weights (n, c)) of a fold's training rows, then of all unlabelled rows.

    `teacher` holds the teacher's models of the same fold, so no label of the held-out fold is used.
    """
    soft, weights = [y], [np.ones(y.shape) if known is None else known]
    assert experiment.pseudo
    share = experiment.pseudo.weight
    predict = teacher.probabilities if len(teacher.models) > 1 else teacher.models[0].predict_proba
    for split in unlabelled(paths):
        proba = predict(read_inputs(paths, teacher.experiment, split))
        soft.append(proba)
        weights.append(share * confidence(proba))
        inputs = inputs.followed_by(read_inputs(paths, experiment, split))
    return inputs, np.concatenate(soft), np.concatenate(weights)

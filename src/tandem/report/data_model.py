"""The data that a report is made from: the rows, the scored experiments, and the experiment in focus."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tandem.decoding import Rule
from tandem.metrics import f_beta


@dataclass(frozen=True)
class Split:
    """The checked rows of one CSV file, in its order.

    captions  (n,) or None if the competition has none
    sizes     (n, 3) width and height in pixels, file size in bytes
    """

    ids: Sequence[str]
    files: Sequence[Path]
    captions: Sequence[str] | None
    sizes: np.ndarray


@dataclass(frozen=True)
class ScoredExperiment:
    """An experiment that has a scores.json.

    scores      scores.json
    run         run.json
    proba       (n, c) out-of-fold probabilities
    modalities  which of `image` and `caption` are its inputs
    local       the scores of its submission against the solution, or None
    logs        the training log of each fold, one dict per epoch
    """

    name: str
    scores: dict
    run: dict
    proba: np.ndarray
    modalities: frozenset[str] = frozenset()
    local: dict | None = None
    logs: dict[int, list[dict]] = field(default_factory=dict)


@dataclass(frozen=True)
class FocusExperiment:
    """The experiment that the report describes in detail.

    pred        (n, c) bool, cross-fitted: no row was decoded by parameters tuned on it
    recipe      thresholds.json
    terms       (n, c, 5) tandem.artifacts.contributions.TERMS of each out-of-fold logit, or None
    test_proba  (m, c) probabilities of the test rows, or None
    test_pred   (m, c) bool, test_proba decoded, or None
    submission  the JSON file beside its submission, or None
    """

    scored: ScoredExperiment
    pred: np.ndarray
    recipe: dict
    terms: np.ndarray | None = None
    test_proba: np.ndarray | None = None
    test_pred: np.ndarray | None = None
    submission: dict | None = None

    @property
    def name(self) -> str:
        return self.scored.name

    @property
    def proba(self) -> np.ndarray:
        return self.scored.proba

    @property
    def scores(self) -> dict:
        return self.scored.scores

    @property
    def thresholds(self) -> np.ndarray | None:
        """(c,), or None if the decoder has no thresholds."""
        by_name = self.recipe.get("thresholds")
        return None if by_name is None else np.array([by_name[name] for name in self.recipe["labels"]])


@dataclass(frozen=True)
class ReportData:
    """Everything a report can show; what does not exist yet is None or empty.

    names     (c,) label names
    y         (n, c) uint8
    fold      (n,) or None without a fold map; group (n,) of near-duplicates likewise
    focus     None before an experiment is scored
    features  ((n, d), (m, d)) frozen image features of train and test, or None
    findings  the report of the data check, or None
    missing   (what does not exist yet, the command that makes it)
    """

    comp: str
    rule: Rule
    names: tuple[str, ...]
    y: np.ndarray
    train: Split
    test: Split | None = None
    fold: np.ndarray | None = None
    group: np.ndarray | None = None
    experiments: Sequence[ScoredExperiment] = ()
    focus: FocusExperiment | None = None
    features: tuple[np.ndarray, np.ndarray] | None = None
    findings: dict | None = None
    missing: Sequence[tuple[str, str]] = ()


def row_scores(y: np.ndarray, pred: np.ndarray, beta: float) -> np.ndarray:
    """(n,) F-beta of each row."""
    y, pred = y.astype(bool), pred.astype(bool)
    return f_beta((y & pred).sum(1), y.sum(1), pred.sum(1), beta)

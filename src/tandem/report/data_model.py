"""The data that a report is made from: the rows, the scored experiments, and the experiment in focus."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tandem.decoding import Rule


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
    """An experiment with its scores.json and run.json.

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
    test_pred   (m, c) bool, the label sets of the test rows, or None
    submission  the JSON file beside its submission, or None
    """

    scored: ScoredExperiment
    pred: np.ndarray
    recipe: dict
    terms: np.ndarray | None = None
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
    y         (n, c) uint8; fold and group of near-duplicates (n,)
    features  ((n, d), (m, d)) frozen image features of train and test
    findings  the report of the data check
    missing   (what does not exist yet, the command that makes it)
    """

    comp: str
    rule: Rule
    names: tuple[str, ...]
    y: np.ndarray
    fold: np.ndarray
    group: np.ndarray
    train: Split
    test: Split | None = None
    experiments: Sequence[ScoredExperiment] = ()
    focus: FocusExperiment | None = None
    features: tuple[np.ndarray, np.ndarray] | None = None
    findings: dict | None = None
    missing: Sequence[tuple[str, str]] = ()

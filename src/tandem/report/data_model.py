"""What a report is made from: rows, experiments, and the one experiment that it is about."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from tandem.decoding import Rule
from tandem.metrics import f_beta


@dataclass(frozen=True)
class Split:
    """The checked rows of one CSV, in its order.

    captions  (n,) or None where the competition has none
    sizes     (n, 3) width and height in pixels, bytes of the file
    """

    ids: Sequence[str]
    files: Sequence[Path]
    captions: Sequence[str] | None
    sizes: np.ndarray


@dataclass(frozen=True)
class Scored:
    """An experiment that has a scores.json.

    proba     (n, c) out of fold
    sees      which of `image` and `caption` it reads
    local     its submission's scores against the solution, or None
    logs      of each fold, the entries of its training log
    """

    name: str
    scores: dict
    run: dict
    proba: np.ndarray
    sees: frozenset[str] = frozenset()
    local: dict | None = None
    logs: dict[int, list[dict]] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """The experiment that the report is about.

    pred        (n, c) bool, cross-fitted: no row was decoded by what was tuned on it
    recipe      thresholds.json
    terms       (n, c, 5) what moved each out-of-fold logit (tandem.artifacts.contributions.TERMS), or None
    test_proba  (m, c), and test_pred as its decoder sees them; None without test predictions
    submission  the JSON beside its CSV, or None
    """

    scored: Scored
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
    def thresholds(self) -> np.ndarray | None:
        """(c,), or None where the decoder weighs whole sets."""
        found = self.recipe.get("thresholds")
        return None if found is None else np.array([found[name] for name in self.recipe["labels"]])


@dataclass(frozen=True)
class Evidence:
    """All that is there; what is not is None or empty, and `missing` says which command brings it.

    names     (c,) label names
    y         (n, c) uint8
    fold      (n,) and group (n,) of near-duplicates, or None without a fold map
    features  ((n, d), (m, d)) frozen image features of train and test, or None
    """

    comp: str
    rule: Rule
    names: tuple[str, ...]
    y: np.ndarray
    train: Split
    test: Split | None = None
    fold: np.ndarray | None = None
    group: np.ndarray | None = None
    experiments: Sequence[Scored] = ()
    subject: Subject | None = None
    features: tuple[np.ndarray, np.ndarray] | None = None
    findings: dict | None = None
    missing: Sequence[tuple[str, str]] = ()

    @cached_property
    def row_scores(self) -> np.ndarray:
        """(n,) F-beta of each row under the subject's cross-fitted sets."""
        return row_scores(self.y, self.subject.pred, self.rule.beta)


def row_scores(y: np.ndarray, pred: np.ndarray, beta: float) -> np.ndarray:
    y, pred = y.astype(bool), pred.astype(bool)
    return f_beta((y & pred).sum(1), y.sum(1), pred.sum(1), beta)

"""The data that a report is made from: the rows, the scored experiments, and the experiment in focus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tandem.artifacts.journal import Row
from tandem.config.external import is_external
from tandem.decoding import Rule


@dataclass(frozen=True)
class Split:
    """The checked rows of one CSV file, in its order."""

    ids: Sequence[str]
    files: Sequence[Path]  # of the images; none where the competition has no images
    captions: Sequence[str] | None  # None if the competition has none
    sizes: np.ndarray  # (n, 3) width and height in pixels, file size in bytes


@dataclass(frozen=True)
class ScoredExperiment:
    """An experiment with its scores.json and run.json."""

    name: str
    scores: dict
    run: dict
    proba: np.ndarray  # (n, c) out of fold
    modalities: frozenset[str] = frozenset()  # which of `image` and `caption` are its inputs
    local: dict | None = None  # the scores of its submission against the solution
    logs: dict[int, list[dict]] = field(default_factory=dict)  # the training log of each fold, one dict per epoch
    marks: tuple[str, ...] = ()  # why its score may be too high

    @property
    def is_external(self) -> bool:
        """Whether its predictions were made elsewhere."""
        return is_external(self.run)


@dataclass(frozen=True)
class Decoded:
    """Cross-fitted predictions of an experiment: no row was decoded by parameters tuned on it."""

    pred: np.ndarray  # (n, c) bool
    values: np.ndarray | None = None  # (n, c) probabilities, where the metric scores these; None: `pred`

    @property
    def scored(self) -> np.ndarray:
        """(n, c) what the metric scores: label sets, or probabilities."""
        return self.pred if self.values is None else self.values


@dataclass(frozen=True, kw_only=True)
class FocusExperiment(ScoredExperiment):
    """The experiment that the report describes in detail; what does not exist is None."""

    pred: np.ndarray  # (n, c) bool, cross-fitted: no row was decoded by parameters tuned on it
    recipe: dict  # thresholds.json
    values: np.ndarray | None = None  # (n, c) cross-fitted probabilities, where the metric scores these; None: `pred`
    terms: np.ndarray | None = None  # (n, c, 6) tandem.artifacts.contributions.TERMS of each out-of-fold logit
    test_pred: np.ndarray | None = None  # (m, c) bool, the label sets of the test rows
    test_proba: np.ndarray | None = None  # (m, c)
    test_terms: np.ndarray | None = None  # (m, c, 6)
    submission: dict | None = None  # the JSON file beside its submission

    @property
    def scored(self) -> np.ndarray:
        """(n, c) what the metric scores: label sets, or probabilities."""
        return self.pred if self.values is None else self.values

    @property
    def thresholds(self) -> np.ndarray | None:
        """(c,) the tuned ones, whatever decoder is in use; None in files of older versions that have none."""
        by_name = self.recipe.get("thresholds")
        return None if by_name is None else np.array([by_name[name] for name in self.recipe["labels"]])


@dataclass(frozen=True)
class Origin:
    """Where and when the figures were made."""

    when: str  # date and time (UTC) of the newest result
    version: str
    commit: str  # "" where the code is in no checkout
    settings: tuple[tuple[str, str, str], ...]  # (file, key, value)


@dataclass(frozen=True)
class ReportData:
    """Everything a report can show; what does not exist yet is None or empty."""

    comp: str
    rule: Rule
    names: tuple[str, ...]  # (c,) labels
    y: np.ndarray  # (n, c) uint8
    fold: np.ndarray  # (n,)
    group: np.ndarray  # (n,) rows of one group are near-duplicates
    train: Split
    test: Split | None = None
    experiments: Sequence[ScoredExperiment] = ()
    focus: FocusExperiment | None = None
    features: tuple[np.ndarray, np.ndarray] | None = None  # (n, d), (m, d) frozen image features of train and test
    findings: dict | None = None  # the report of the data check
    warnings: Sequence[str] = ()  # of the leak test
    decoded: Mapping[str, Decoded] = field(default_factory=dict)  # of the experiments, by name
    missing: Sequence[tuple[str, str]] = ()  # (what does not exist yet, the command that makes it)
    explainable: bool = False  # whether make explain can be asked about the experiment in focus
    explained: Mapping[str, str] = field(default_factory=dict)  # by id: the page of make explain, beside the report
    heat: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by id: the heat map of each label there
    origin: Origin | None = None
    known: np.ndarray | None = None  # (n, c) bool: which labels are known, y is 0 at the others; None: all are
    journal: Sequence[Row] = ()  # the submissions so far

    def counted(self, pred: np.ndarray) -> np.ndarray:
        """(n, c) bool: label sets without the labels that are unknown, which are neither right nor wrong."""
        return pred if self.known is None else pred & self.known

    @property
    def unknown(self) -> np.ndarray:
        """(c,) number of rows where each label is unknown."""
        return np.zeros(len(self.names), int) if self.known is None else (~self.known).sum(0)

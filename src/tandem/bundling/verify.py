"""Compares the predictions of a new bundle with those of its source."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem.graph.experiment_dir import ExperimentDir
from tandem.inference.bundle_reader import open_bundle
from tandem.inference.labeler import Labeler
from tandem.inference.results import LabelledImage

MAX_DIFFERENCE = 0.05  # of a probability, by rounding


@dataclass(frozen=True)
class Agreement:
    """Of a bundle and its source: rows compared, largest difference of a probability, rows with the same labels."""

    rows: int
    difference: float
    same_labels: int


def verify_bundle(
    bundle: Path, trained: ExperimentDir, folds: int, files: Sequence[Path], captions: Sequence[str]
) -> Agreement:
    """Labels these images by both; raises ValueError where a probability differs by more than MAX_DIFFERENCE."""
    # without a caption the source may choose another fallback, among all its experiments
    rows = [i for i, caption in enumerate(captions) if caption.strip()] or range(len(files))
    files, captions = [files[i] for i in rows], [captions[i] for i in rows]
    source, packed = Labeler.of(trained.paths, trained.name, folds), Labeler.of(*open_bundle(bundle))
    expected, got = (list(labeler.label(files, captions)) for labeler in (source, packed))
    difference = float(np.abs(_proba(expected, source.names) - _proba(got, source.names)).max())
    if difference > MAX_DIFFERENCE:
        raise ValueError(f"the bundle's probabilities differ by {difference:.3f}, expected {MAX_DIFFERENCE} or less")
    same = sum(set(a.labels) == set(b.labels) for a, b in zip(expected, got, strict=True))
    return Agreement(len(files), difference, same)


def _proba(results: Sequence[LabelledImage], names: Sequence[str]) -> np.ndarray:
    return np.array([[(result.proba or {})[name] for name in names] for result in results])

"""Compares the predictions of a new bundle with those of its source."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tandem.graph.experiment_dir import ExperimentDir
from tandem.inference.bundle_reader import open_bundle
from tandem.inference.labeler import Labeler

MAX_DIFFERENCE = 0.05  # of a probability, by rounding


def verify_bundle(
    bundle: Path, trained: ExperimentDir, folds: int, files: Sequence[Path], captions: Sequence[str]
) -> tuple[int, float, int]:
    """(images compared, largest difference of a probability, images with the same labels).

    Raises ValueError where a probability differs by more than MAX_DIFFERENCE.
    """
    # without a caption the source may choose another fallback, among all its experiments
    rows = [i for i, caption in enumerate(captions) if caption.strip()] or range(len(files))
    files, captions = [files[i] for i in rows], [captions[i] for i in rows]
    labelers = Labeler.of(trained.paths, trained.name, folds), Labeler.of(*open_bundle(bundle))
    expected, got = (list(labeler.label(files, captions)) for labeler in labelers)
    pairs = [(a.proba or {}, b.proba or {}) for a, b in zip(expected, got, strict=True)]
    difference = float(np.max([abs(a[name] - b[name]) for a, b in pairs for name in labelers[0].names]))
    if difference > MAX_DIFFERENCE:
        raise ValueError(f"the bundle's probabilities differ by {difference:.3f}, expected {MAX_DIFFERENCE} or less")
    return len(files), difference, sum(set(a.labels) == set(b.labels) for a, b in zip(expected, got, strict=True))

"""Do a stack's terms agree with what happens when a modality is really left out? Rank correlations, out of fold."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tandem.artifacts.contributions import TERMS, stream_contributions
from tandem.artifacts.predictions import Predictions
from tandem.logits import sigmoid
from tandem.metrics import rank_correlations

LACKING = {"captions": "caption", "photos": "image"}  # what is left out -> its term
SHOWN = 40  # labels, at most, that are printed one by one

Agreement = dict[str, dict[str, float | None]]  # what is left out -> label -> rank correlation


def read_without(path: Path, setting: str, ids: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """(n, c) out-of-fold probabilities of a network in the setting no_caption or no_image, from its contributions."""
    found, logits = [], []
    for some, terms in stream_contributions(path, setting, len(names)):
        found += some
        logits.append(terms.sum(-1))
    if not found:
        raise ValueError(f"{path}: no rows of {setting!r}; run make train")
    return Predictions(found, tuple(names), sigmoid(np.concatenate(logits))).aligned_to(ids)


def agreement(names: Sequence[str], terms: np.ndarray, without: Mapping[str, np.ndarray | None]) -> Agreement:
    """Rank correlation of a modality's term, among terms (n, c, 6), with how much the logit changes when the modality
    is left out; for each of LACKING whose logits `without` it (n, c) are known, and each label."""
    found: Agreement = {}
    for lacking, logits in without.items():
        if logits is not None and len(logits):
            own = terms[:, :, TERMS.index(LACKING[lacking])]
            each = rank_correlations(own, terms.sum(-1) - logits).tolist()
            known = [None if np.isnan(value) else round(value, 4) for value in each]
            found[lacking] = dict(zip(names, known, strict=True))
    return found


def agreement_lines(found: Agreement) -> list[str]:
    """What to print: the median over labels, and each label's value where there are not too many."""
    lines = []
    for lacking, of_label in found.items():
        known = {name: value for name, value in of_label.items() if value is not None}
        if not known:
            continue
        each = [f"{name} {value:.2f}" for name, value in sorted(known.items(), key=lambda item: item[1])[:SHOWN]]
        more = f", and {len(known) - SHOWN} higher ones" if len(known) > SHOWN else ""
        lines.append(
            f"the {LACKING[lacking]} term against the change of the logit without {lacking}, rank correlation per "
            f"label: median {np.median(list(known.values())):.2f}; {', '.join(each)}{more}"
        )
    return lines

"""Contributions: each logit as a sum of terms, one row for each image and label."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tandem.artifacts.atomic_io import write_with

# models of the image, of the caption, of both; the row's other labels and its caption length; the intercept
TERMS = ("image", "caption", "fusion", "context", "base")

# input of a model: a fusion network can predict without one of the two
BOTH, NO_CAPTION, NO_IMAGE = "both", "no_caption", "no_image"

# how reports, explanations and the web page name the terms, and predictions with one input missing
TERM_NAMES = {
    "image": "image",
    "caption": "caption",
    "fusion": "fusion",  # only the combination of image and caption
    "context": "other labels",
    "base": "base rate",
}
SINGLE_INPUT_NAMES = {NO_CAPTION: "image only", NO_IMAGE: "caption only"}

SplitTerms = tuple[str, Sequence[str], np.ndarray]  # split, ids (n,), terms (n, c, 5)


def term_of(modalities: set[str]) -> str:
    """The one of TERMS that a model's logit belongs to, by its input modalities.

    >>> term_of({"image"}), term_of({"image", "caption"})
    ('image', 'fusion')
    """
    return "fusion" if len(modalities) > 1 else next(iter(modalities))


def sum_by_term(parts: np.ndarray, modalities: Sequence[set[str]]) -> np.ndarray:
    """(n, c, 5) TERMS from a stack's (n, c, m + 2): a part for each member, with its inputs, then context and base."""
    out = np.zeros((*parts.shape[:2], len(TERMS)), np.float32)
    for i, inputs in enumerate(modalities):
        out[:, :, TERMS.index(term_of(inputs))] += parts[:, :, i]
    out[:, :, 3:] += parts[:, :, -2:]
    return out


def write_contributions(path: Path, names: Sequence[str], parts: Sequence[SplitTerms]) -> None:
    """Writes columns split, id, label, the TERMS and `logit`, their sum."""
    tables = []
    for split, ids, terms in parts:
        n, c, _ = terms.shape
        flat = terms.reshape(n * c, len(TERMS))
        columns = {
            "split": pa.array([split] * (n * c)).dictionary_encode(),
            "id": pa.array(np.repeat(np.asarray(ids, object), c), pa.string()),
            "label": pa.array(list(names) * n).dictionary_encode(),
        }
        columns |= dict(zip(TERMS, map(pa.array, flat.T), strict=True)) | {"logit": pa.array(flat.sum(1))}
        tables.append(pa.table(columns))
    write_with(path, lambda partial: pq.write_table(pa.concat_tables(tables).unify_dictionaries(), partial))


def read_contributions(path: Path) -> list[SplitTerms]:
    """The parts as written."""
    whole = pq.read_table(path)
    parts = []
    for split in pc.unique(whole["split"]).to_pylist():
        table = whole.filter(pc.equal(whole["split"], split))
        c = len(pc.unique(table["label"]))
        parts.append((split, table["id"].to_pylist()[::c], _terms(table).reshape(-1, c, len(TERMS))))
    return parts


def read_image_terms(path: Path, split: str, image: str) -> np.ndarray:
    """(c, 5) terms of one image; raises ValueError where the file has none."""
    table = pq.read_table(path, filters=[("split", "==", split), ("id", "==", image)])
    if not len(table):
        raise ValueError(f"{path}: no row for {image!r} of {split!r}; run make stack")
    return _terms(table)


def _terms(table: pa.Table) -> np.ndarray:
    return np.column_stack([table[term].to_numpy() for term in TERMS])


def modality_shares(names: Sequence[str], terms: np.ndarray) -> dict[str, dict[str, float]]:
    """Shares of image, caption and fusion in the mean absolute terms (n, c, 5) of each label.

    >>> modality_shares(["cat"], np.array([[[3.0, -1.0, 0.0, 0.0, 9.0]]]))
    {'cat': {'image': 0.75, 'caption': 0.25, 'fusion': 0.0}}
    """
    sizes = np.abs(terms[:, :, :3]).mean(0)
    sizes = sizes / np.maximum(sizes.sum(1, keepdims=True), 1e-9)
    return {name: dict(zip(TERMS, row, strict=False)) for name, row in zip(names, sizes.tolist(), strict=True)}

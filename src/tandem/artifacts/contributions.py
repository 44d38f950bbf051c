"""What moved a prediction: each logit as a sum of terms, one row an image and label."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tandem.artifacts.atomic_io import write_with

# models that see the image, the caption, both; the row's other labels and its caption's length; what every row gets
TERMS = ("image", "caption", "fusion", "context", "base")

# what a model is given: a network that joins photo and caption can do without one of them
BOTH, NO_CAPTION, NO_IMAGE = "both", "no_caption", "no_image"

Part = tuple[str, Sequence[str], np.ndarray]  # split, ids (n,), terms (n, c, 5)


def term_of(sees: set[str]) -> str:
    """Which of TERMS a model's logit belongs to, by what it sees.

    >>> term_of({"image"}), term_of({"image", "caption"})
    ('image', 'fusion')
    """
    return "fusion" if len(sees) > 1 else next(iter(sees))


def gathered(parts: np.ndarray, seen: Sequence[set[str]]) -> np.ndarray:
    """(n, c, 5) of TERMS from a stack's (n, c, m + 2): each member's by what it sees, context, base."""
    out = np.zeros((*parts.shape[:2], len(TERMS)), np.float32)
    for i, sees in enumerate(seen):
        out[:, :, TERMS.index(term_of(sees))] += parts[:, :, i]
    out[:, :, TERMS.index("context")] += parts[:, :, -2]
    out[:, :, TERMS.index("base")] += parts[:, :, -1]
    return out


def write_contributions(path: Path, names: Sequence[str], parts: Sequence[Part]) -> None:
    """Columns split, id, label, the TERMS and `logit`, which is their sum."""
    tables = []
    for split, ids, terms in parts:
        n, c, _ = terms.shape
        flat = terms.reshape(n * c, len(TERMS))
        columns = {
            "split": pa.array([split] * (n * c)).dictionary_encode(),
            "id": pa.array(np.repeat(np.asarray(ids, object), c), pa.string()),
            "label": pa.array(list(names) * n).dictionary_encode(),
        }
        columns |= {term: pa.array(flat[:, i]) for i, term in enumerate(TERMS)}
        columns["logit"] = pa.array(flat.sum(1))
        tables.append(pa.table(columns))
    table = pa.concat_tables(tables).unify_dictionaries()
    write_with(path, lambda partial: pq.write_table(table, partial))


def read_contributions(path: Path) -> list[Part]:
    """The parts, as they were written."""
    whole = pq.read_table(path)
    parts = []
    for split in pc.unique(whole["split"]).to_pylist():
        table = whole.filter(pc.equal(whole["split"], split))
        ids = table["id"].to_pylist()
        c = len(set(table["label"].to_pylist()))
        terms = np.column_stack([table[term].to_numpy() for term in TERMS])
        parts.append((split, ids[::c], terms.reshape(-1, c, len(TERMS))))
    return parts


def read_terms_of(path: Path, split: str, image: str) -> np.ndarray:
    """(c, 5) of one image; raises ValueError where it has none."""
    table = pq.read_table(path, filters=[("split", "==", split), ("id", "==", image)])
    if not len(table):
        raise ValueError(f"{path}: nothing about {image!r} of {split!r}; run make stack")
    return np.column_stack([table[term].to_numpy() for term in TERMS])


def shares(names: Sequence[str], terms: np.ndarray) -> dict[str, dict[str, float]]:
    """How much of what moves each label is seen, is read, and needs both: shares of the mean absolute terms (n, c, 5).

    >>> shares(["cat"], np.array([[[3.0, -1.0, 0.0, 0.0, 9.0]]]))
    {'cat': {'image': 0.75, 'caption': 0.25, 'fusion': 0.0}}
    """
    sizes = np.abs(terms[:, :, :3]).mean(0)
    sizes = sizes / np.maximum(sizes.sum(1, keepdims=True), 1e-9)
    return {
        name: dict(zip(TERMS, row, strict=False)) for name, row in zip(names, sizes.tolist(), strict=True)
    }

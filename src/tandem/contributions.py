"""What moved a prediction: each logit as a sum of terms, one row an image and label."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tandem.files import write_with

# models that see the image, the caption, both; the row's other labels and its caption's length; what every row gets
TERMS = ("image", "caption", "fusion", "context", "base")

Part = tuple[str, Sequence[str], np.ndarray]  # split, ids (n,), terms (n, c, 5)


def term_of(sees: set[str]) -> str:
    """Which of TERMS a model's logit belongs to, by what it sees.

    >>> term_of({"image"}), term_of({"image", "caption"})
    ('image', 'fusion')
    """
    return "fusion" if len(sees) > 1 else next(iter(sees))


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


def read_contributions(path: Path, split: str) -> Part:
    """The part of one split, as it was written."""
    table = pq.read_table(path, filters=[("split", "=", split)])
    ids = table["id"].to_pylist()
    c = len(set(table["label"].to_pylist()))
    terms = np.column_stack([table[term].to_numpy() for term in TERMS])
    return split, ids[::c], terms.reshape(-1, c, len(TERMS))

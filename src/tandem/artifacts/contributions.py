"""Contributions: each logit as a sum of terms, one row for each image and label."""

from collections.abc import Iterator, Sequence, Set
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tandem.artifacts.atomic_io import write_with
from tandem.artifacts.column_names import PARQUET, parquet_batches, read_parquet
from tandem.artifacts.whole_files import reading

# the image alone; the caption alone; only their combination; models that can't be split; the row's other labels and its
# caption length; the intercept; tandem.artifacts.vocabulary has the names that people read
TERMS = ("image", "caption", "fusion", "joint", "context", "base")
MODALITIES = TERMS[:4]  # those that models have as input
JOINT = "joint"
CELLS = 2**18  # rows of a file that are read at once, one for each image and label

# input of a model: a fusion network can predict without one of the two
BOTH, NO_CAPTION, NO_IMAGE = "both", "no_caption", "no_image"
NO_EXTERNAL = "no_external"  # the stack of the members that label new images, where others don't

SplitTerms = tuple[str, Sequence[str], np.ndarray]  # split, ids (n,), terms (n, c, 6)


def term_of(modalities: Set[str]) -> str:
    """The one of TERMS that the logit of a model without terms of its own belongs to, by its input modalities.

    >>> term_of({"image"}), term_of({"image", "caption"})
    ('image', 'joint')
    """
    (only, *others) = sorted(modalities) or [JOINT]
    return JOINT if others or only not in TERMS[:2] else only


def write_contributions(path: Path, names: Sequence[str], parts: Sequence[SplitTerms]) -> None:
    """Writes columns split, id, label, the TERMS and `logit`, their sum; in row groups of at most CELLS rows."""
    write_with(path, lambda partial: _write_tables(partial, _tables(names, parts)))


def replace_contributions(path: Path, names: Sequence[str], part: SplitTerms) -> None:
    """Writes the file again with this part in place of the one of the same split, or after the others."""

    def tables() -> Iterator[pa.Table]:
        for batch in parquet_batches(path, CELLS):
            table = pa.Table.from_batches([batch])
            table = table.filter(pc.not_equal(table["split"], part[0]))
            if len(table):
                yield table
        yield from _tables(names, [part])

    write_with(path, lambda partial: _write_tables(partial, tables()))


def _write_tables(path: Path, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with pq.ParquetWriter(path, first.schema) as writer:
        for table in chain([first], tables):
            writer.write_table(table.cast(first.schema))


def _tables(names: Sequence[str], parts: Sequence[SplitTerms]) -> Iterator[pa.Table]:
    """Tables of at most CELLS rows, one at least."""
    for split, ids, terms in parts:
        n, c, _ = terms.shape
        step = max(1, CELLS // c)
        for start in range(0, max(n, 1), step):
            some = np.asarray(ids[start : start + step], object)
            flat = terms[start : start + step].reshape(-1, len(TERMS))
            columns = {
                "split": pa.array([split] * len(flat), pa.string()).dictionary_encode(),
                "id": pa.array(np.repeat(some, c), pa.string()),
                "label": pa.array(list(names) * len(some), pa.string()).dictionary_encode(),
            }
            yield pa.table(columns | dict(zip(TERMS, map(pa.array, flat.T), strict=True)) | {"logit": flat.sum(1)})


def read_contributions(path: Path) -> list[SplitTerms]:
    """The parts as written."""
    splits = read_parquet(path, ["split", "label"])
    parts: list[SplitTerms] = []
    for split in pc.unique(splits["split"]).to_pylist():
        c = len(pc.unique(splits["label"].filter(pc.equal(splits["split"], split))))
        batches = list(stream_contributions(path, split, c))
        ids = [id for some, _ in batches for id in some]
        parts.append((split, ids, np.concatenate([terms for _, terms in batches])))
    return parts


def splits_in(path: Path) -> set[str]:
    """The splits that a file of contributions has; empty where there is no file."""
    return set(pc.unique(read_parquet(path, ["split"])["split"]).to_pylist()) if path.exists() else set()


def stream_contributions(path: Path, split: str, n_labels: int) -> Iterator[tuple[list[str], np.ndarray]]:
    """(ids (b,), terms (b, c, 6)) of one split, some rows at a time, so that the whole never is in memory."""
    rest: pa.Table | None = None
    for batch in parquet_batches(path, CELLS):
        table = pa.Table.from_batches([batch])
        table = table.filter(pc.equal(table["split"], split))
        table = table if rest is None else pa.concat_tables([rest, table])
        whole = len(table) // n_labels * n_labels
        if whole:
            ids = table["id"].take(pa.array(np.arange(0, whole, n_labels)))
            yield ids.to_pylist(), _terms(table.slice(0, whole)).reshape(-1, n_labels, len(TERMS))
        rest = table.slice(whole)


def read_image_terms(path: Path, split: str, image: str) -> np.ndarray:
    """(c, 6) terms of one image; raises ValueError where the file has none."""
    with reading(path, PARQUET):
        table = pq.read_table(path, filters=[("split", "==", split), ("id", "==", image)])
    if not len(table):
        raise ValueError(f"{path}: no row for {image!r} of {split!r}; run make stack")
    return _terms(table)


def _terms(table: pa.Table) -> np.ndarray:
    """A term that the file lacks is 0: files of older versions have no `joint`."""
    none = np.zeros(len(table), np.float32)
    return np.column_stack([table[term].to_numpy() if term in table.column_names else none for term in TERMS])


def modality_shares(names: Sequence[str], terms: np.ndarray) -> dict[str, dict[str, float]]:
    """Shares of image, caption, their combination, and joint models where there are any, in the mean absolute terms
    (n, c, 6) of each label.

    >>> modality_shares(["cat"], np.array([[[3.0, -1.0, 0.0, 0.0, 5.0, 9.0]]]))
    {'cat': {'image': 0.75, 'caption': 0.25, 'fusion': 0.0}}
    """
    sizes = np.abs(terms[:, :, : len(MODALITIES)]).mean(0)
    shown = MODALITIES if sizes[:, -1].any() else MODALITIES[:-1]
    sizes = sizes / np.maximum(sizes.sum(1, keepdims=True), 1e-9)
    return {name: dict(zip(shown, row, strict=False)) for name, row in zip(names, sizes.tolist(), strict=True)}

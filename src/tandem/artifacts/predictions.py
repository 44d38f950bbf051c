"""Predictions: probabilities with their ids, label names and provenance, in one parquet file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tandem.artifacts.atomic_io import write_with
from tandem.artifacts.column_names import own_column, read_parquet
from tandem.artifacts.rows_by_id import rows_by_id
from tandem.artifacts.whole_files import reading

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Predictions:
    """Probabilities for some images."""

    ids: Sequence[str]  # (n,) of the images, unique
    names: tuple[str, ...]  # (c,) of the labels: the columns of `proba`
    proba: np.ndarray  # (n, c) f4 in [0, 1]
    provenance: dict[str, Any] = field(default_factory=dict)  # digests of the fold map and of all inputs, and more

    def __post_init__(self) -> None:
        if self.proba.shape != (len(self.ids), len(self.names)):
            shape = "x".join(map(str, self.proba.shape))
            raise ValueError(f"proba is {shape} but there are {len(self.ids)} ids and {len(self.names)} labels")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError(f"ids are repeated: {len(self.ids)} ids, {len(set(self.ids))} of them distinct")
        low, high = (self.proba.min(), self.proba.max()) if self.proba.size else (0, 0)
        if not (low >= 0 and high <= 1):
            raise ValueError(f"probabilities are from {low} to {high}; expected [0, 1]")

    def aligned_to(self, ids: Sequence[str]) -> np.ndarray:
        """`proba` in the order of `ids`; raises ValueError where one has no prediction."""
        return rows_by_id(self.proba, self.ids, ids, "prediction")

    def to_pandas(self) -> "pd.DataFrame":
        """Index `id` (`id_` where a label is called id); one column per label."""
        import pandas as pd

        index = pd.Index(self.ids, name=own_column("id", self.names))
        return pd.DataFrame(self.proba, index=index, columns=list(self.names))

    def write(self, path: Path) -> None:
        proba = self.proba.astype(np.float32)
        columns = [pa.array(list(self.ids), pa.string()), *(pa.array(column) for column in proba.T)]
        table = pa.Table.from_arrays(columns, names=[own_column("id", self.names), *self.names])
        table = table.replace_schema_metadata({"tandem": json.dumps(self.provenance, sort_keys=True)})
        write_with(path, lambda partial: pq.write_table(table, partial))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises ValueError where the file has another format."""
        table = read_parquet(path)
        names = tuple(table.column_names[1:])
        if not names or table.column_names[0] != own_column("id", names):
            raise ValueError(f"{path}: columns are {table.column_names[:3]}...; expected id, then one per label")
        with reading(path, "a table of probabilities"):
            proba = np.column_stack([table.column(j).to_numpy() for j in range(1, table.num_columns)])
        return cls(table.column(0).to_pylist(), names, proba, read_provenance(path))


def read_provenance(path: Path) -> dict[str, Any]:
    """The provenance without the probabilities; empty where the file is missing or has another format."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        return json.loads(metadata.get(b"tandem", b"{}"))
    except PermissionError:
        raise
    except (OSError, ValueError, RecursionError, pa.ArrowException):  # the kinds of damage differ
        return {}


def check_same_origin(members: dict[str, Predictions]) -> None:
    """Raises ValueError unless all members share competition, rows, label order and fold map."""
    (first, reference), *rest = members.items()
    for name, member in rest:
        both, again = f"{name} and {first}", "run make train again for both"
        if member.names != reference.names:
            names = f"{member.names[:3]}... and {reference.names[:3]}..."
            raise ValueError(f"{both} differ in label names or order: {names}")
        if member.provenance.get("folds") != reference.provenance.get("folds"):
            raise ValueError(f"{both} were trained on different fold maps; {again}")
        if member.provenance.get("competition") != reference.provenance.get("competition"):
            raise ValueError(f"{both} belong to different competitions; {again}")
        if different := set(member.ids) ^ set(reference.ids):
            raise ValueError(f"{both} have different rows, first: {min(different)}; {again}")

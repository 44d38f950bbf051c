"""Digests of what comes from outside the graph: tables, folds, weights, and the precision of this machine."""

import os
import platform
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq

from tandem.artifacts.atomic_io import digest, write_json
from tandem.artifacts.digest_cache import DigestCache
from tandem.artifacts.made_files import MadeFiles
from tandem.artifacts.paths import Paths
from tandem.artifacts.whole_files import reading
from tandem.data.check_competition import content_digest
from tandem.data.folds import fold_map_digest, read_fold_map
from tandem.graph.keys import NONE, read_record


def joined(folds: Iterable[int]) -> str:
    """The fold numbers as text, to be kept like a digest.

    >>> joined([1, 0, 1])
    '0 1'
    """
    return " ".join(map(str, sorted(set(folds))))


class Sources:
    """Digests of one competition.

    A file is read again only where its size or time stamp changed. `assumed` stands for what is not written yet, under
    the same names, such as "train.images" and "fold map".
    """

    def __init__(self, paths: Paths, assumed: Mapping[str, str] | None = None) -> None:
        self.paths, self.assumed = paths, dict(assumed or {})
        self.cache = DigestCache(paths.digests)
        self.made = MadeFiles(paths)

    def file(self, file: Path) -> str:
        """Digest of the content; "none" where there is no such file."""
        return self.cache.digest_of(file) if file.is_file() else NONE

    def table(self, name: str) -> str:
        """Digest of a checked table's content, such as "train.captions"; "none" where there is none."""
        return self._value(name, self.paths.build / f"{name}.parquet", "content", content_digest)

    @property
    def fold_map(self) -> str:
        """Digest of the ids and their folds; "none" where there are no folds."""
        return self._value("fold map", self.paths.folds, "fold map", lambda f: fold_map_digest(*read_fold_map(f)[:2]))

    @property
    def groups(self) -> str:
        """Digest of the groups of near-duplicates, in the order of the rows; "none" where there are no folds."""
        return self._value("groups", self.paths.folds, "groups", lambda f: digest(read_fold_map(f)[2]))

    @property
    def fold_numbers(self) -> tuple[int, ...]:
        """The numbers of the folds; empty where there are no folds."""
        numbers = self._value("fold numbers", self.paths.folds, "fold numbers", lambda f: joined(read_fold_map(f)[1]))
        return () if numbers == NONE else tuple(map(int, numbers.split()))

    @property
    def labelled_rows(self) -> int:
        """Number of training rows with labels; 0 where nothing is checked yet."""
        found = self._value("labelled rows", self.paths.labels, "rows", _number_of_rows)
        return 0 if found == NONE else int(found)

    def _value(self, name: str, file: Path, kept: str, compute: Callable[[Path], str]) -> str:
        if self.assumed:
            return self.assumed.get(name, NONE)
        if self.made.is_changed(file):  # it is made again, most often with the same content
            return self.cache.last(file, kept) or NONE
        return self.cache.value(file, kept, lambda: compute(file)) if file.is_file() else NONE

    @cached_property
    def precision(self) -> dict[str, str]:
        """Number format of frozen image and caption networks on this machine; found by torch once, kept in a file."""
        machine = _machine()
        known = read_record(self.paths.precision)
        if known.get("key") == machine:
            return known["precision"]
        from tandem.runtime.torch_setup import device, low_precision

        kind = device("auto").type  # not the chosen one: features stay current whatever DEVICE= says
        image = str(low_precision(kind) or "float32").removeprefix("torch.")
        found = {"image": image, "caption": image if kind == "cuda" else "float32"}
        write_json(self.paths.precision, {"key": machine, "precision": found})
        return found


def _number_of_rows(table: Path) -> str:
    with reading(table, "a parquet file"):
        return str(pq.read_metadata(table).num_rows)


def _machine() -> str:
    """Names this machine's processors and torch, without loading torch."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    gpus = sorted(p.name for p in Path("/proc/driver/nvidia/gpus").glob("*"))
    parts = [version("torch"), platform.machine(), platform.system(), flags, gpus]
    return digest([*parts, os.environ.get("CUDA_VISIBLE_DEVICES", "")])

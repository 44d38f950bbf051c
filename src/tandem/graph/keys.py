"""Content keys: one digest of everything that an artifact depends on, and why two of them differ."""

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tandem.artifacts.atomic_io import digest, read_json, write_json
from tandem.artifacts.digest_cache import DigestCache
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import read_provenance
from tandem.data.check_competition import content_digest
from tandem.data.folds import fold_map_digest, read_fold_map

NEW = "not made yet"  # the reason of what has no record
NONE = "none"  # the digest of what does not exist
SHOWN = 3  # differences that a reason names


@dataclass(frozen=True)
class Artifact:
    """Files that are made in one go, and what they depend on.

    name    as a plan names it, such as "concat fold 2"
    files   all of them must exist
    record  the file that holds `key` and `inputs` of what was made: JSON, or the metadata of a parquet file
    inputs  a setting or a digest for everything that the result depends on
    """

    name: str
    files: tuple[Path, ...]
    record: Path
    inputs: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        return digest(self.inputs)

    @property
    def made_from(self) -> dict[str, Any]:
        """The fields that its record must hold."""
        return {"key": self.key, "inputs": dict(self.inputs)}

    def stale_reason(self) -> str:
        """Why it must be made again; "" where it is current."""
        recorded = read_record(self.record)
        if not recorded:
            return NEW
        if recorded["key"] != self.key:
            return reason(recorded.get("inputs", {}), self.inputs)
        missing = next((file for file in self.files if not file.exists()), None)
        return f"{missing} is missing" if missing else ""


def read_record(file: Path) -> dict[str, Any]:
    """The JSON object, or the metadata of a parquet file; empty where it is absent, damaged or holds no key."""
    if file.suffix == ".parquet":
        found = read_provenance(file)
    else:
        try:
            found = read_json(file)
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
            return {}
    return found if isinstance(found, dict) and "key" in found else {}


def reason(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first differences in words.

    >>> reason({"configs/a.toml": {"lr": 1}, "labels": "4f"}, {"configs/a.toml": {"lr": 2}, "labels": "5e"})
    'configs/a.toml lr 1 -> 2; labels changed'
    """
    found = list(differences(before, now))
    more = f"; {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(found[:SHOWN]) + more or "made by another version"


def differences(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """Each value that differs, section by section."""
    for name in dict.fromkeys([*now, *before]):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{within}{name}" + ("." if within else " "))
        elif within or name.endswith("version"):
            yield f"{within}{name} {_shown(old)} -> {_shown(new)}"
        elif name not in before:
            yield f"{name} is new"
        else:
            yield f"{name} changed" if name in now else f"{name} is no longer used"


def _shown(value: object) -> str:
    return "none" if value is None else str(value) if isinstance(value, int | float) else f"{value!r:.40}"


class Sources:
    """Digests of what comes from outside the graph: tables, folds, weights, and the precision of this machine.

    A file is read again only where its size or time stamp changed. `assumed` stands for what is not written yet, under
    the same names, such as "train.images" and "fold map".
    """

    def __init__(self, paths: Paths, assumed: Mapping[str, str] | None = None) -> None:
        self.paths, self.assumed = paths, dict(assumed or {})
        self.cache = DigestCache(paths.digests)

    def file(self, file: Path) -> str:
        """Of the content; "none" where there is no such file."""
        return self.cache.digest_of(file) if file.is_file() else NONE

    def table(self, name: str) -> str:
        """Of a checked table's content, such as "train.captions"; "none" where there is none."""
        return self._value(name, self.paths.build / f"{name}.parquet", "content", content_digest)

    @property
    def fold_map(self) -> str:
        """Of the ids and their folds; "none" where there are no folds."""
        return self._value("fold map", self.paths.folds, "fold map", lambda f: fold_map_digest(*read_fold_map(f)))

    @property
    def fold_numbers(self) -> tuple[int, ...]:
        """The folds that there are; empty where there are none."""
        found = self._value("fold numbers", self.paths.folds, "fold numbers", _numbers)
        return () if found == NONE else tuple(map(int, found.split()))

    @property
    def labelled_rows(self) -> int:
        """Number of training rows with labels; 0 where nothing is checked yet."""
        found = self._value("labelled rows", self.paths.labels, "rows", lambda f: str(pq.read_metadata(f).num_rows))
        return 0 if found == NONE else int(found)

    def _value(self, name: str, file: Path, kept: str, compute: Callable[[Path], str]) -> str:
        if self.assumed:
            return self.assumed.get(name, NONE)
        return self.cache.value(file, kept, lambda: compute(file)) if file.is_file() else NONE

    @cached_property
    def precision(self) -> dict[str, str]:
        """In what frozen image and caption networks are computed here; torch is asked once a machine."""
        machine = _machine()
        known = read_record(self.paths.precision)
        if known.get("key") == machine:
            return known["precision"]
        from tandem.runtime.torch_setup import device, has_bfloat16

        kind = device().type
        image = "bfloat16" if has_bfloat16(kind) else "float32"
        found = {"image": image, "caption": image if kind == "cuda" else "float32"}
        write_json(self.paths.precision, {"key": machine, "precision": found})
        return found


def _numbers(folds: Path) -> str:
    return " ".join(map(str, sorted(set(read_fold_map(folds)[1]))))


def _machine() -> str:
    """Names this machine's processors and torch, without loading torch."""
    info = Path("/proc/cpuinfo")
    flags = next((line for line in _lines(info) if line.startswith(("flags", "Features"))), "")
    gpus = sorted(p.name for p in Path("/proc/driver/nvidia/gpus").glob("*"))
    parts = [version("torch"), platform.machine(), platform.system(), flags, gpus]
    return digest([*parts, os.environ.get("CUDA_VISIBLE_DEVICES", "")])


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []

"""Content keys: one digest of everything that an artifact depends on, and why two of them differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tandem.artifacts.atomic_io import digest, file_digest, read_json
from tandem.artifacts.whole_files import DamagedFile
from tandem.config import method_versions as version
from tandem.config.competition import Competition
from tandem.config.metric_names import OWN

NEW = "not made yet"  # the reason of what has no record
NONE = "none"  # the digest of what does not exist
STACK = "stack"
OUT_OF_FOLD = "out of fold"  # ends the name of the artifact of held-out predictions
DECODER_SETTINGS = {"metric", "metric_input", "beta", "zero_division", "least", "most", "decoder"}
SHOWN = 3  # differences that a reason names


@dataclass(frozen=True)
class Artifact:
    """Files that are made in one go, and what they depend on.

    name    as a plan names it, such as "concat fold 2"
    files   all of them must exist
    record  the file that holds `key` and `inputs` of what was made: JSON, or the metadata of a parquet file
    inputs  a setting or a digest for everything that the result depends on
    folder  where further files belong to it
    """

    name: str
    files: tuple[Path, ...]
    record: Path
    inputs: Mapping[str, Any]
    folder: Path | None = None

    @cached_property
    def key(self) -> str:
        return digest(self.inputs)

    @property
    def made_from(self) -> dict[str, Any]:
        """The fields that its record must hold."""
        return {"key": self.key, "inputs": dict(self.inputs)}

    @property
    def every_file(self) -> list[Path]:
        """All files that belong to it and exist."""
        more = sorted(self.folder.rglob("*")) if self.folder else []
        return [file for file in dict.fromkeys((*self.files, self.record, *more)) if file.is_file()]

    def invalidate(self) -> None:
        """Removes the record: the artifact is stale from the first file that is replaced until all are."""
        self.record.unlink(missing_ok=True)

    @property
    def is_removed(self) -> bool:
        """Of a stale one: it was made from these inputs, and a file is missing since."""
        return read_record(self.record).get("key") == self.key

    def stale_reason(self) -> str:
        """Why it must be made again; "" where it is current."""
        recorded = read_record(self.record)
        if not recorded:
            return NEW
        if recorded["key"] != self.key:
            return reason(recorded.get("inputs", {}), self.inputs)
        for file in self.files:
            if not file.exists():
                return f"{file} is missing"
            if not file.stat().st_size:  # none is written without content
                return f"{file} is empty"
        return ""


def model_name(fold: int, seed: int = 0) -> str:
    """The name of a fold's model among the inputs of other artifacts; `seed` is the number of the seed.

    >>> model_name(2), model_name(2, 1)
    ('fold 2', 'fold 2 seed 1')
    """
    return f"fold {fold} seed {seed}" if seed else f"fold {fold}"


def features_of(slug: str, split: str) -> str:
    """The name of features among the inputs of what reads them."""
    return f"features of {slug}, {split}"


def read_record(file: Path) -> dict[str, Any]:
    """The JSON object, or the metadata of a parquet file; empty where it is absent, damaged or holds no key."""
    if file.suffix == ".parquet":
        from tandem.artifacts.predictions import read_provenance  # pyarrow takes a quarter of a second

        found = read_provenance(file)
    else:
        try:
            found = read_json(file)
        except (FileNotFoundError, DamagedFile):
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


def decoder_settings(competition: Competition, folder: Path | None = None) -> dict[str, Any]:
    """The settings that a decoder depends on, as inputs, and the digest of the file of a metric FILE.py:FUNCTION."""
    rule = competition.model_dump(mode="json", include=DECODER_SETTINGS)
    inputs = {"competition.toml": rule, "decoder version": version.DECODER}
    if folder is not None and (own := OWN.fullmatch(competition.metric)):
        file = folder / own[1]
        inputs[own[1]] = file_digest(file) if file.is_file() else NONE
    return inputs

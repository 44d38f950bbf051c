"""Packs an ensemble in as few bits as its score allows: int8, else float16, else float32."""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tandem.artifacts.atomic_io import write_with
from tandem.bundling.bundle_writer import write_bundle, write_zip
from tandem.bundling.rounding import RoundingCheck
from tandem.config.trusted_code import code_digest
from tandem.graph.experiment_dir import ExperimentDir
from tandem.inference.bundle_reader import code_of, open_bundle
from tandem.inference.labeler import Labeler

BITS = {8: "captions in int8, images in float16", 16: "float16", 32: "float32"}  # of the pretrained weights


@dataclass(frozen=True)
class Packed:
    """A bundle that was opened and labels as its source."""

    manifest: dict[str, Any]
    lines: list[str]  # what rounding cost in each number of bits that was tried


class TooLarge(ValueError):
    """With the bits that the score needs, the zip is larger than the budget."""


def pack(
    trained: ExperimentDir,
    folds: int,
    work: Path,
    target: Path,
    fallback: ExperimentDir | None = None,
    chosen_from: int = 1,
    budget_mb: float = float("inf"),
) -> Packed:
    """Writes the zip `target` by way of the new folder `work`, with more bits where rounding lowers the score by more
    than a small share of its standard error. Raises TooLarge, or ValueError where the score falls without rounding
    too."""
    check, lines = RoundingCheck(Labeler.of(trained.paths, trained.name, folds), trained.paths), list[str]()
    for bits, name in BITS.items():
        root, written = work / f"bits{bits}", work / "bundle.zip"
        manifest = write_bundle(trained, folds, root, fallback, chosen_from, bits)
        write_zip(root, written)
        mb = written.stat().st_size / 2**20
        if mb > budget_mb and bits > min(BITS):  # its cost was measured in the fewest bits
            raise TooLarge("\n".join([*lines, f"in {name} it has {mb:.1f} MB, more than {budget_mb:g}"]))
        found = check.measure(as_opened(root, manifest))
        lines.append(f"rounding ({name}): {found.text}")
        if not found.matters:
            write_with(target, partial(shutil.copyfile, written))
            return Packed(manifest, lines)
    raise ValueError("\n".join([f"the bundle of {trained.name} scores less than its source, in any precision", *lines]))


def as_opened(root: Path, manifest: dict[str, Any]) -> Labeler:
    """The bundle as another machine opens it."""
    code = code_of(manifest)
    return Labeler.of(*open_bundle(root, code_digest(code) if code else ""))

"""Which images are in the training set: by the bytes of the file, or by the pixels where it was saved again."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

from tandem.artifacts.atomic_io import file_digest
from tandem.artifacts.column_names import parquet_batches
from tandem.artifacts.paths import Paths, bundle_manifest
from tandem.data.folds import read_fold_map
from tandem.data.image_io import BadImage, load_rgb
from tandem.data.thumbnails import SIDE

EVERY = -1  # fold of a row that every fold is trained on: an extra row


@dataclass(frozen=True)
class Match:
    """A training photo that an image is the same as."""

    id: str  # "" in a bundle
    fold: int | None  # that holds out all rows with it; None: every fold was trained on one of these
    by: str  # what is the same


@dataclass
class TrainingPhotos:
    """Digests of the training photos, by row: the extra rows come last."""

    files: Sequence[str]  # 16 hex digits of the SHA-256 of the file
    pixels: Sequence[str]  # of its size and grey thumbnail
    folds: Sequence[int]
    ids: Sequence[str] = ()  # none in a bundle
    images: Sequence[Path] = ()  # to compare the pixels; none in a bundle
    _rows: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # by either digest

    def __post_init__(self) -> None:
        for row, names in enumerate(zip(self.files, self.pixels, strict=True)):
            for name in names:
                self._rows[name].append(row)

    @classmethod
    def of(cls, paths: Paths) -> "TrainingPhotos":
        """Of a checkout or a bundle; empty where nothing is known of the training photos."""
        if bundle_manifest(paths.root).is_file():
            file = paths.training_photos
            if not file.is_file():  # of an older version
                return cls([], [], [])
            found = load_file(file)
            return cls(_texts(found["files"]), _texts(found["pixels"]), found["folds"].tolist())
        fold = _fold_map(paths)
        columns: tuple[list, ...] = ([], [], [], [], [])
        for split in ("train", "extra") if fold else ():
            if not (file := paths.images(split)).is_file():
                continue
            wanted = ["id", "file", "width", "height", "sha", "hash"]
            for batch in parquet_batches(file, 4096, wanted):
                for id, name, width, height, sha, thumbnail in zip(*batch.to_pydict().values(), strict=True):
                    row = (sha, _pixels(width, height, thumbnail), fold.get(id, EVERY) if split == "train" else EVERY)
                    for column, value in zip(columns, (*row, id, paths.input / name), strict=True):
                        column.append(value)
        return cls(columns[0], columns[1], columns[2], columns[3], columns[4])

    def find(self, source: object, image: Image.Image) -> Match | None:
        """The match of a file (or of what else `source` is) whose decoded pixels are `image`; None where it is new."""
        if not self.files:
            return None
        if isinstance(source, Path):
            digest = file_digest(source)
            if rows := [row for row in self._rows.get(digest, ()) if self.files[row] == digest]:
                return self._match(rows, "the same file")
        grey = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR).tobytes()
        digest = _pixels(*image.size, grey)
        rows = [row for row in self._rows.get(digest, ()) if self.pixels[row] == digest]
        if self.images:
            rows = [row for row in rows if _same_pixels(self.images[row], image)]
        by = "the same pixels" if self.images else f"the same size and thumbnail of {SIDE} x {SIDE}"
        return self._match(rows, by) if rows else None

    def _match(self, rows: Sequence[int], by: str) -> Match:
        # an extra row that is like a row of a fold is not trained on in this fold
        folds = {self.folds[row] for row in rows} - {EVERY}
        return Match(self.ids[rows[0]] if self.ids else "", folds.pop() if len(folds) == 1 else None, by)

    def write(self, file: Path) -> None:
        """The digests and folds, for a bundle."""
        digests = {"files": _bytes(self.files), "pixels": _bytes(self.pixels)}
        save_file(digests | {"folds": np.array(self.folds, np.int32)}, file)


def _bytes(digests: Sequence[str]) -> np.ndarray:
    """(n, 16) uint8: the digits of each."""
    return np.frombuffer(b"".join(f"{digest:<16.16}".encode() for digest in digests), np.uint8).reshape(-1, 16)


def _texts(digits: np.ndarray) -> list[str]:
    return [row.tobytes().decode() for row in digits]


def _fold_map(paths: Paths) -> dict[str, int]:
    """{id: fold}; empty where there is no fold map."""
    if not paths.folds.is_file():
        return {}
    ids, folds, _ = read_fold_map(paths.folds)
    return dict(zip(ids, folds, strict=True))


def _pixels(width: int, height: int, thumbnail: bytes) -> str:
    """16 hex digits of an image's size and grey thumbnail, the first part of its `perceptual_hash`."""
    return hashlib.sha256(b"%d %d " % (width, height) + thumbnail[: SIDE**2]).hexdigest()[:16]


def _same_pixels(file: Path, image: Image.Image) -> bool:
    try:
        return np.array_equal(np.asarray(load_rgb(file)), np.asarray(image))
    except BadImage:
        return False

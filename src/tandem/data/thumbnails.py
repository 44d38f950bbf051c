"""Small versions of images that near-duplicates are found by, and the lowest frequencies of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import SupportsBytes

import numpy as np
from PIL import Image

SIDE = 64  # pixels of the grey version
COLOURS = 8  # of the two colour channels
HASH_BYTES = SIDE**2 + 2 * COLOURS**2  # grey, then the channels Cb and Cr
FREQUENCIES = 9  # of each axis
PART = 0.91  # of each side in the centre of an image: about what a crop of 3 % to 6 % a side leaves
AT_ONCE = 4096  # images
# of each frequency, as in photos amplitude falls with frequency
WEIGHTS = np.add.outer(range(FREQUENCIES), range(FREQUENCIES)).astype(np.float32)
WEIGHTS[WEIGHTS > FREQUENCIES] = 0
Hash = SupportsBytes  # HASH_BYTES of them


def perceptual_hash(image: Image.Image) -> bytes:
    """Thumbnail of an RGB image: nearly the same after re-encoding and resizing."""
    grey = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    small = image.resize((COLOURS, COLOURS), Image.Resampling.BILINEAR).convert("YCbCr")
    return grey.tobytes() + small.getchannel("Cb").tobytes() + small.getchannel("Cr").tobytes()


def as_arrays(hashes: Sequence[Hash]) -> tuple[np.ndarray, np.ndarray]:
    """(grey (n, SIDE, SIDE), colour (n, 2, COLOURS, COLOURS)), both uint8."""
    read = list(map(bytes, hashes))
    if wrong := {len(h) for h in read} - {HASH_BYTES}:
        raise ValueError(f"a perceptual hash has {wrong.pop()} bytes, expected {HASH_BYTES}")
    values = np.frombuffer(b"".join(read), np.uint8).reshape(-1, HASH_BYTES)
    return values[:, : SIDE**2].reshape(-1, SIDE, SIDE), values[:, SIDE**2 :].reshape(-1, 2, COLOURS, COLOURS)


@dataclass(frozen=True)
class Thumbnails:
    """Perceptual hashes, read only where they are asked for: of a million images they take 4 GB."""

    hashes: Sequence[Hash]

    def __len__(self) -> int:
        return len(self.hashes)

    def take(self, rows: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        """`as_arrays` of some rows."""
        return as_arrays([self.hashes[i] for i in rows])


@cache
def _basis(part: float) -> np.ndarray:
    """(FREQUENCIES, SIDE) DCT-II basis of the central `part` of an axis, stretched to SIDE pixels."""
    pixel, edges = np.arange(SIDE), SIDE * ((np.arange(SIDE + 1) / SIDE - 0.5) * part + 0.5)
    upper, lower = np.minimum(edges[1:, None], pixel + 1), np.maximum(edges[:-1, None], pixel)
    stretched = np.maximum(upper - lower, 0) / part  # (SIDE, SIDE): share of each pixel in each stretched one
    cosines = np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * (pixel + 0.5) / SIDE)
    return (cosines @ stretched).astype(np.float32)


def spectra(grey: np.ndarray, part: float = 1.0) -> np.ndarray:
    """(n, FREQUENCIES, FREQUENCIES) low frequencies of the central `part`, weighted to be equally strong in photos."""
    basis = _basis(part)
    return (basis @ grey.astype(np.float32) @ basis.T) * WEIGHTS


def mirrored(spectrum: np.ndarray) -> np.ndarray:
    """The spectra of the mirror images."""
    return spectrum * (-1.0) ** np.arange(FREQUENCIES, dtype=np.float32)

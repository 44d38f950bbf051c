"""Near-duplicate images: a perceptual hash of each image, and groups of similar images.

The hash holds the 256 lowest DCT coefficients of a small grey version: the sign of each, and whether it is strong. Two
images are similar where the strong signs agree; a nearly uniform one has few and matches only exact copies.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image

SIDE = 64  # pixels of the small grey version
BITS = 256  # coefficients kept
HASH_BYTES = 2 * BITS // 8  # signs, then strengths
WEAK = 8.0  # a smaller coefficient is noise: an amplitude of a quarter of a grey level
MIN_STRONG = 16  # images with fewer strong coefficients are not compared
NEAR = 16  # bits of the lowest 64 signs that may differ before two hashes are compared in full
SIMILAR = 0.55  # of the strong signs; in 10,000 photos different scenes reach 0.48, 3 % crops 0.6, other copies 0.85


@cache
def _frequencies() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, columns, cosines): positions of the lowest frequencies, and the (32, SIDE) DCT-II basis."""
    k = np.arange(32)
    cosines = np.sqrt(2 / SIDE) * np.cos(np.pi * k[:, None] * (np.arange(SIDE) + 0.5) / SIDE)
    cosines[0] /= np.sqrt(2)
    u, v = np.divmod(np.arange(32 * 32), 32)
    lowest = np.lexsort((u, u + v))[1 : BITS + 1]  # without the mean
    return u[lowest], v[lowest], cosines


def perceptual_hash(image: Image.Image) -> bytes:
    """Hash of an RGB image: nearly the same after re-encoding, resizing, a slight crop or a change of brightness."""
    u, v, cosines = _frequencies()
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64)
    coefficients = (cosines @ grey @ cosines.T)[u, v]
    weighted = np.abs(coefficients) * (u + v)  # in natural images amplitude falls with frequency
    strong = (weighted >= np.median(weighted)) & (np.abs(coefficients) > WEAK)
    return np.packbits(np.concatenate([coefficients > WEAK, strong])).tobytes()


def _as_words(hashes: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """(signs, strengths), each (n, BITS / 64) uint64."""
    if wrong := {len(h) for h in hashes} - {HASH_BYTES}:
        raise ValueError(f"a perceptual hash has {wrong.pop()} bytes, expected {HASH_BYTES}")
    words = np.frombuffer(b"".join(hashes), np.uint64).reshape(-1, HASH_BYTES // 8)
    return words[:, : words.shape[1] // 2], words[:, words.shape[1] // 2 :]


def _count_bits(bits: np.ndarray) -> np.ndarray:
    return np.bitwise_count(bits).sum(axis=1, dtype=np.int64)  # (n,) of each row


def _components(pairs: np.ndarray, n: int) -> np.ndarray:
    """(n,) component of each row in the graph whose edges are `pairs`, numbered in order of appearance."""
    from scipy.sparse import coo_array  # only here: the graph of tasks imports this module
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    label = connected_components(graph, directed=False)[1]
    first, inverse = np.unique(label, return_index=True, return_inverse=True)[1:]
    return np.argsort(np.argsort(first))[inverse]


def identical_pairs(contents: Sequence[str] | np.ndarray) -> np.ndarray:
    """(m, 2) pairs: the first row of each content with each later row of equal content.

    >>> identical_pairs(["a", "b", "a", "a"]).tolist()
    [[0, 2], [0, 3]]
    """
    first, inverse = np.unique(np.asarray(contents), return_index=True, return_inverse=True)[1:]
    first = first[inverse]
    later = np.flatnonzero(first != np.arange(len(first)))
    return np.column_stack([first[later], later])


def similar_pairs(hashes: Sequence[bytes], pairs_at_once: int = 2**18) -> np.ndarray:
    """(m, 2) pairs that connect all similar images, directly or through others; redundant ones are dropped."""
    signs, strong = _as_words(hashes)
    size = _count_bits(strong)
    usable = np.flatnonzero(size >= MIN_STRONG)
    copies = usable[identical_pairs(np.array(hashes, f"V{HASH_BYTES}")[usable])]
    distinct = np.setdiff1d(usable, copies[:, 1])
    lowest = np.ascontiguousarray(signs[distinct, 0])
    block = max(1, pairs_at_once // max(1, len(distinct)))
    pairs = copies
    for start in range(0, len(distinct), block):
        distance = np.bitwise_count(lowest[start : start + block, None] ^ lowest[None, start:])
        left, right = np.divmod(np.flatnonzero(distance <= NEAR), distance.shape[1])
        later = right > left
        i, j = distinct[left[later] + start], distinct[right[later] + start]
        both = strong[i] & strong[j]
        agreement = _count_bits(both) - 2 * _count_bits((signs[i] ^ signs[j]) & both)
        similar = agreement >= SIMILAR * np.sqrt(size[i] * size[j])
        pairs = np.concatenate([pairs, np.column_stack([i, j])[similar]])
        if len(pairs) > 2 * len(hashes):
            pairs = identical_pairs(_components(pairs, len(hashes)))
    return pairs


def group_near_duplicates(hashes: Sequence[bytes], contents: Sequence[str]) -> np.ndarray:
    """(n,) group numbers in order of appearance: identical or similar images, directly or through others."""
    if len(hashes) != len(contents):
        raise ValueError(f"there are {len(hashes)} hashes but {len(contents)} contents")
    return _components(np.concatenate([similar_pairs(hashes), identical_pairs(contents)]), len(hashes))

"""Near-duplicate images: a perceptual hash of each, and the groups of images that look alike.

The hash holds the 256 lowest frequencies of a small grey version: of each its sign, and whether it is
strong. Two images are alike where the strong signs agree; a plain image, with few strong frequencies, is like
nothing but its own copy.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SIDE = 64  # pixels of the small grey version
BITS = 256  # frequencies kept
HASH_BYTES = 2 * BITS // 8  # signs, then strengths
FAINT = 8.0  # a weaker coefficient is noise: a wave of a quarter of a grey level
PLAIN = 16  # fewer strong frequencies than this say nothing about a picture
NEAR = 16  # bits of the lowest 64 signs that may differ before two hashes are compared in full
ALIKE = 0.55  # 10,000 photos: different scenes reach 0.48, crops by 3 % keep 0.6, other copies 0.85


@cache
def _frequencies() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, columns, cosines): where the lowest frequencies stand, and the waves to measure them with."""
    k = np.arange(32)
    cosines = np.sqrt(2 / SIDE) * np.cos(np.pi * k[:, None] * (np.arange(SIDE) + 0.5) / SIDE)
    cosines[0] /= np.sqrt(2)
    u, v = np.divmod(np.arange(32 * 32), 32)
    lowest = np.lexsort((u, u + v))[1 : BITS + 1]  # without the mean
    return u[lowest], v[lowest], cosines


def perceptual_hash(image: Image.Image) -> bytes:
    """Of an RGB image: nearly the same after re-encoding, resizing, a slight crop or in brighter light."""
    u, v, cosines = _frequencies()
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64)
    waves = (cosines @ grey @ cosines.T)[u, v]
    loudness = np.abs(waves) * (u + v)  # natural images fall off with frequency
    strong = (loudness >= np.median(loudness)) & (np.abs(waves) > FAINT)
    return np.packbits(np.concatenate([waves > FAINT, strong])).tobytes()


def _words(hashes: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """(signs, strengths), each (n, BITS / 64) uint64."""
    wrong = next((h for h in hashes if len(h) != HASH_BYTES), None)
    if wrong is not None:
        raise ValueError(f"a perceptual hash has {len(wrong)} bytes, expected {HASH_BYTES}")
    words = np.frombuffer(b"".join(hashes), np.uint64).reshape(-1, HASH_BYTES // 8)
    return words[:, : words.shape[1] // 2], words[:, words.shape[1] // 2 :]


def _count(bits: np.ndarray) -> np.ndarray:
    return np.bitwise_count(bits).sum(axis=1, dtype=np.int64)


def _components(pairs: np.ndarray, n: int) -> np.ndarray:
    """(n,) component of each row in the graph whose edges are `pairs`, numbered in order of appearance."""
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    label = connected_components(graph, directed=False)[1]
    first, inverse = np.unique(label, return_index=True, return_inverse=True)[1:]
    return np.argsort(np.argsort(first))[inverse]


def identical_pairs(contents: Sequence) -> np.ndarray:
    """(m, 2) rows, each linked to the first one of equal content.

    >>> identical_pairs(["a", "b", "a", "a"]).tolist()
    [[0, 2], [0, 3]]
    """
    first, inverse = np.unique(np.asarray(contents), return_index=True, return_inverse=True)[1:]
    first = first[inverse]
    later = np.flatnonzero(first != np.arange(len(first)))
    return np.column_stack([first[later], later])


def similar_pairs(hashes: Sequence[bytes], pairs_at_once: int = 2**18) -> np.ndarray:
    """(m, 2) rows that link all that look alike, directly or through others.

    Every pair of different hashes is compared, in blocks; where many are alike, links that say nothing new
    are dropped, so memory does not grow with the number of pairs.
    """
    signs, strong = _words(hashes)
    size = _count(strong)
    telling = np.flatnonzero(size >= PLAIN)
    copies = telling[identical_pairs(np.array(hashes, f"V{HASH_BYTES}")[telling])]
    once = np.setdiff1d(telling, copies[:, 1])
    lowest = np.ascontiguousarray(signs[once, 0])
    block = max(1, pairs_at_once // max(1, len(once)))
    found = copies
    for start in range(0, len(once), block):
        distance = np.bitwise_count(lowest[start : start + block, None] ^ lowest[None, start:])
        left, right = np.divmod(np.flatnonzero(distance <= NEAR), distance.shape[1])
        later = right > left
        i, j = once[left[later] + start], once[right[later] + start]
        both = strong[i] & strong[j]
        agreement = _count(both) - 2 * _count((signs[i] ^ signs[j]) & both)
        alike = agreement >= ALIKE * np.sqrt(size[i] * size[j])
        found = np.concatenate([found, np.column_stack([i, j])[alike]])
        if len(found) > 2 * len(hashes):
            found = identical_pairs(_components(found, len(hashes)))
    return found


def group_near_duplicates(hashes: Sequence[bytes], contents: Sequence[str]) -> np.ndarray:
    """(n,) group ids in order of appearance: rows of equal content or alike, directly or through others."""
    if len(hashes) != len(contents):
        raise ValueError(f"there are {len(hashes)} hashes but {len(contents)} contents")
    links = np.concatenate([similar_pairs(hashes), identical_pairs(contents)])
    return _components(links, len(hashes))

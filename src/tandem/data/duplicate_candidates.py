"""Pairs of images that may be near-duplicates: similar in their lowest frequencies, mirrored and cropped or not.

Up to EXHAUSTIVE images all pairs are compared. From there on a forest of random projection trees (Dasgupta and Freund
2008) splits the images into leaves, and only images of one leaf are compared: n log n in all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tandem.data.thumbnails import PART, mirrored, spectra

EXHAUSTIVE = 10_000  # images
LEAF = 512  # points of a leaf, at most; an image has four
TREES = 12
SIMILAR = 0.5  # cosine; copies of photos have at least 0.92, and few other images that much
PARTNERS = 4  # candidates of an image, at most
NEIGHBOURS = 10  # of an image; the last one shows how similar any two images of the set are
PRIOR = 50  # blank images that the mean of the set counts besides its own, so that a few images keep what they share
BLOCK = 512  # rows compared at once
WHOLE, MIRROR, CENTRE, MIRRORED_CENTRE = range(4)


@dataclass(frozen=True)
class Pairs:
    """m pairs of images: the whole of `first` is like one version of `second`.

    first, second  (m,)  rows
    version        (m,)  WHOLE, MIRROR, CENTRE or MIRRORED_CENTRE
    cosine         (m,)  of the two
    """

    first: np.ndarray
    second: np.ndarray
    version: np.ndarray
    cosine: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def joined(cls, parts: "Sequence[Pairs]") -> "Pairs":
        none = np.zeros(0, np.int64)
        return cls(
            np.concatenate([none, *(part.first for part in parts)]),
            np.concatenate([none, *(part.second for part in parts)]),
            np.concatenate([none, *(part.version for part in parts)]),
            np.concatenate([np.zeros(0, np.float32), *(part.cosine for part in parts)]),
        )

    def take(self, rows: np.ndarray) -> "Pairs":
        return Pairs(self.first[rows], self.second[rows], self.version[rows], self.cosine[rows])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def versions(grey: np.ndarray) -> np.ndarray:
    """(4, n, d) unit vectors of the versions, without what the images of the set have in common."""
    whole, centre = spectra(grey), spectra(grey, PART)
    used = (whole.any(axis=0) | centre.any(axis=0)).ravel()
    all_four = np.stack([whole, mirrored(whole), centre, mirrored(centre)])
    vectors = _unit(all_four.reshape(4, len(grey), used.size)[:, :, used])
    return _unit(vectors - vectors[WHOLE].sum(axis=0) / (len(grey) + PRIOR)).astype(np.float32)


def best_pairs(vectors: np.ndarray, i: np.ndarray, j: np.ndarray) -> Pairs:
    """The rows i and j (m,) in the order and version in which they are most similar; `vectors` as of `versions`."""
    forward = np.einsum("md,vmd->vm", vectors[WHOLE, i], vectors[:, j])
    backward = np.einsum("md,vmd->vm", vectors[WHOLE, j], vectors[:, i])
    turned = backward.max(axis=0) > forward.max(axis=0)
    cosine = np.where(turned, backward, forward)
    return Pairs(np.where(turned, j, i), np.where(turned, i, j), cosine.argmax(axis=0), cosine.max(axis=0))


def candidates(vectors: np.ndarray, seed: int = 0) -> tuple[Pairs, np.ndarray]:
    """(pairs, background): each pair of similar images once, and (n,) the cosine of the last neighbour of each image.

    `vectors` (4, n, d) as of `versions`. The background is 1 where an image has fewer neighbours: nothing can be told.
    """
    n = vectors.shape[1]
    points, found = vectors.reshape(4 * n, vectors.shape[2]), Pairs.joined([])
    rng = np.random.default_rng(seed)
    for _ in range(1 if n <= EXHAUSTIVE else TREES):
        leaves = [np.arange(4 * n)] if n <= EXHAUSTIVE else _leaves(points, rng)
        found = _nearest(Pairs.joined([found, *(_neighbours(points, n, leaf) for leaf in leaves)]))
    background = np.ones(n, np.float32)
    place = _place(found.first)
    last = place == NEIGHBOURS - 1
    background[found.first[last]] = found.cosine[last]
    found = found.take((place < PARTNERS) & (found.cosine >= SIMILAR))
    low, high = np.minimum(found.first, found.second), np.maximum(found.first, found.second)
    order = np.lexsort((-found.cosine, high, low))
    new = np.flatnonzero(np.diff(low[order], prepend=-1) | np.diff(high[order], prepend=-1))
    return found.take(order[new]), background


def _leaves(points: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of each leaf of one tree: halves along a random direction, until a leaf has at most LEAF rows."""
    order, n_leaves = np.arange(len(points)), 1
    while len(order) / n_leaves > LEAF:
        place = points @ rng.standard_normal(points.shape[1], np.float32)
        order = np.concatenate([leaf[np.argsort(place[leaf])] for leaf in np.array_split(order, n_leaves)])
        n_leaves *= 2
    return np.array_split(order, n_leaves)


def _neighbours(points: np.ndarray, n: int, leaf: np.ndarray) -> Pairs:
    """The most similar points of one leaf for each whole image in it."""
    version, row = np.divmod(leaf, n)
    whole, parts = leaf[version == WHOLE], []
    kept = min(4 * NEIGHBOURS, len(leaf) - 1)  # all versions of as many images
    for start in range(0, len(whole), BLOCK):
        first = whole[start : start + BLOCK]
        cosine = points[first] @ points[leaf].T
        cosine[row == first[:, None]] = -2  # the image itself
        near = np.argpartition(-cosine, kept - 1, axis=1)[:, :kept].ravel()
        each = np.repeat(np.arange(len(first)), kept)
        pairs = Pairs(first[each], row[near], version[near], cosine[each, near])
        parts.append(pairs.take(pairs.cosine > -2))
    return _nearest(Pairs.joined(parts))


def _place(sorted_rows: np.ndarray) -> np.ndarray:
    """(m,) place of each entry among those of equal value."""
    starts = np.flatnonzero(np.diff(sorted_rows, prepend=-1))
    return np.arange(len(sorted_rows)) - np.repeat(starts, np.diff(starts, append=len(sorted_rows)))


def _nearest(pairs: Pairs) -> Pairs:
    """At most NEIGHBOURS pairs of each first image, the most similar first; each pair in its best version."""
    order = np.lexsort((-pairs.cosine, pairs.second, pairs.first))
    first, second = pairs.first[order], pairs.second[order]
    pairs = pairs.take(order[np.flatnonzero(np.diff(first, prepend=-1) | np.diff(second, prepend=-1))])
    pairs = pairs.take(np.lexsort((pairs.second, -pairs.cosine, pairs.first)))
    return pairs.take(_place(pairs.first) < NEIGHBOURS)

"""Pairs of images that may be near-duplicates: similar in their lowest frequencies, mirrored and cropped or not.

Up to EXHAUSTIVE images all pairs are compared. From there on a forest of random projection trees (Dasgupta and Freund
2008) splits the images into leaves of the same size, whatever their number, and only images of one leaf are compared.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from tandem.data.image_loader import prefetch
from tandem.data.thumbnails import AT_ONCE, PART, WEIGHTS, Thumbnails, mirrored, spectra
from tandem.runtime.resources import threads

EXHAUSTIVE = 10_000  # images
LEAF = 400  # points of a leaf, at most; an image has four
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

    def take(self, rows: np.ndarray) -> "Pairs":
        return Pairs(self.first[rows], self.second[rows], self.version[rows], self.cosine[rows])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def versions(thumbnails: Thumbnails) -> np.ndarray:
    """(4, n, d) unit vectors of the versions, without what the images of the set have in common."""
    n, weighted = len(thumbnails), WEIGHTS > 0
    vectors = np.empty((4, n, weighted.sum()), np.float32)
    for start in range(0, n, AT_ONCE):
        rows = slice(start, min(start + AT_ONCE, n))
        grey, _ = thumbnails.take(range(rows.start, rows.stop))
        whole, centre = spectra(grey), spectra(grey, PART)
        for version, spectrum in enumerate((whole, mirrored(whole), centre, mirrored(centre))):
            vectors[version, rows] = _unit(spectrum[:, weighted])
    unused = ~vectors.any(axis=(0, 1))
    if unused.any():
        vectors = np.ascontiguousarray(vectors[:, :, ~unused])
    common = vectors[WHOLE].sum(axis=0) / (n + PRIOR)
    for start in range(0, n, AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        vectors[:, rows] = _unit(vectors[:, rows] - common)
    return vectors


def best_pairs(vectors: np.ndarray, i: np.ndarray, j: np.ndarray) -> Pairs:
    """The rows i and j (m,) in the order and version in which they are most similar; `vectors` as of `versions`."""
    forward = np.einsum("md,vmd->vm", vectors[WHOLE, i], vectors[:, j])
    backward = np.einsum("md,vmd->vm", vectors[WHOLE, j], vectors[:, i])
    turned = backward.max(axis=0) > forward.max(axis=0)
    cosine = np.where(turned, backward, forward)
    return Pairs(np.where(turned, j, i), np.where(turned, i, j), cosine.argmax(axis=0), cosine.max(axis=0))


class Search:
    """The most similar images of each image, among other rows each time: what did not change is not looked for again.

    `vectors` (4, n, d) as of `versions`.
    """

    def __init__(self, vectors: np.ndarray, seed: int = 0) -> None:
        self.vectors, self.rng = vectors, np.random.default_rng(seed)
        self.near = Neighbours.none(vectors.shape[1])
        self.rows = np.arange(vectors.shape[1])  # of the last time; at first all, of which nothing is known
        self.known = np.zeros(vectors.shape[1], bool)
        self.again = np.zeros(vectors.shape[1], bool)  # images whose neighbours were looked for among fewer than all

    def among(self, rows: np.ndarray) -> tuple[Pairs, np.ndarray]:
        """(pairs, background): each pair of similar images of `rows` (m,) once, and (m,) the cosine of each one's last
        neighbour.

        The background is 1 where an image has fewer neighbours: nothing can be told.
        """
        self._find(rows)
        near, background = self.near.take(rows), np.ones(len(rows), np.float32)
        enough = near.second[:, -1] >= 0
        background[enough] = near.cosine[enough, -1]
        first, place = np.nonzero((near.second[:, :PARTNERS] >= 0) & (near.cosine[:, :PARTNERS] >= SIMILAR))
        second = near.second[first, place].astype(np.int64)
        found = Pairs(rows[first], second, near.version[first, place], near.cosine[first, place])
        low, high = np.minimum(found.first, second), np.maximum(found.first, second)
        order = np.lexsort((-found.cosine, high, low))
        new = np.flatnonzero(np.diff(low[order], prepend=-1) | np.diff(high[order], prepend=-1))
        return found.take(order[new]), background

    def _find(self, rows: np.ndarray) -> None:
        n = self.vectors.shape[1]
        there = np.zeros(n, bool)
        there[rows] = True
        returned = there.copy()
        returned[self.rows] = False
        second = self.near.second[rows]
        wanted = np.zeros(n, bool)
        wanted[rows] = ~self.known[rows] | ((second >= 0) & ~there[second]).any(axis=1)
        if returned.any():
            wanted |= returned | (there & self.again)
        self.rows = rows
        if not wanted.any():
            return
        self.known |= wanted
        self.again = self.again | wanted if len(rows) < n else self.again & ~wanted
        self.near.forget(np.flatnonzero(wanted))
        points = self.vectors.reshape(4 * n, -1)
        every = (n * np.arange(4)[:, None] + rows).ravel()
        add = partial(_add_neighbours, self.near, points, n)
        with threadpool_limits(1, "blas"):  # its threads take four times as much processor time for products of leaves
            if len(rows) <= EXHAUSTIVE:
                deque(prefetch(add, _blocks(every, wanted), threads()), 0)  # each changes rows of `near` of its own
            else:
                for _ in range(TREES):
                    for leaf in _leaves(points, every, self.rng):
                        deque(map(add, _blocks(leaf, wanted)), 0)


def _leaves(points: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Of `rows` of the points, those of each leaf of one tree: parts along a random direction for each depth, until one
    has at most LEAF rows."""
    n_leaves = max(1, math.ceil(len(rows) / LEAF))
    depth = math.ceil(math.log2(n_leaves))
    place = rng.standard_normal((depth, points.shape[1]), np.float32) @ points.T
    parts = [(rows, n_leaves, 0)]
    while parts:
        part, leaves, level = parts.pop()
        if leaves == 1:
            yield part
            continue
        left = leaves // 2
        middle = len(part) * left // leaves
        part = part[np.argpartition(place[level, part], middle)]
        parts += [(part[middle:], leaves - left, level + 1), (part[:middle], left, level + 1)]


@dataclass(frozen=True)
class Neighbours:
    """The NEIGHBOURS images most similar to each whole image so far, the most similar first.

    second   (n, k) int32  rows; -1 where fewer are known
    version  (n, k) int8
    cosine   (n, k) f4
    """

    second: np.ndarray
    version: np.ndarray
    cosine: np.ndarray

    @classmethod
    def none(cls, n: int) -> "Neighbours":
        shape = n, NEIGHBOURS
        return cls(np.full(shape, -1, np.int32), np.zeros(shape, np.int8), np.full(shape, -2, np.float32))

    def take(self, rows: np.ndarray) -> "Neighbours":
        return Neighbours(self.second[rows], self.version[rows], self.cosine[rows])

    def forget(self, rows: np.ndarray) -> None:
        self.second[rows], self.version[rows], self.cosine[rows] = -1, 0, -2

    def add(self, rows: np.ndarray, second: np.ndarray, version: np.ndarray, cosine: np.ndarray) -> None:
        """Candidates (b, m) of `rows` (b,), -1 where there is none; an image counts in its most similar version."""
        second = np.concatenate([self.second[rows], second], axis=1)
        version = np.concatenate([self.version[rows], version], axis=1)
        cosine = np.concatenate([self.cosine[rows], cosine], axis=1)
        falling = _falling(cosine)
        # one integer to sort by: the image in 29 bits, how unlike it is in 32, its version in 2
        by_image = np.sort((second.astype(np.int64) << 34) | (falling << 2) | version, axis=1)
        image, falling, version = by_image >> 34, (by_image >> 2) & 0xFFFFFFFF, by_image & 3
        again = np.zeros(image.shape, bool)
        again[:, 1:] = image[:, 1:] == image[:, :-1]
        by_cosine = (falling << 31) | ((image & 0x1FFFFFFF) << 2) | version
        by_cosine[again | (image < 0)] = np.iinfo(np.int64).max
        kept = np.sort(by_cosine, axis=1)[:, :NEIGHBOURS]
        there = kept < np.iinfo(np.int64).max
        self.second[rows] = np.where(there, (kept >> 2) & 0x1FFFFFFF, -1)
        self.version[rows] = np.where(there, kept & 3, 0)
        self.cosine[rows] = np.where(there, _as_cosine(kept >> 31), -2)


def _falling(cosine: np.ndarray) -> np.ndarray:
    """int64 from 0 to 2**32 - 1 in the order of falling cosines; equal ones are equal."""
    bits = (-cosine).astype(np.float32).view(np.uint32).astype(np.int64)
    return np.where(bits >> 31, 0xFFFFFFFF - bits, bits + 0x80000000)


def _as_cosine(falling: np.ndarray) -> np.ndarray:
    """The opposite of `_falling`."""
    bits = np.where(falling >> 31, falling - 0x80000000, 0xFFFFFFFF - falling)
    return -bits.astype(np.uint32).view(np.float32)


def _blocks(leaf: np.ndarray, wanted: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(points of at most BLOCK wanted whole images, all points of the leaf)."""
    whole = leaf[leaf < len(wanted)]
    whole = whole[wanted[whole]]
    return ((whole[start : start + BLOCK], leaf) for start in range(0, len(whole), BLOCK))


def _add_neighbours(near: Neighbours, points: np.ndarray, n: int, block: tuple[np.ndarray, np.ndarray]) -> None:
    """The most similar points of their leaf for each whole image of a block."""
    first, leaf = block
    version, row = np.divmod(leaf, n)
    cosine = points[first] @ points[leaf].T
    cosine[row == first[:, None]] = -2  # the image itself
    kept = min(4 * NEIGHBOURS, len(leaf) - 1)  # all versions of as many images
    place = np.argpartition(-cosine, kept - 1, axis=1)[:, :kept]
    found = np.take_along_axis(cosine, place, axis=1)
    near.add(first, np.where(found > -2, row[place], -1).astype(np.int32), version[place].astype(np.int8), found)

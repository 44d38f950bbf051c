"""Groups of near-duplicate images: copies that were re-encoded, resized, brightened, mirrored or cropped, and bursts.

An image joins a group only where it is like the group's first image, so that no chain connects unlike images.
"""

from collections.abc import Sequence

import numpy as np

from tandem.data.duplicate_candidates import Pairs, Search, best_pairs, versions
from tandem.data.image_comparison import mismatch
from tandem.data.thumbnails import HASH_BYTES, Hash, Thumbnails, perceptual_hash

__all__ = ["HASH_BYTES", "group_near_duplicates", "identical_pairs", "perceptual_hash"]

COPY = 0.02  # mismatch of a copy, at most; of 400 scans of one form with other entries the two most alike have 0.09
BURST = 0.35  # of two photos of one scene, at most
CLOSER = 0.2  # and their distance, at most, as a share of that to other images: 0.1 in bursts, from 0.24 on in charts
ROUNDS = 5  # of comparing the first images of the groups, as an image has fewer candidates than it may have copies
MANY = 0.01  # share of rows in groups from which on a person should look at them


def identical_pairs(contents: Sequence[str] | np.ndarray) -> np.ndarray:
    """(m, 2) pairs: the first row of each content with each later row of equal content.

    >>> identical_pairs(["a", "b", "a", "a"]).tolist()
    [[0, 2], [0, 3]]
    """
    first, inverse = np.unique(np.asarray(contents), return_index=True, return_inverse=True)[1:]
    first = first[inverse]
    later = np.flatnonzero(first != np.arange(len(first)))
    return np.column_stack([first[later], later])


def group_near_duplicates(hashes: Sequence[Hash], contents: Sequence[str]) -> np.ndarray:
    """(n,) group numbers in order of appearance: images of equal content, and those that look like the first one."""
    if len(hashes) != len(contents):
        raise ValueError(f"there are {len(hashes)} hashes but {len(contents)} contents")
    leader = np.arange(len(hashes))
    original, copy = identical_pairs(contents).T if len(hashes) else np.zeros((2, 0), int)
    leader[copy] = original
    distinct = np.flatnonzero(leader == np.arange(len(leader)))
    leader[distinct] = distinct[_Likeness([hashes[i] for i in distinct.tolist()]).leaders()]
    return number_groups(leader[leader])


def number_groups(members: np.ndarray) -> np.ndarray:
    """(n,) the same groups, numbered in order of appearance.

    >>> number_groups(np.array([7, 2, 7])).tolist()
    [0, 1, 0]
    """
    first, inverse = np.unique(members, return_index=True, return_inverse=True)[1:]
    return np.argsort(np.argsort(first))[inverse]


def many_near_duplicates(ids: Sequence[str], group: np.ndarray) -> str:
    """What is said where more than MANY of the rows are in groups of two and more; else "".

    >>> many_near_duplicates(["a", "b", "c"], np.array([0, 1, 0]))
    '2 of 3 rows (66.7 %) are in 1 groups of near-duplicates, the largest: a c (2 rows)'
    """
    counts = np.bincount(group)
    inside = int(counts[counts > 1].sum())
    if inside <= MANY * len(ids):
        return ""
    largest = []
    for number in np.argsort(-counts, kind="stable")[:3]:
        rows = np.flatnonzero(group == number)
        if len(rows) > 1:
            more = " ..." * (len(rows) > 4)
            largest.append(f"{' '.join(ids[i] for i in rows[:4])}{more} ({len(rows):,} rows)")
    share = f"{inside:,} of {len(ids):,} rows ({100 * inside / len(ids):.1f} %)"
    return f"{share} are in {(counts > 1).sum():,} groups of near-duplicates, the largest: {'; '.join(largest)}"


class _Likeness:
    """Which of some images look alike, each two compared at most once."""

    def __init__(self, hashes: Sequence[Hash]) -> None:
        self.thumbnails = Thumbnails(hashes)
        self.vectors = versions(self.thumbnails)
        self.search = Search(self.vectors)
        self.background = np.ones(len(hashes), np.float32)
        self.compared = np.zeros(0, np.int64)  # sorted `_keys` of the pairs that were compared
        self.unlike: set[int] = set()  # some of those that are not, to be found fast
        self.likely: dict[int, tuple[float, float]] = {}  # mismatch and cosine of those that may be of one scene

    def leaders(self) -> np.ndarray:
        """(n,) first row of the group of each row."""
        leader = np.arange(len(self.thumbnails))
        for _ in range(ROUNDS):
            first = np.flatnonzero(leader == np.arange(len(leader)))
            joins = self._joins(first)
            for row in np.flatnonzero(np.isin(leader, list(joins))).tolist():
                new = joins[int(leader[row])]
                leader[row] = new if self._alike(new, row) else row
            if not joins:
                break
        return leader

    def _joins(self, rows: np.ndarray) -> dict[int, int]:
        """For each of `rows` (ascending) that is like an earlier one that is like no other: that earlier one."""
        pairs, self.background[rows] = self.search.among(rows)
        self._compare(pairs)
        earlier: dict[int, list[int]] = {}
        pairs = pairs.take(np.isin(self._keys(pairs), list(self.likely)))
        for i, j in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
            if self._alike(i, j):
                earlier.setdefault(max(i, j), []).append(min(i, j))
        joins: dict[int, int] = {}
        for row in sorted(earlier):
            options = sorted({joins.get(other, other) for other in earlier[row]})
            if found := [other for other in options if self._alike(other, row)]:
                joins[row] = found[0]
        return joins

    def _alike(self, i: int, j: int) -> bool:
        key = min(i, j) * len(self.background) + max(i, j)
        if key not in self.likely and key not in self.unlike:
            at = np.searchsorted(self.compared, key)
            if at == len(self.compared) or self.compared[at] != key:
                self._compare(best_pairs(self.vectors, np.array([i]), np.array([j])))
            if key not in self.likely:
                self.unlike.add(key)
        if key not in self.likely:
            return False
        share, cosine = self.likely[key]
        around = max(self.background[i], self.background[j])
        return share <= COPY or 1 - cosine <= CLOSER * (1 - around)

    def _keys(self, pairs: Pairs) -> np.ndarray:
        """(m,) int64: a number for each two rows, whichever comes first."""
        return np.minimum(pairs.first, pairs.second) * len(self.background) + np.maximum(pairs.first, pairs.second)

    def _compare(self, pairs: Pairs) -> None:
        keys = self._keys(pairs)
        new = np.isin(keys, self.compared, invert=True)
        pairs, keys = pairs.take(new), keys[new]
        share = mismatch(self.thumbnails, pairs)
        likely = share <= BURST
        found = zip(share[likely].tolist(), pairs.cosine[likely].tolist(), strict=True)
        self.likely |= zip(keys[likely].tolist(), found, strict=True)
        if len(keys) > 1:
            self.compared = np.union1d(self.compared, keys)

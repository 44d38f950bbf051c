"""The search for near-duplicates among many images: a forest of trees against comparing all pairs, and what it finds.

The images are random vectors as spread as those of photos; one in twenty has a copy. Comparing thumbnails is left out:
it takes as long in both.
"""

import time

import numpy as np

from tandem.data import duplicate_candidates
from tandem.data.duplicate_candidates import Pairs, Search

SIZES, DIMENSIONS, ALL = (5_000, 10_000, 20_000), 52, 10**9
COSINE = 0.95  # of a copy and its original: as of a crop


def random_versions(n: int) -> np.ndarray:
    """(4, n, d): the last n / 20 images are copies of the first ones."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4, n, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    copies = n // 20
    vectors[0, -copies:] = COSINE * vectors[0, :copies] + np.sqrt(1 - COSINE**2) * vectors[0, -copies:]
    return vectors / np.linalg.norm(vectors, axis=2, keepdims=True)


def timed(vectors: np.ndarray, exhaustive: int) -> tuple[float, Pairs]:
    duplicate_candidates.EXHAUSTIVE = exhaustive
    start = time.perf_counter()
    pairs, _ = Search(vectors).among(np.arange(vectors.shape[1]))
    return time.perf_counter() - start, pairs


def share_found(pairs: Pairs, n: int) -> float:
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    copies = n // 20
    return sum((i, n - copies + i) in found or (n - copies + i, i) in found for i in range(copies)) / copies


def main() -> None:
    times = []
    for n in SIZES:
        vectors = random_versions(n)
        forest, pairs = timed(vectors, 0)
        exhaustive, _ = timed(vectors, ALL)
        times.append(forest)
        print(f"{n:,} images: {exhaustive:.1f} s all pairs, {forest:.1f} s forest, {share_found(pairs, n):.3f} found")
    print(f"figure duplicates_forest_speedup {exhaustive / forest:.2f} x")
    print(f"figure duplicates_forest_growth {times[-1] / times[-2]:.2f} x")


if __name__ == "__main__":
    main()

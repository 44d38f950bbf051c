"""Decoding: exact per-class thresholds and coordinate ascent against plain loops over a grid, and larger problems.

Both get the same probabilities: 18 labels on 76 % to 0.8 % of the rows, 1.55 a row, no row empty. The loop of the
ascent is timed on some of its steps, all of which cost the same.
"""

import resource
import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import f1_score

from tandem.decoding import Rule, binarize
from tandem.decoding.expected_f import expected_sets
from tandem.decoding.thresholds import tune_ascent, tune_global, tune_per_class

STEPS = 50  # of the slow ascent, two passes over all labels
TIMED = 30  # of its 2 x 18 x 50 evaluations


def problem(n: int, c: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(proba (n, c) float32, y (n, c) uint8)."""
    rng = np.random.default_rng(seed)
    prior = np.concatenate([[0.76], np.geomspace(0.15, 0.008, c - 1) * min(1.0, 18 / c)])
    y = (rng.random((n, c)) < prior).astype(np.uint8)
    y[y.sum(1) == 0, 0] = 1
    logits = np.log(prior / (1 - prior)) * 0.6 + 2.2 * (2.0 * y - 1) + 2.0 * rng.standard_normal((n, c))
    return (1 / (1 + np.exp(-logits))).astype(np.float32), y


def seconds(work: Callable[[], object], repeats: int = 1) -> tuple[float, object]:
    """(shortest of some runs, result)."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return best, result


def loop_per_class(proba: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The usual loop: 100 thresholds a label, scored by scikit-learn."""
    grid = np.linspace(0.01, 0.99, 100)
    best = np.empty(y.shape[1])
    for j in range(y.shape[1]):
        best[j] = grid[np.argmax([f1_score(y[:, j], proba[:, j] >= t, zero_division=0) for t in grid])]
    return best


def loop_ascent(proba: np.ndarray, y: np.ndarray, rule: Rule) -> np.ndarray:
    """Result of the usual ascent: two passes of 50 thresholds a label, scored without scikit-learn to save time."""
    thresholds = np.full(y.shape[1], 0.5)
    for _ in range(2):
        for j in range(y.shape[1]):
            scores = []
            for t in np.linspace(0.02, 0.98, STEPS):
                thresholds[j] = t
                scores.append(rule.score(y, binarize(proba, thresholds, rule)))
            thresholds[j] = np.linspace(0.02, 0.98, STEPS)[int(np.argmax(scores))]
    return thresholds


def slow_step(proba: np.ndarray, y: np.ndarray, thresholds: np.ndarray, rule: Rule) -> None:
    for _ in range(TIMED):
        f1_score(y, binarize(proba, thresholds, rule), average="samples", zero_division=0)


def main() -> None:
    rule, n, c = Rule(), 30_000, 18
    proba, y = problem(n, c)
    slow, grid = seconds(lambda: loop_per_class(proba, y))
    fast, exact = seconds(lambda: tune_per_class(proba, y, rule), repeats=5)
    macro = Rule("f1_macro", least=0)
    print(f"per class, {n:,} x {c}: loop of 100 steps {slow:.1f} s, all thresholds {fast:.3f} s")
    print(f"  macro F1 {macro.score(y, proba >= grid):.5f} and {macro.score(y, proba >= exact):.5f}")
    print(f"figure per_class_speedup {slow / fast:.0f} x")

    part, _ = seconds(lambda: slow_step(proba, y, grid, rule))
    slow = part / TIMED * 2 * c * STEPS
    fast, exact = seconds(lambda: tune_ascent(proba, y, rule), repeats=3)
    usual = rule.score(y, binarize(proba, loop_ascent(proba, y, rule), rule))
    print(f"ascent on F1 per row: loop {slow:.0f} s ({TIMED} of {2 * c * STEPS} evaluations timed), {fast:.2f} s")
    print(f"  F1 per row {usual:.5f} and {rule.score(y, binarize(proba, exact, rule)):.5f}")
    print(f"figure ascent_speedup {slow / fast:.0f} x")
    print(f"figure ascent_seconds {fast:.2f} s")
    took, _ = seconds(lambda: expected_sets(proba, 1.0, rule.least), repeats=3)
    print(f"figure expected_seconds {took:.2f} s")

    for n, c in ((1_000_000, 18), (30_000, 500)):
        grow(n, c, rule)


def grow(n: int, c: int, rule: Rule) -> None:
    """Prints seconds, and the peak memory of the process so far."""
    proba, y = problem(n, c)
    work = {
        "global": lambda: tune_global(proba, y, rule),
        "per_class": lambda: tune_per_class(proba, y, rule),
        "ascent": lambda: tune_ascent(proba, y, rule),
        "expected": lambda: expected_sets(proba, 1.0, rule.least),
    }
    for name, call in work.items():
        took, _ = seconds(call)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(f"{name}, {n:,} x {c}: {took:.2f} s, peak {peak:,.0f} MB")


if __name__ == "__main__":
    main()

"""The stack of simulated members by number of labels: seconds, and the two forms of its second level side by side.

Labels follow a few hidden factors, as tags of photos do; each member sees each label's log-odds through noise of its
own, part of which many labels share, and is over- or underconfident. Wall time and the processor time of all threads.
"""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem.artifacts.contributions import sum_by_term, write_contributions
from tandem.ensemble import fit_stack as fitting
from tandem.ensemble.fit_stack import StackFit, fit_stack
from tandem.ensemble.stacking import write_stack
from tandem.logits import sigmoid
from tandem.metrics import log_loss
from tandem.runtime.resources import peak_mb, threads

FACTORS, MEMBERS, FOLDS = 12, 4, 5
READS = [{"image"}, {"image"}, {"caption"}, {"image", "caption"}]


@dataclass(frozen=True)
class Simulated:
    probas: dict[str, np.ndarray]  # (n, c) float32
    y: np.ndarray  # (n, c)
    fold: np.ndarray  # (n,)


def simulate(n: int, c: int, seed: int = 0) -> Simulated:
    """Some three labels a row on 30 % to 0.1 % of the rows; no row is empty."""
    rng = np.random.default_rng(seed)
    rate = np.geomspace(0.3, 0.001, c)
    rate *= min(1.0, 3.0 / rate.sum())
    loadings = rng.normal(size=(FACTORS, c)) * (rng.random((FACTORS, c)) < 0.3)
    factors = rng.normal(size=(n, FACTORS))
    truth = (factors @ loadings + 1.5 * rng.normal(size=(n, c)) + 1.3 * np.log(rate / (1 - rate))).astype(np.float32)
    y = (rng.random((n, c), dtype=np.float32) < 1 / (1 + np.exp(-truth))).astype(np.uint8)
    y[y.sum(1) == 0, 0] = 1
    probas = {}
    for i in range(MEMBERS):
        quality = rng.uniform(0.3, 1.5, c).astype(np.float32)  # of the member for each label
        shared = rng.normal(size=(n, 4)) @ rng.normal(size=(4, c)) * 0.5
        noise = shared + rng.standard_normal((n, c), np.float32) * quality
        center = truth.mean(0)
        seen = center + (truth - center + noise) * rng.uniform(0.5, 1.1) + rng.normal() * 0.2
        probas[f"m{i}"] = sigmoid(seen).astype(np.float32)
    return Simulated(probas, y, np.arange(n) % FOLDS)


def fit(rows: Simulated) -> tuple[StackFit, float, float]:
    """(the stack, wall seconds, processor seconds) with everything written, as the stage does."""
    start, before = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit_stack(rows.probas, None, rows.y, rows.fold, 0, threads(), unfinished=Path(folder) / "unfinished")
        write_stack(Path(folder), fitted.stack)
        n, c = rows.y.shape
        terms = sum_by_term(fitted.contributions, READS)
        write_contributions(Path(folder) / "c.parquet", [str(j) for j in range(c)], [("train", list(map(str, range(n))), terms)])
    return fitted, time.perf_counter() - start, time.process_time() - before


def timed(n: int, c: int) -> float:
    rows = simulate(n, c)
    fitted, wall, processor = fit(rows)
    loss, mean = log_loss(rows.y, fitted.proba), fitted.summary["candidates"]["mean"]
    print(f"{n:,} x {c}: {wall:.1f} s, processor {processor:.1f} s, peak {peak_mb():,} MB")
    print(f"  log loss {loss:.5f}, of the plain mean {mean:.5f}; kept: {fitted.summary['kept']}")
    return wall


def compare(n: int, c: int) -> None:
    """Both forms of the second level on the same rows."""
    rows = simulate(n, c)
    for name, many in (("boosted and logistic", c + 1), ("linear", c)):
        fitting.MANY_LABELS = many
        fitted, wall, processor = fit(rows)
        loss, summary = log_loss(rows.y, fitted.proba), fitted.summary
        mean = summary["candidates"]["mean"]
        weights = " ".join(f"{weight:.2f}" for weight in summary["third_level"].values())
        print(f"{n:,} x {c}, {name}: log loss {loss:.5f} (mean {mean:.5f}), {wall:.1f} s, processor {processor:.1f} s, third level {weights}", flush=True)


if __name__ == "__main__":
    import sys
    if sys.argv[1] == "c":
        compare(int(sys.argv[2]), int(sys.argv[3]))
    else:
        timed(int(sys.argv[2]), int(sys.argv[3]))

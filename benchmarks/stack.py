"""The stack of simulated members by number of labels, and both forms of its second level on the same rows.

Labels follow a few hidden factors, as tags of photos do. Each member sees each label's log-odds through noise of its
own, part of which many labels share, and is over- or underconfident. Times are of fitting and of writing all files: on
the clock, and of the processor, which other programs disturb less. LONG=1 adds 20,000 rows of 1,103 labels.
"""

import math
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem.artifacts.contributions import term_of, write_contributions
from tandem.ensemble import second_level_fit as fitting
from tandem.ensemble.fit_stack import StackFit, fit_stack
from tandem.ensemble.member_terms import stack_terms
from tandem.ensemble.stacking import write_stack
from tandem.logits import sigmoid
from tandem.metrics import log_loss
from tandem.runtime.resources import peak_mb, threads

FACTORS, FOLDS = 12, 5
READS = [{"image"}, {"image"}, {"caption"}, {"image", "caption"}]  # of four members


@dataclass(frozen=True)
class Simulated:
    probas: dict[str, np.ndarray]  # (n, c) of each member
    y: np.ndarray  # (n, c) u1
    fold: np.ndarray  # (n,)


def simulate(n: int, c: int, seed: int = 0) -> Simulated:
    """At least one label a row; rates fall from 30 % to 0.1 % of the rows and sum to three at most."""
    rng = np.random.default_rng(seed)
    rate = np.geomspace(0.3, 0.001, c)
    rate *= min(1.0, 3.0 / rate.sum())
    loadings = rng.normal(size=(FACTORS, c)) * (rng.random((FACTORS, c)) < 0.3)
    truth = rng.normal(size=(n, FACTORS)) @ loadings + 1.5 * rng.normal(size=(n, c))
    truth = (truth + 1.3 * np.log(rate / (1 - rate))).astype(np.float32)
    y = (rng.random((n, c), dtype=np.float32) < sigmoid(truth)).astype(np.uint8)
    y[y.sum(1) == 0, 0] = 1
    center, probas = truth.mean(0), {}
    for i in range(len(READS)):
        quality = rng.uniform(0.3, 1.5, c).astype(np.float32)  # of the member for each label
        shared = rng.normal(size=(n, 4)) @ rng.normal(size=(4, c)) * 0.5
        noise = shared + rng.standard_normal((n, c), np.float32) * quality
        seen = center + (truth - center + noise) * rng.uniform(0.5, 1.1) + rng.normal() * 0.2
        probas[f"m{i}"] = sigmoid(seen).astype(np.float32)
    return Simulated(probas, y, np.arange(n) % FOLDS)


def fit(rows: Simulated) -> tuple[StackFit, float, float]:
    """(the stack, seconds on the clock, of the processor)."""
    ids, names = ([str(i) for i in range(length)] for length in rows.y.shape)
    start, before = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fitted = fit_stack(rows.probas, None, rows.y, rows.fold, 0, threads(), unfinished=folder / "unfinished")
        write_stack(folder, fitted.stack)
        terms = stack_terms(fitted.contributions, list(map(term_of, READS)), None)
        write_contributions(folder / "contributions.parquet", names, [("train", ids, terms)])
    return fitted, time.perf_counter() - start, time.process_time() - before


def report(n: int, c: int, rows: Simulated, form: str = "") -> tuple[float, float]:
    """Prints times and losses; (seconds on the clock, of the processor)."""
    fitted, clock, processor = fit(rows)
    loss, mean = log_loss(rows.y, fitted.proba), fitted.summary["candidates"]["mean"]
    print(f"{n:,} x {c}{form}: {clock:.1f} s, processor {processor:.1f} s, peak {peak_mb():,} MB")
    print(f"  log loss {loss:.5f}, of the plain mean {mean:.5f}", flush=True)
    return clock, processor


def compare(n: int, c: int) -> None:
    """Both forms of the second level."""
    rows, switch = simulate(n, c), fitting.MANY_LABELS
    for form, fitting.MANY_LABELS in ((", LightGBM and logistic regression", c + 1), (", linear", c)):
        report(n, c, rows, form)
    fitting.MANY_LABELS = switch


def main() -> None:
    for n, c in ((1000, 10), (1000, 20)):
        compare(n, c)
    used = [report(5000, c, simulate(5000, c)) for c in (75, 300)]
    print(f"figure stack_300_seconds {used[1][0]:.1f} s")
    print(f"figure stack_300_processor_seconds {used[1][1]:.1f} s")
    print(f"figure labels_exponent {math.log(used[1][1] / used[0][1]) / math.log(4):.2f}")
    if os.environ.get("LONG"):
        clock, processor = report(20_000, 1103, simulate(20_000, 1103))
        print(f"figure stack_1103_seconds {clock:.1f} s")
        print(f"figure stack_1103_processor_seconds {processor:.1f} s")


if __name__ == "__main__":
    main()

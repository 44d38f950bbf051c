"""The report: seconds and megabytes for 8,000 rows, with 18 and with 500 labels.

Simulated rows: images of 320 x 240 pixels, captions of ten words, probabilities as good as those of a stack, decoded
at 0.5 (decode.py measures decoding). From arrays to the finished page; the images are the only files read.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tandem.artifacts.contributions import TERMS
from tandem.decoding import Decoder, Rule, default_decoder
from tandem.logits import logit, sigmoid
from tandem.metrics import METRICS, log_loss, mean_average_precision
from tandem.report.data_model import FocusExperiment, ReportData, ScoredExperiment, Split
from tandem.report.page import build

ROWS, TEST_ROWS, FOLDS = 8000, 2000, 5
PHOTOS = 200  # files, each the image of 40 rows: the cost is in opening them


def photos(folder: Path, rng: np.random.Generator) -> list[Path]:
    files = []
    for i in range(PHOTOS):
        coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8))
        files.append(folder / f"{i}.jpg")
        coarse.resize((320, 240), Image.Resampling.BICUBIC).save(files[-1], quality=85)
    return files


def split(n: int, files: list[Path], rng: np.random.Generator) -> Split:
    words = np.array([f"word{k}" for k in range(2000)])
    captions = [" ".join(row) for row in words[(rng.pareto(1.0, (n, 10)) * 5).astype(int) % 2000]]
    sizes = np.column_stack([np.full(n, 320), np.full(n, 240), rng.integers(9000, 20000, n)])
    return Split([f"{i}.jpg" for i in range(n)], [files[i % PHOTOS] for i in range(n)], captions, sizes)


def report_data(c: int, files: list[Path]) -> ReportData:
    rng = np.random.default_rng(0)
    prior = np.concatenate([[0.76], np.geomspace(0.15, 0.008, c - 1) * min(1.0, 18 / c)])
    y = (rng.random((ROWS, c)) < prior).astype(np.uint8)
    y[y.sum(1) == 0, 0] = 1
    z = logit(prior) * 0.6 + 2.4 * (2.0 * y - 1) + 1.8 * rng.standard_normal((ROWS, c))
    proba, fold = sigmoid(z).astype(np.float32), np.arange(ROWS) % FOLDS
    names, rule = tuple(f"label {j}" for j in range(c)), Rule()
    decoder = Decoder(default_decoder(rule.metric), rule, np.full(c, 0.5))
    test, pred = proba[rng.permutation(ROWS)[:TEST_ROWS]], decoder(proba)
    f = {name: metric(y, pred) for name, metric in METRICS.items()}
    same = {"score": f["f1_samples"], "in_sample": f["f1_samples"], "optimism": 0.0}
    scores = same | f | {"metric": "f1_samples", "decoder": decoder.name, "fold_spread": 0.0, "rows": ROWS}
    scores["decoders"] = {decoder.name: same | {"gain": 0.0, "low": 0.0, "high": 0.0}}
    scores |= {"map": mean_average_precision(y, proba), "log_loss": log_loss(y, proba)}
    scores["labels_per_row"] = float(pred.sum(1).mean())
    terms = rng.normal(size=(ROWS, c, len(TERMS))).astype(np.float32)
    run, modalities = {"seconds": 60.0, "model_mb": 50.0}, frozenset({"image", "caption"})
    scored = ScoredExperiment("stack", scores, run, proba, modalities)
    focus = FocusExperiment(
        **vars(scored), pred=pred, recipe=decoder.to_json(names), terms=terms, test_pred=decoder(test)
    )
    train, unseen = split(ROWS, files, rng), split(TEST_ROWS, files, rng)
    features = tuple(rng.normal(size=(n, 1280)).astype(np.float32) for n in (ROWS, TEST_ROWS))
    group = np.arange(ROWS)
    return ReportData("bench", rule, names, y, fold, group, train, unseen, [scored], focus, features)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = photos(Path(folder), np.random.default_rng(0))
        for c in (18, 500):
            found = report_data(c, files)
            clock, cpu = time.perf_counter(), time.process_time()
            html = build(found)
            print(f"figure report_{c}_labels {time.perf_counter() - clock:.1f} s")
            print(f"figure report_{c}_labels_cpu {time.process_time() - cpu:.1f} s")
            print(f"figure report_{c}_labels_size {len(html.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

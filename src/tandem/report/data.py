"""Section Data: label frequency and co-occurrence, folds, captions, image sizes, findings of the data check."""

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from tandem.data.caption_words import word_counts
from tandem.data.folds import label_shares
from tandem.report.charts import ACCENT, SECOND, chart
from tandem.report.data_model import FocusExperiment, ReportData

FREQUENT = 30  # labels in the table of co-occurrence


def label_counts(data: ReportData) -> list[dict]:
    """One row per label: rows that have it, rows where it is unknown, its share of the others, in all and each fold."""
    shares, counts, rows = label_shares(data.y, data.fold, data.known), data.y.sum(0, dtype=int).tolist(), []
    for name, n, unknown, row in zip(data.names, counts, data.unknown.tolist(), shares.tolist(), strict=True):
        *folds, overall = row
        worst = max((share - overall for share in folds), key=abs)
        rows.append({"name": name, "rows": n, "unknown": unknown, "share": overall, "folds": folds, "worst": worst})
    return rows


def co_occurrence(y: np.ndarray, names: tuple[str, ...], known: np.ndarray | None = None) -> dict:
    """For the most frequent labels: `rows` of {name, cells}. A cell is [share of the row's images that also have the
    column's label, lift over the column's overall share, rows with both]; None on the diagonal. Only images where the
    column's label is `known` count."""
    frequent = np.sort(np.argsort(-y.sum(0), kind="stable")[:FREQUENT])
    present = y[:, frequent].astype(np.int64)
    told = np.ones_like(present) if known is None else known[:, frequent].astype(np.int64)
    both, count, share = present.T @ present, present.T @ told, present.sum(0) / np.maximum(told.sum(0), 1)
    rows = []
    for a, j in enumerate(frequent):
        given = both[a] / np.maximum(count[a], 1)
        figures = zip(given.tolist(), (given / np.maximum(share, 1e-9)).tolist(), both[a].tolist(), strict=True)
        cells = [None if a == b else [round(g, 4), round(x, 2), n] for b, (g, x, n) in enumerate(figures)]
        rows.append({"name": names[j], "cells": cells})
    return {"names": [names[j] for j in frequent], "rows": rows, "left_out": y.shape[1] - len(frequent)}


def labels_per_row(data: ReportData, focus: FocusExperiment | None) -> list[list[float]]:
    """[number of labels, share of rows with so many true labels, predicted out of fold, predicted on test]; true and
    out of fold without unknown labels."""
    tables = [data.y] if focus is None else [data.y, data.counted(focus.pred), focus.test_pred]
    sizes = [table.sum(1).astype(int) for table in tables if table is not None]
    most = max(int(s.max()) for s in sizes)
    shares = [np.bincount(s, minlength=most + 1) / len(s) for s in sizes]
    rows = [[k, *(float(share[k]) for share in shares)] for k in range(most + 1)]
    return [row for row in rows if any(row[1:])]


def caption_chart(data: ReportData) -> Markup | None:
    """Histogram of words per caption, train and test; None without captions."""
    if not data.train.captions:
        return None
    captions = {"train": data.train.captions, "test": data.test.captions if data.test else None}
    lengths = {split: word_counts(texts) for split, texts in captions.items() if texts}
    high = int(np.quantile(np.concatenate(list(lengths.values())), 0.995)) + 1
    edges = np.arange(high + 2) - 0.5 if high <= 60 else np.linspace(0, high, 61)

    def draw(axes: Axes) -> None:
        filled: dict = {"histtype": "stepfilled", "color": ACCENT, "alpha": 0.35}
        for split, values in lengths.items():
            style = filled if split == "train" else {"histtype": "step", "color": SECOND}
            weights, label = np.full(len(values), 100 / len(values)), f"{split}, mean {values.mean():.1f}"
            axes.hist(np.clip(values, 0, high), edges.tolist(), weights=weights, label=label, **style)
        axes.legend()
        axes.set(xlabel="words per caption", ylabel="% of rows")

    return chart("words", "histogram of words per caption", draw)


def size_chart(data: ReportData) -> Markup | None:
    """Width against height of the images, train and test; the area of a point grows with the number of images. None
    without images."""
    if not data.train.files:
        return None

    def draw(axes: Axes) -> None:
        splits = {"train": (data.train, ACCENT), "test": (data.test, SECOND)}
        for split, (rows, colour) in splits.items():
            if rows is None or not len(rows.ids):
                continue
            step = max(1, int(rows.sizes[:, :2].max() / 60))
            at, counts = np.unique(rows.sizes[:, :2] // step * step, axis=0, return_counts=True)
            area = 6 + 180 * counts / counts.sum()
            face = colour if split == "train" else "none"
            axes.scatter(at[:, 0], at[:, 1], s=area, facecolor=face, edgecolor=colour, alpha=0.6, lw=0.8, label=split)
        for handle in axes.legend(markerscale=1).legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([22])
        axes.set(xlabel="width, pixels", ylabel="height, pixels")

    return chart("sizes", "width and height of the images", draw)

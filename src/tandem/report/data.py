"""Section Data: label frequency and co-occurrence, folds, captions, image sizes, findings of the data check."""

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

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

    def draw(axes: Axes) -> None:
        histogram(axes, lengths)
        axes.legend([f"{split}, mean {values.mean():.1f}" for split, values in lengths.items()])
        axes.set(xlabel="words per caption", ylabel="% of rows")

    means = ", ".join(f"{split} {values.mean():.1f}" for split, values in lengths.items())
    return chart("words", f"words per caption: mean of {means}", draw)


def size_chart(data: ReportData) -> Markup | None:
    """Histograms of width and height of the images, train and test; None without images."""
    if not data.train.files:
        return None
    splits = {"train": data.train, "test": data.test}
    sizes = {split: rows.sizes for split, rows in splits.items() if rows is not None and len(rows.ids)}

    def draw(*panels: Axes) -> None:
        for column, (axes, side) in enumerate(zip(panels, ("width", "height"), strict=True)):
            histogram(axes, {split: rows[:, column] for split, rows in sizes.items()})
            axes.set(xlabel=f"{side}, pixels", ylabel="" if column else "% of images")
        panels[0].legend(sizes)

    middle = (f"{split} {np.median(rows[:, 0]):.0f} x {np.median(rows[:, 1]):.0f}" for split, rows in sizes.items())
    return chart("sizes", f"width and height of the images, pixels: median of {', '.join(middle)}", draw, 4.6, 2.5, 2)


def histogram(axes: Axes, values: Mapping[str, np.ndarray]) -> None:
    """The share of each split's rows, the first filled, the second as a line; values beyond the 99.5 % quantile count
    as this."""
    together = np.concatenate(list(values.values()))
    low, high = int(together.min()), int(np.quantile(together, 0.995)) + 1
    edges = np.arange(low, high + 2) - 0.5 if high - low <= 60 else np.linspace(low, high, 41)
    styles: list[dict] = [
        {"histtype": "stepfilled", "color": ACCENT, "alpha": 0.35},
        {"histtype": "step", "color": SECOND},
    ]
    for (split, found), style in zip(values.items(), styles, strict=False):
        weights = np.full(len(found), 100 / len(found))
        axes.hist(np.clip(found, low, high), edges.tolist(), weights=weights, label=split, **style)

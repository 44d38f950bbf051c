"""Section Data: label frequency and co-occurrence, folds, captions, image sizes, findings of the data check."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from tandem.data.folds import label_shares
from tandem.report.charts import ACCENT, SECOND, chart, label_axes
from tandem.report.data_model import FocusExperiment, ReportData

FREQUENT = 30  # labels in the table of co-occurrence


def label_counts(data: ReportData) -> list[dict]:
    """One row per label: rows that have it, their share, the share in each fold."""
    folds = None
    if data.fold is not None:
        folds = label_shares(data.y, data.fold, int(data.fold.max()) + 1)
    rows = []
    for j, name in enumerate(data.names):
        row = {"name": name, "rows": int(data.y[:, j].sum()), "share": float(data.y[:, j].mean())}
        if folds is not None:
            row["folds"] = folds[j, :-1].tolist()
            off = folds[j, :-1] - folds[j, -1]
            row["worst"] = float(off[np.abs(off).argmax()])
        rows.append(row)
    return rows


def fold_sizes(fold: np.ndarray | None) -> list[int]:
    return [] if fold is None else np.bincount(fold).tolist()


def co_occurrence(y: np.ndarray, names: tuple[str, ...]) -> dict:
    """Of the most frequent labels: `rows` of {name, cells}. A cell is [share of the row's images that also have the
    column's label, lift over the column's overall share, rows with both]; None on the diagonal."""
    frequent = np.sort(np.argsort(-y.sum(0), kind="stable")[:FREQUENT])
    both = y[:, frequent].astype(np.int64).T @ y[:, frequent]
    count, share = np.diag(both), y[:, frequent].mean(0)
    rows = []
    for a, j in enumerate(frequent):
        given = both[a] / max(count[a], 1)
        lift = given / np.maximum(share, 1e-9)
        cells: list[list[float] | None] = [
            [round(float(g), 4), round(float(x), 2), int(n)] for g, x, n in zip(given, lift, both[a], strict=True)
        ]
        cells[a] = None
        rows.append({"name": names[j], "cells": cells})
    return {"names": [names[j] for j in frequent], "rows": rows, "left_out": y.shape[1] - len(frequent)}


def labels_per_row(y: np.ndarray, focus: FocusExperiment | None) -> list[list[float]]:
    """[number of labels, share of rows with so many true labels, predicted out of fold, predicted on test]."""
    tables = [y] if focus is None else [y, focus.pred, focus.test_pred]
    sizes = [table.sum(1).astype(int) for table in tables if table is not None]
    most = max(int(s.max()) for s in sizes)
    shares = [np.bincount(s, minlength=most + 1) / len(s) for s in sizes]
    rows = [[k, *(float(share[k]) for share in shares)] for k in range(most + 1)]
    return [row for row in rows if any(row[1:])]


def word_counts(captions: Sequence[str]) -> np.ndarray:
    return np.array([len(caption.split()) for caption in captions])


def caption_chart(data: ReportData) -> Markup | None:
    """Histogram of words per caption, train and test; None without captions."""
    if not data.train.captions:
        return None
    lengths = {"train": word_counts(data.train.captions)}
    if data.test is not None and data.test.captions:
        lengths["test"] = word_counts(data.test.captions)
    high = int(np.quantile(np.concatenate(list(lengths.values())), 0.995)) + 1
    edges = np.arange(high + 2) - 0.5 if high <= 60 else np.linspace(0, high, 61)

    def draw(axes: Axes) -> None:
        for (split, values), colour in zip(lengths.items(), (ACCENT, SECOND), strict=False):
            weights = np.full(len(values), 100 / len(values))
            filled = split == "train"
            axes.hist(
                np.clip(values, 0, high),
                edges.tolist(),
                weights=weights,
                histtype="stepfilled" if filled else "step",
                color=colour,
                alpha=0.35 if filled else 1.0,
                label=f"{split}, mean {values.mean():.1f}",
            )
        axes.legend()
        label_axes(axes, "words per caption", "% of rows")

    return chart("words", "histogram of words per caption", draw)


def size_chart(data: ReportData) -> Markup:
    """Width against height of the images, train and test; the area of a point grows with the number of images."""

    def draw(axes: Axes) -> None:
        splits = {"train": data.train, "test": data.test}
        for (split, rows), colour in zip(splits.items(), (ACCENT, SECOND), strict=True):
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
        label_axes(axes, "width, pixels", "height, pixels")

    return chart("sizes", "width and height of the images", draw)


def findings(report: dict | None) -> dict | None:
    """The problems that the data check reported, and its findings: repaired rows and others; None without a report."""
    if report is None:
        return None
    split: dict[bool, list[dict]] = {True: [], False: []}
    for finding in report["findings"]:
        split[finding["kind"] == "repaired row"].append(finding)
    return {"problems": report["problems"], "repaired": split[True], "others": split[False]}

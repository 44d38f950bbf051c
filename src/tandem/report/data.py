"""Section Data: how often labels occur, alone and together, in every fold; captions, image sizes, repaired rows."""

import numpy as np

from tandem.data.folds import label_shares
from tandem.report.charts import ACCENT, SECOND, chart, quiet
from tandem.report.data_model import Evidence

TOGETHER = 30  # labels in the table of co-occurrence
FINDINGS = 200  # of the doctor's, shown


def label_counts(evidence: Evidence) -> list[dict]:
    """A row a label: rows that have it, its share, the share predicted on the test rows, the folds' shares."""
    y, subject = evidence.y, evidence.subject
    test = subject.test_pred.mean(0) if subject is not None and subject.test_pred is not None else None
    folds = None
    if evidence.fold is not None:
        folds = label_shares(y, evidence.fold, int(evidence.fold.max()) + 1)
    rows = []
    for j, name in enumerate(evidence.names):
        row = {"name": name, "rows": int(y[:, j].sum()), "share": float(y[:, j].mean())}
        row["test"] = None if test is None else float(test[j])
        if folds is not None:
            row["folds"] = folds[j, :-1].tolist()
            off = folds[j, :-1] - folds[j, -1]
            row["worst"] = float(off[np.abs(off).argmax()])
        rows.append(row)
    return rows


def fold_sizes(fold: np.ndarray | None) -> list[int]:
    return [] if fold is None else np.bincount(fold).tolist()


def co_occurrence(y: np.ndarray, names: tuple[str, ...]) -> dict:
    """Of the most frequent labels: `rows` of {name, cells}, a cell being [share of the row's images that have the
    column's label too, lift over its overall share, rows with both]."""
    often = np.sort(np.argsort(-y.sum(0), kind="stable")[:TOGETHER])
    both = y[:, often].astype(np.int64).T @ y[:, often]
    count, share = np.diag(both), y[:, often].mean(0)
    rows = []
    for a, j in enumerate(often):
        given = both[a] / max(count[a], 1)
        lift = given / np.maximum(share, 1e-9)
        cells = [
            [round(float(g), 4), round(float(x), 2), int(n)]
            for g, x, n in zip(given, lift, both[a], strict=True)
        ]
        cells[a] = None
        rows.append({"name": names[j], "count": int(count[a]), "cells": cells})
    return {"names": [names[j] for j in often], "rows": rows, "left_out": y.shape[1] - len(often)}


def labels_per_row(evidence: Evidence) -> list[list[float]]:
    """[number of labels, share of rows that have so many, share that got so many out of fold, and in test]."""
    subject = evidence.subject
    sizes = [evidence.y.sum(1)]
    if subject is not None:
        sizes.append(subject.pred.sum(1))
        if subject.test_pred is not None:
            sizes.append(subject.test_pred.sum(1))
    most = max(int(s.max()) for s in sizes)
    shares = [np.bincount(s.astype(int), minlength=most + 1) / len(s) for s in sizes]
    rows = [[k, *(float(share[k]) for share in shares)] for k in range(most + 1)]
    return [row for row in rows if any(row[1:])]


def words(captions) -> np.ndarray:
    return np.array([len(caption.split()) for caption in captions])


def caption_chart(evidence: Evidence):
    """Words a caption, train and test; None where there are no captions."""
    if not evidence.train.captions:
        return None
    lengths = {"train": words(evidence.train.captions)}
    if evidence.test is not None and evidence.test.captions:
        lengths["test"] = words(evidence.test.captions)
    high = int(np.quantile(np.concatenate(list(lengths.values())), 0.995)) + 1
    edges = np.arange(high + 2) - 0.5 if high <= 60 else np.linspace(0, high, 61)

    def draw(axes) -> None:
        for (split, values), colour in zip(lengths.items(), (ACCENT, SECOND), strict=False):
            weights = np.full(len(values), 100 / len(values))
            filled = split == "train"
            axes.hist(
                np.clip(values, 0, high),
                edges,
                weights=weights,
                histtype="stepfilled" if filled else "step",
                color=colour,
                alpha=0.35 if filled else 1.0,
                label=f"{split}, mean {values.mean():.1f}",
            )
        axes.legend()
        quiet(axes, "words a caption", "% of rows")

    return chart("words", "histogram of words a caption", draw)


def size_chart(evidence: Evidence):
    """Width against height of the images, train and test; a point a size, larger where there are more."""

    def draw(axes) -> None:
        splits = {"train": evidence.train, "test": evidence.test}
        for (split, rows), colour in zip(splits.items(), (ACCENT, SECOND), strict=True):
            if rows is None or not len(rows.ids):
                continue
            step = max(1, int(rows.sizes[:, :2].max() / 60))
            at, counts = np.unique(rows.sizes[:, :2] // step * step, axis=0, return_counts=True)
            area = 6 + 180 * counts / counts.sum()
            face = colour if split == "train" else "none"
            axes.scatter(*at.T, s=area, facecolor=face, edgecolor=colour, alpha=0.6, lw=0.8, label=split)
        legend = axes.legend(markerscale=1)
        for handle in legend.legend_handles:
            handle.set_sizes([22])
        quiet(axes, "width, pixels", "height, pixels")

    return chart("sizes", "width and height of the images", draw)


def findings(evidence: Evidence) -> dict | None:
    """The doctor's problems, and the rows that were repaired while reading; None without a check."""
    check = evidence.findings
    if check is None:
        return None
    repaired = [f for f in check["findings"] if f["kind"] == "repaired row"]
    others = [f for f in check["findings"] if f["kind"] != "repaired row"]
    return {
        "problems": check["problems"],
        "repaired": repaired[:FINDINGS],
        "repaired_count": len(repaired),
        "others": others[:FINDINGS],
        "others_count": len(others),
    }

"""Section Decoding: what every decoder scores, and how often each label is predicted, out of fold and in test."""

import numpy as np

from tandem.data.submission import drift
from tandem.decoding import DECODERS, default_decoder
from tandem.report.charts import ACCENT, MUTED, WARM, chart, logarithmic, quiet
from tandem.report.data_model import Evidence


def decoders(scores: dict) -> list[dict]:
    """A row a decoder; gains are over the one that `stays`, with their paired 95 % interval."""
    return [
        {
            "name": name,
            "about": DECODERS.get(name, ""),
            "used": name == scores["decoder"],
            "stays": name == default_decoder(scores["metric"]),
        }
        | figures
        | {"real": figures["low"] > 0 or figures["high"] < 0}
        for name, figures in scores["decoders"].items()
    ]


def rates(evidence: Evidence) -> list[dict]:
    """A row a label: the share of rows that have it, that got it out of fold, and in test; `drifts` beyond chance."""
    subject, y = evidence.subject, evidence.y
    oof = subject.pred.mean(0)
    test = subject.test_pred.mean(0) if subject.test_pred is not None else None
    off = {}
    if test is not None:
        named = (dict(zip(evidence.names, r.tolist(), strict=True)) for r in (oof, test))
        off = drift(*named, len(y), len(subject.test_pred))
    return [
        {
            "name": name,
            "true": float(y[:, j].mean()),
            "oof": float(oof[j]),
            "test": None if test is None else float(test[j]),
            "drifts": name in off,
        }
        for j, name in enumerate(evidence.names)
    ]


def rate_chart(rows: list[dict]):
    """Predicted on test against predicted out of fold, both logarithmic; None without test predictions."""
    shown = [row for row in rows if row["test"] is not None and row["oof"] > 0 and row["test"] > 0]
    if not shown:
        return None
    x, y = (np.array([100 * row[key] for row in shown]) for key in ("oof", "test"))
    low, high = min(x.min(), y.min()) / 1.4, max(x.max(), y.max()) * 1.4

    def draw(axes) -> None:
        for axis in (axes.xaxis, axes.yaxis):
            logarithmic(axis, low, high)
        axes.plot([low, high], [low, high], color=MUTED, lw=0.8, zorder=1)
        colours = [WARM if row["drifts"] else ACCENT for row in shown]
        axes.scatter(x, y, s=22, color=colours, zorder=2)
        far = np.argsort(-np.abs(np.log(y / x)))[:6]
        for i in far:
            axes.annotate(
                shown[i]["name"][:16],
                (x[i], y[i]),
                (5, 3),
                textcoords="offset points",
                fontsize=8,
                color=MUTED,
            )
        axes.set(xlim=(low, high), ylim=(low, high))
        quiet(axes, "% predicted out of fold", "% predicted on test")

    return chart("rates", "predicted rate of each label out of fold and on the test rows", draw, 3.9, 3.2)

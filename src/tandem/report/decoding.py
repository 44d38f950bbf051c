"""Section Decoding: the score of every decoder, and the predicted rate of each label, out of fold and on test."""

from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from tandem.data.submission import detect_drift
from tandem.decoding import Rule, default_decoder
from tandem.decoding.decoder import about
from tandem.report.charts import ACCENT, MUTED, WARM, chart, logarithmic
from tandem.report.data_model import FocusExperiment, ReportData

NAMED = 6  # points of the chart with a label name


def decoders(scores: dict, rule: Rule) -> list[dict]:
    """One row per decoder; `gain` is over the one marked `reference`, with its paired 95 % interval."""
    used, reference = scores["decoder"], default_decoder(rule.metric)
    return [
        {"name": name, "about": about(name, rule), "used": name == used, "reference": name == reference} | figures
        for name, figures in scores["decoders"].items()
    ]


def rates(data: ReportData, focus: FocusExperiment) -> list[dict]:
    """One row per label: the share of rows that have it, of those where it is known, that get it out of fold and on
    test, and whether it drifts."""

    def rate_of(table: np.ndarray) -> dict[str, float]:
        return dict(zip(data.names, table.mean(0).tolist(), strict=True))

    share = len(data.y) / np.maximum(len(data.y) - data.unknown, 1)  # of all rows, in those where the label is known
    true, oof, test, drifting = rate_of(data.y * share), rate_of(focus.pred), dict[str, float](), dict[str, dict]()
    if focus.test_pred is not None:
        test = rate_of(focus.test_pred)
        drifting = detect_drift(oof, test, len(np.unique(data.group)), len(focus.test_pred))
    return [
        {"name": name, "true": true[name], "oof": oof[name], "test": test.get(name), "drifts": name in drifting}
        for name in data.names
    ]


def rate_chart(rows: list[dict]) -> Markup | None:
    """Predicted on test against predicted out of fold, both logarithmic; None without test predictions."""
    shown = [row for row in rows if row["test"] is not None and row["oof"] > 0 and row["test"] > 0]
    if not shown:
        return None
    x, y = (np.array([100 * row[key] for row in shown]) for key in ("oof", "test"))
    low, high = min(x.min(), y.min()) / 1.4, max(x.max(), y.max()) * 1.4

    def draw(axes: Axes) -> None:
        for axis in (axes.xaxis, axes.yaxis):
            logarithmic(axis, low, high)
        axes.plot([low, high], [low, high], color=MUTED, lw=0.8, zorder=1)
        colours = [WARM if row["drifts"] else ACCENT for row in shown]
        axes.scatter(x, y, s=22, color=colours, zorder=2)
        style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "color": MUTED}
        for i in np.argsort(-np.abs(np.log(y / x)))[:NAMED]:
            axes.annotate(shown[i]["name"][:16], (x[i], y[i]), (5, 3), parse_math=False, **style)
        axes.set(xlim=(low, high), ylim=(low, high), xlabel="% predicted out of fold", ylabel="% predicted on test")

    return chart("rates", "predicted rate of each label out of fold and on the test rows", draw, 3.9, 3.2)

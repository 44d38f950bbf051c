"""Section Decoding: the score of every decoder, and the predicted rate of each label, out of fold and on test."""

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from tandem.data.submission import detect_drift
from tandem.decoding import Rule, default_decoder
from tandem.decoding.decoder import about
from tandem.report.charts import ACCENT, SURFACE, WARM, chart, logarithmic, rows_of_points
from tandem.report.data_model import FocusExperiment, ReportData

SHOWN = 40  # labels in the chart


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
    """Predicted on test (hollow) and out of fold (filled), one row per label, the largest ratio first; a label that
    differs significantly has a square. None without test predictions."""
    compared = [row for row in rows if row["test"] is not None and row["oof"] > 0 and row["test"] > 0]
    if not compared:
        return None
    compared.sort(key=lambda row: (not row["drifts"], -abs(np.log(row["test"] / row["oof"]))))
    shown, drifting = compared[:SHOWN], [row["name"] for row in compared if row["drifts"]]
    rates = [100 * row[key] for row in shown for key in ("oof", "test")]

    def draw(axes: Axes) -> None:
        rows_of_points(axes, [row["name"][:24] for row in shown])
        logarithmic(axes.xaxis, min(rates) / 1.4, max(rates) * 1.4)
        for i, row in enumerate(shown):
            x, y = 100 * row["oof"], 100 * row["test"]
            colour, marker = (WARM, "s") if row["drifts"] else (ACCENT, "o")
            axes.plot([x, y], [i, i], color=colour, lw=1)
            axes.plot(y, i, marker, ms=8, mec=colour, mfc=SURFACE)  # the smaller point is drawn above it
            axes.plot(x, i, marker, ms=4, color=colour)
        axes.set(xlim=(min(rates) / 1.4, max(rates) * 1.4), xlabel="% of rows: small filled out of fold, hollow test")

    about = f"{len(drifting)} of {len(compared)} labels are predicted at a significantly different rate on test"
    about += f": {', '.join(drifting[:5])}" if drifting else ": nothing beyond chance"
    return chart("rates", about, draw, 4.4, 0.7 + 0.24 * len(shown))

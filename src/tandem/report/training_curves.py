"""Section Training: loss and F1 of every epoch, a line a fold."""

from collections.abc import Sequence

import numpy as np

from tandem.report.charts import ACCENT, SECOND, chart, logarithmic, quiet
from tandem.report.data_model import Scored

SHOWN = 16  # experiments with a chart


def curves(logs: dict[int, list[dict]], key: str) -> list[list[float]]:
    """One list of values an epoch for each fold and bag; empty where the logs have no `key`."""
    found: dict[tuple[int, int], list[float]] = {}
    for fold, log in sorted(logs.items()):
        for entry in log:
            if key in entry:
                found.setdefault((fold, entry.get("bag", 0)), []).append(float(entry[key]))
    return list(found.values())


def still_falling(logs: dict[int, list[dict]]) -> float | None:
    """By how much of itself the loss fell in the last epoch, mean over the lines; None for fewer than two epochs."""
    lines = [line for line in curves(logs, "loss") if len(line) > 1 and line[-2] > 0]
    return float(np.mean([1 - line[-1] / line[-2] for line in lines])) if lines else None


def last(logs: dict[int, list[dict]], key: str) -> float | None:
    lines = curves(logs, key)
    return float(np.mean([line[-1] for line in lines])) if lines else None


def training(experiments: Sequence[Scored]) -> list[dict]:
    """An entry for each experiment that has a log: its last loss and F1 on the rows trained on, and a chart."""
    logged = [e for e in experiments if curves(e.logs, "loss")][:SHOWN]
    return [
        {
            "name": e.name,
            "epochs": max(len(line) for line in curves(e.logs, "loss")),
            "lines": len(curves(e.logs, "loss")),
            "folds": len(e.logs),
            "loss": last(e.logs, "loss"),
            "f1": last(e.logs, "f1"),
            "score": e.scores["f1_samples"],
            "falling": still_falling(e.logs),
            "chart": _chart(e),
        }
        for e in logged
    ]


def _chart(experiment: Scored):
    loss, f1 = curves(experiment.logs, "loss"), curves(experiment.logs, "f1")

    def draw(axes) -> None:
        panels = np.atleast_1d(axes)
        for panel, lines, colour, name in zip(
            panels, (loss, f1), (ACCENT, SECOND), ("loss", "F1 per row, rows trained on"), strict=False
        ):
            for line in lines:
                marker = "o" if len(line) < 3 else None
                panel.plot(
                    range(1, len(line) + 1), line, color=colour, lw=1.1, alpha=0.6, marker=marker, ms=3
                )
            panel.xaxis.get_major_locator().set_params(integer=True)
            quiet(panel, "epoch", "", name)
        if min(min(line) for line in loss) > 0:
            logarithmic(panels[0].yaxis, min(map(min, loss)), max(map(max, loss)))

    name = "training-" + experiment.name
    panels = 2 if f1 else 1
    return chart(name, f"training of {experiment.name}", draw, 4.6 if f1 else 2.6, 2.1, panels)

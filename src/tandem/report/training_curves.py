"""Section Training: loss and F1 of every epoch, one line per fold."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from tandem.metrics import f1_samples
from tandem.report.charts import ACCENT, SECOND, chart, logarithmic
from tandem.report.data_model import ScoredExperiment

CHARTS = 16  # experiments with a chart


def curves(logs: dict[int, list[dict]], key: str) -> list[list[float]]:
    """The values of each epoch, one list per fold, seed and bag; empty if the logs have no `key`."""
    lines: dict[tuple[int, int, int], list[float]] = {}
    for fold, log in sorted(logs.items()):
        for entry in log:
            if key in entry:
                lines.setdefault((fold, entry.get("seed", 0), entry.get("bag", 0)), []).append(float(entry[key]))
    return list(lines.values())


def measured(logs: dict[int, list[dict]]) -> list[list[tuple[int, float]]]:
    """(epoch, F1 per row of the held-out fold) of the epochs that have one, one list per fold, seed and bag."""
    lines: dict[tuple[int, int, int], list[tuple[int, float]]] = {}
    for fold, log in sorted(logs.items()):
        for entry in log:
            if "held_out_f1" in entry:
                line = lines.setdefault((fold, entry.get("seed", 0), entry.get("bag", 0)), [])
                line.append((entry["epoch"], float(entry["held_out_f1"])))
    return list(lines.values())


def last_decrease(logs: dict[int, list[dict]]) -> float | None:
    """Relative decrease of the loss in the last epoch, mean over the lines; None for fewer than two epochs."""
    lines = [line for line in curves(logs, "loss") if len(line) > 1 and line[-2] > 0]
    return float(np.mean([1 - line[-1] / line[-2] for line in lines])) if lines else None


def last_value(logs: dict[int, list[dict]], key: str) -> float | None:
    """Mean over the lines of the value in the last epoch; None if the logs have no `key`."""
    lines = curves(logs, key)
    return float(np.mean([line[-1] for line in lines])) if lines else None


def training(experiments: Sequence[ScoredExperiment], y: np.ndarray, known: np.ndarray | None = None) -> list[dict]:
    """One entry per experiment with a log: its last loss, F1 per row at 0.5 of training and held-out rows, a chart."""
    logged = [(e, loss) for e in experiments if (loss := curves(e.logs, "loss"))][:CHARTS]
    return [
        {
            "name": e.name,
            "epochs": max(map(len, loss)),
            "lines": len(loss),
            "folds": len(e.logs),
            "loss": last_value(e.logs, "loss"),
            "f1": last_value(e.logs, "f1"),
            "held_out": f1_samples(y, e.proba > 0.5, known=known),
            "decrease": last_decrease(e.logs),
            "chart": _chart(e.name, loss, curves(e.logs, "f1"), measured(e.logs)),
        }
        for e, loss in logged
    ]


def _chart(
    experiment: str, loss: list[list[float]], f1: list[list[float]], held_out: list[list[tuple[int, float]]]
) -> Markup:
    def draw(*panels: Axes) -> None:
        shown = zip(panels, (loss, f1), (ACCENT, SECOND), ("loss", "F1 per row at 0.5"), strict=False)
        for panel, lines, colour, name in shown:
            for line in lines:
                marker = "o" if len(line) < 3 else None
                panel.plot(range(1, len(line) + 1), line, color=colour, lw=1.1, alpha=0.6, marker=marker, ms=3)
            panel.locator_params("x", integer=True)
            panel.set(xlabel="epoch", title=name)
        for points in held_out if f1 else ():
            epochs, values = zip(*points, strict=True)
            panels[1].plot(epochs, values, color=ACCENT, lw=1.1, alpha=0.7, ls="--", marker="s", ms=3)
        if f1 and held_out:
            panels[1].plot([], [], color=SECOND, label="training rows")
            panels[1].plot([], [], color=ACCENT, ls="--", marker="s", ms=3, label="held-out fold")
            panels[1].legend()
        if min(map(min, loss)) > 0:
            logarithmic(panels[0].yaxis, min(map(min, loss)), max(map(max, loss)))

    about = f"training of {experiment}: loss {np.mean([line[-1] for line in loss]):.4f} after the last epoch"
    if f1:
        about += f", F1 per row of the training rows {np.mean([line[-1] for line in f1]):.2f}"
    if f1 and held_out:
        about += f", of the held-out fold {np.mean([points[-1][1] for points in held_out]):.2f}"
    width, panels = (4.6, 2) if f1 else (2.6, 1)
    return chart(f"training-{experiment}", about, draw, width, 2.1, panels)

"""Section Experiments: the table of scores, and score against training time."""

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from tandem.report.charts import ACCENT, INK, MUTED, WARM, chart, label_axes, logarithmic
from tandem.report.data_model import ScoredExperiment

COLUMNS = ("f1_samples", "f1_micro", "f1_macro", "optimism", "fold_spread", "map", "log_loss")


def metric_names(beta: float) -> dict[str, str]:
    """The displayed names of the F-beta metrics.

    >>> metric_names(2.0)["f1_micro"]
    'micro F2'
    """
    f = f"F{beta:g}"
    return {"f1_samples": f"{f} per row", "f1_micro": f"micro {f}", "f1_macro": f"macro {f}"}


def table(experiments: Sequence[ScoredExperiment], focus: str) -> list[dict]:
    """One row per experiment, best first; below a fusion network its scores without captions and without images."""
    rows = []
    for experiment in sorted(experiments, key=lambda e: -e.scores["score"]):
        scores, metric = experiment.scores, experiment.scores["metric"]
        row = {key: scores[key] for key in COLUMNS}
        row |= {
            "name": experiment.name,
            "focus": experiment.name == focus,
            "modalities": "+".join(sorted(experiment.modalities)),
            "decoder": scores["decoder"],
            "local": experiment.local[metric] if experiment.local else None,
            "seconds": total_seconds(experiment, experiments),
            "mb": experiment.run["model_mb"],
        }
        rows.append(row)
        for lacking, without in scores.get("without", {}).items():
            unknown = dict.fromkeys(("local", "seconds", "mb"))
            texts = {"name": f"{experiment.name} without {lacking}", "modalities": "", "decoder": ""}
            rows.append({key: without[key] for key in COLUMNS} | unknown | texts | {"focus": False})
    return rows


def total_seconds(experiment: ScoredExperiment, experiments: Sequence[ScoredExperiment]) -> float:
    """Training time; of a stack including its members."""
    members = experiment.run.get("members", {})
    own = {e.name: e.run["seconds"] for e in experiments}
    return experiment.run["seconds"] + sum(own.get(name, 0.0) for name in members)


def cost_chart(experiments: Sequence[ScoredExperiment], focus: str) -> Markup | None:
    """Score against training time, error bars from the spread over folds; None for fewer than two experiments."""
    if len(experiments) < 2:
        return None
    scores = {e.name: e.scores["score"] for e in experiments}
    seconds = {e.name: max(total_seconds(e, experiments), 0.1) for e in experiments}
    offsets = _name_offsets(seconds, scores)

    def draw(axes: Axes) -> None:
        logarithmic(axes.xaxis, min(seconds.values()), max(seconds.values()))
        # room for the names, which are to the right of the points
        axes.set_xlim(min(seconds.values()) / 1.5, max(seconds.values()) * 3)
        for e in sorted(experiments, key=lambda e: -e.scores["score"]):
            x, y, bold = seconds[e.name], scores[e.name], e.name == focus
            colour = WARM if bold else ACCENT
            axes.errorbar(x, y, yerr=e.scores["fold_spread"], color=colour, lw=0.9, alpha=0.55, zorder=2)
            axes.scatter(x, y, s=34 if bold else 22, color=colour, zorder=3)
            axes.annotate(
                e.name,
                (x, y),
                (6, offsets[e.name]),
                textcoords="offset points",
                fontsize=8,
                color=INK if bold else MUTED,
                weight="bold" if bold else "normal",
            )
        label_axes(axes, "seconds of training, all folds (log)", "score, cross-fitted")

    return chart("cost", "score of each experiment against its seconds of training", draw, 7.4, 3.6)


def _name_offsets(seconds: dict[str, float], scores: dict[str, float]) -> dict[str, float]:
    """Vertical offset of each name in points, so that names of similar experiments do not overlap."""
    span = max(scores.values()) - min(scores.values()) or 1.0
    line = 0.055 * span  # about the height of a line of text
    offsets: dict[str, float] = {}
    taken: list[tuple[float, float]] = []
    for name in sorted(scores, key=lambda name: scores[name], reverse=True):
        at = scores[name]
        for x, y in taken:
            if 0.2 < x / seconds[name] < 5 and at > y - line:
                at = min(at, y - line)
        taken.append((seconds[name], at))
        offsets[name] = 4 + (at - scores[name]) / line * 10
    return offsets

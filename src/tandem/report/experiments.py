"""Section Experiments: the table of scores, the sampling error of a score, and score against training time."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from tandem.config.metric_names import merit, metric_title
from tandem.decoding.score_interval import half_width
from tandem.report.charts import ACCENT, SURFACE, WARM, chart, rows_of_points
from tandem.report.compare import Gain
from tandem.report.cost import training_seconds
from tandem.report.data_model import FocusExperiment, ReportData, ScoredExperiment

COLUMNS = ("f1_samples", "f1_micro", "f1_macro", "optimism", "fold_spread", "map", "log_loss")  # and the metric


def metric_names(beta: float, metric: str = "f1_samples") -> dict[str, str]:
    """The displayed names of the competition's metric, first, and of the F-beta metrics.

    >>> metric_names(2.0)["f1_micro"], list(metric_names(1.0, "auc_macro"))
    ('micro F2', ['auc_macro', 'f1_samples', 'f1_micro', 'f1_macro'])
    """
    names = dict.fromkeys((metric, "f1_samples", "f1_micro", "f1_macro"))
    return {name: metric_title(name, beta) for name in names}


def table(experiments: Sequence[ScoredExperiment], focus: str) -> list[dict]:
    """One row per experiment, best first; below a fusion network its scores without captions and without images."""
    rows = []
    for experiment in sorted(experiments, key=lambda e: -merit(e.scores)):
        name, scores = experiment.name, experiment.scores
        about = {
            "name": name,
            "focus": name == focus,
            "modalities": "+".join(sorted(experiment.modalities)),
            "decoder": scores["decoder"],
            "local": (experiment.local or {}).get(scores["metric"]),
            "seconds": None if experiment.is_external else total_seconds(experiment, experiments),
            "mb": None if experiment.is_external else experiment.run["model_mb"],
            "marks": experiment.marks,
        }
        columns = (*COLUMNS, scores["metric"])
        rows.append({key: scores[key] for key in columns} | about)
        unknown = dict.fromkeys(("local", "seconds", "mb")) | {
            "focus": False,
            "modalities": "",
            "decoder": "",
            "marks": (),
        }
        if few := scores.get("rows_without_caption"):
            title = f"{name} on {few['rows']:,} rows without a caption"
            few = {scores["metric"]: few["score"]} | few
            rows.append({key: few.get(key) for key in columns} | unknown | {"name": title})
        for lacking, without in scores.get("without", {}).items():
            rows.append({key: without.get(key) for key in columns} | unknown | {"name": f"{name} without {lacking}"})
    return rows


def total_seconds(experiment: ScoredExperiment, experiments: Sequence[ScoredExperiment]) -> float:
    """Training time; of a stack including its members."""
    return training_seconds(experiment.run, {e.name: e.run for e in experiments})


def score_error(data: ReportData, focus: FocusExperiment) -> float:
    """Half the width of the 95 % interval of the cross-fitted score; rows of one group count as one draw."""
    return half_width(data.rule, data.y, focus.scored, data.group, data.known)


def cost_chart(experiments: Sequence[ScoredExperiment], focus: str, gains: Mapping[str, Gain]) -> Markup | None:
    """Scores with their training time, one row each, best first; error bars are the spread over folds, a hollow point
    is not shown to be worse than the best. None for fewer than two experiments."""
    shown = sorted(experiments, key=lambda e: -merit(e.scores))
    if len(shown) < 2:
        return None
    metric = shown[0].scores["metric"]
    costs = ["" if e.is_external else seconds(total_seconds(e, experiments)) for e in shown]

    def draw(axes: Axes) -> None:
        rows_of_points(axes, [e.name for e in shown])
        for row, (e, cost) in enumerate(zip(shown, costs, strict=True)):
            colour = WARM if e.name == focus else ACCENT
            worse = e.name not in gains or gains[e.name].high < 0
            axes.errorbar(e.scores["score"], row, xerr=e.scores["fold_spread"], color=colour, lw=1)
            axes.plot(e.scores["score"], row, "o", ms=7, mec=colour, mfc=colour if worse or not row else SURFACE)
            axes.annotate(
                cost, (1, row), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center"
            )
        axes.set(xlabel=f"{metric}, cross-fitted")

    best, last = (f"{e.name} {'is best' if e is shown[0] else 'is last'}, {e.scores['score']:.4f}"
                  + (f" after {cost} of training" if cost else "")
                  for e, cost in ((shown[0], costs[0]), (shown[-1], costs[-1])))  # fmt: skip
    return chart("cost", f"{metric} of each experiment with its training time: {best}; {last}", draw, 4.4,
                 0.7 + 0.28 * len(shown))  # fmt: skip


def seconds(value: float) -> str:
    """
    >>> seconds(4.2), seconds(1060)
    ('4 s', '1,060 s')
    """
    return f"{value:,.0f} s"

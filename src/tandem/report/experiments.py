"""Section Experiments: the table of scores, the sampling error of a score, and score against training time."""

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from tandem.config.metric_names import merit, metric_title
from tandem.decoding.score_interval import half_width
from tandem.report.charts import ACCENT, INK, MUTED, WARM, chart, logarithmic
from tandem.report.cost import training_seconds
from tandem.report.data_model import FocusExperiment, ReportData, ScoredExperiment

COLUMNS = ("f1_samples", "f1_micro", "f1_macro", "optimism", "fold_spread", "map", "log_loss")  # and the metric


def metric_names(beta: float, metric: str = "f1_samples") -> dict[str, str]:
    """The displayed names of the F-beta metrics, after that of the competition's metric where it is none of them.

    >>> metric_names(2.0)["f1_micro"], list(metric_names(1.0, "auc_macro"))
    ('micro F2', ['auc_macro', 'f1_samples', 'f1_micro', 'f1_macro'])
    """
    f_scores = ("f1_samples", "f1_micro", "f1_macro")
    return {name: metric_title(name, beta) for name in dict.fromkeys((metric, *f_scores) if metric not in f_scores
            else f_scores)}  # fmt: skip


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


def cost_chart(experiments: Sequence[ScoredExperiment], focus: str) -> Markup | None:
    """Score against training time, error bars from the spread over folds; None for fewer than two experiments."""
    experiments = [e for e in experiments if not e.is_external]  # their training time is not known
    if len(experiments) < 2:
        return None
    scores = {e.name: e.scores["score"] for e in experiments}
    seconds = {e.name: max(total_seconds(e, experiments), 0.1) for e in experiments}
    offsets = _name_offsets(seconds, scores)

    def draw(axes: Axes) -> None:
        logarithmic(axes.xaxis, min(seconds.values()), max(seconds.values()))
        # room for the names, which are to the right of the points
        axes.set_xlim(min(seconds.values()) / 1.5, max(seconds.values()) * 3)
        for e in sorted(experiments, key=lambda e: -merit(e.scores)):
            x, y, in_focus = seconds[e.name], scores[e.name], e.name == focus
            colour, ink, weight, area = (WARM, INK, "bold", 34) if in_focus else (ACCENT, MUTED, "normal", 22)
            axes.errorbar(x, y, yerr=e.scores["fold_spread"], color=colour, lw=0.9, alpha=0.55, zorder=2)
            axes.scatter(x, y, s=area, color=colour, zorder=3)
            at = (6, offsets[e.name])
            axes.annotate(e.name, (x, y), at, textcoords="offset points", fontsize=8, color=ink, weight=weight)
        axes.set(
            xlabel="seconds of training, all folds (log)", ylabel=f"{experiments[0].scores['metric']}, cross-fitted"
        )

    return chart("cost", "score of each experiment against its seconds of training", draw, 7.4, 3.6)


def _name_offsets(seconds: dict[str, float], scores: dict[str, float]) -> dict[str, float]:
    """Vertical offset of each name in points, so that names of similar experiments do not overlap."""
    span = max(scores.values()) - min(scores.values()) or 1.0
    line = 0.055 * span  # about the height of a line of text
    offsets: dict[str, float] = {}
    taken: list[tuple[float, float]] = []
    for name in sorted(scores, key=scores.__getitem__, reverse=True):
        at = scores[name]
        for x, y in taken:
            if 0.2 < x / seconds[name] < 5 and at > y - line:
                at = min(at, y - line)
        taken.append((seconds[name], at))
        offsets[name] = 4 + (at - scores[name]) / line * 10
    return offsets

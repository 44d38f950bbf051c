"""Section Experiments: the table of scores, and score against cost."""

from collections.abc import Sequence

from tandem.report.charts import ACCENT, INK, MUTED, WARM, chart, logarithmic, quiet
from tandem.report.data_model import Scored

COLUMNS = ("f1_samples", "f1_micro", "f1_macro", "optimism", "fold_spread", "map", "log_loss")


def table(experiments: Sequence[Scored], subject: str) -> list[dict]:
    """A row an experiment, best first; below one that can do without, what it scores without captions or photos."""
    rows = []
    for experiment in sorted(experiments, key=lambda e: -e.scores["score"]):
        scores, metric = experiment.scores, experiment.scores["metric"]
        row = {key: scores[key] for key in COLUMNS}
        row |= {
            "name": experiment.name,
            "subject": experiment.name == subject,
            "sees": "+".join(sorted(experiment.sees)),
            "decoder": scores["decoder"],
            "local": experiment.local[metric] if experiment.local else None,
            "seconds": total_seconds(experiment, experiments),
            "mb": experiment.run["model_mb"],
        }
        rows.append(row)
        for lacking, without in scores.get("without", {}).items():
            less = {key: without[key] for key in COLUMNS}
            empty = dict.fromkeys(("local", "seconds", "mb"))
            rows.append(
                less
                | empty
                | {
                    "name": f"{experiment.name} without {lacking}",
                    "subject": False,
                    "sees": "",
                    "decoder": "",
                }
            )
    return rows


def total_seconds(experiment: Scored, experiments: Sequence[Scored]) -> float:
    """Of training, the members' too where it is a stack."""
    members = experiment.run.get("members", {})
    own = {e.name: e.run["seconds"] for e in experiments}
    return experiment.run["seconds"] + sum(own.get(name, 0.0) for name in members)


def cost_chart(experiments: Sequence[Scored], subject: str):
    """Score against seconds of training, a bar of the folds' spread on each; None for fewer than two."""
    if len(experiments) < 2:
        return None

    scores = {e.name: e.scores["score"] for e in experiments}
    offsets = _apart({e.name: total_seconds(e, experiments) for e in experiments}, scores)

    def draw(axes) -> None:
        xs = [max(total_seconds(e, experiments), 0.1) for e in experiments]
        logarithmic(axes.xaxis, min(xs), max(xs))
        axes.set_xlim(min(xs) / 1.5, max(xs) * 3)  # names stand to the right
        for e in sorted(experiments, key=lambda e: -e.scores["score"]):
            x, y = max(total_seconds(e, experiments), 0.1), e.scores["score"]
            own = e.name == subject
            colour = WARM if own else ACCENT
            axes.errorbar(x, y, yerr=e.scores["fold_spread"], color=colour, lw=0.9, alpha=0.55, zorder=2)
            axes.scatter(x, y, s=34 if own else 22, color=colour, zorder=3)
            axes.annotate(
                e.name,
                (x, y),
                (6, offsets[e.name]),
                textcoords="offset points",
                fontsize=8,
                color=INK if own else MUTED,
                weight="bold" if own else "normal",
            )
        quiet(axes, "seconds of training, all folds (log)", "score, cross-fitted")

    return chart("cost", "score of each experiment against its seconds of training", draw, 7.4, 3.6)


def _apart(seconds: dict[str, float], scores: dict[str, float]) -> dict[str, float]:
    """Points by which each name is moved up, so that names of experiments alike in cost and score don't collide."""
    span = max(scores.values()) - min(scores.values()) or 1.0
    line = 0.055 * span  # about a line of text
    offsets, taken = {}, []
    for name in sorted(scores, key=scores.get, reverse=True):
        at = scores[name]
        for x, y in taken:
            if 0.2 < x / max(seconds[name], 0.1) < 5 and at > y - line:
                at = min(at, y - line)
        taken.append((max(seconds[name], 0.1), at))
        offsets[name] = 4 + (at - scores[name]) / line * 10
    return offsets

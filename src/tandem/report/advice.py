"""What to try next: rules over the figures of the other sections, each with the numbers that support it.

A gain is measured on out-of-fold rows, or it is not known. Costs are the seconds that were measured in training.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tandem.artifacts.vocabulary import TERM_NAMES
from tandem.config.metric_names import merit
from tandem.decoding import default_decoder
from tandem.graph.experiment_dir import chosen_by
from tandem.graph.keys import STACK
from tandem.metrics import f1_samples, log_loss_rows, paired_mean
from tandem.report.compare import Gain, against
from tandem.report.data_model import FocusExperiment, ReportData, ScoredExperiment
from tandem.report.experiments import total_seconds
from tandem.report.mistakes import CAUSES, FALSE_NEGATIVE, FALSE_POSITIVE
from tandem.report.training_curves import curves, last_decrease, last_value
from tandem.report.without_member import WithoutMember

SHOWN = 10  # of each kind
LABELS = 3  # labels with advice of their own
RANKED_BETTER = 0.02  # margin in average precision of another experiment
DOMINANT = 0.6  # share of the errors of a label that have one likely cause
UNBALANCED = 1.5  # ratio of the losses by the two kinds of errors
NOISY = 0.01  # suspected errors, as a share of the given labels
OPTIMISM = 0.01  # in-sample score minus cross-fitted score
DECREASING = 0.05  # relative decrease of the loss in the last epoch that calls for more epochs
OVERFIT = 0.15  # F1 per row on training rows minus held-out rows
MODALITY_GAP = 0.02  # in score, between image-only and caption-only models
NAMED = 3  # experiments listed by name
TINY = 0.02  # weight in a stack up to which a member is named as one to leave out
LONGER = 1.5  # factor of the epochs of an experiment whose loss still decreases

Figures = dict[str, Any]  # of the other sections: classes, bounds, label_errors, drift, score_error


@dataclass(frozen=True)
class Advice:
    """One thing to try."""

    title: str  # what to do
    why: str  # the numbers that support it
    section: str  # of the page, that shows them
    kind: Literal["run", "look"] = "look"
    gain: Gain | None = None  # expected of what is run; of what is looked at the largest possible one; None: not known
    cost: str = ""  # in minutes that were measured on this machine
    command: str = ""  # to run
    toml: str = ""  # lines to write into `file`
    file: str = ""
    label: str = ""  # that it is about


def minutes(seconds: float) -> str:
    """
    >>> minutes(351), minutes(2)
    ('5.8 min', 'under 0.1 min')
    """
    return f"{seconds / 60:.1f} min" if seconds >= 6 else "under 0.1 min"


def weak_labels(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    """The labels whose errors cost most."""
    for row in sorted(figures["classes"], key=lambda row: -row["gain"])[:LABELS]:
        if row["gain"] <= 0:
            continue
        j, y, pred = data.names.index(row["name"]), data.y.astype(bool), data.counted(focus.pred)
        without = np.where(np.arange(y.shape[1]) == j, y, pred)
        gain = Gain(*data.rule.sets.gain(y, pred, without, data.group, data.known))
        negatives, positives = row["false_negatives"], row["false_positives"]
        kind = FALSE_NEGATIVE if negatives >= positives else FALSE_POSITIVE
        why = (
            f"{negatives:,} false negatives and {positives:,} false positives, {row['support']:,} rows have it "
            f"(F{data.rule.beta:g} {row['f1']:.3f}); without these errors the {data.rule.sets.title} would be "
            f"{row['gain']:.4f} {'higher' if data.rule.sets.judge.greater_is_better else 'lower'}"
        )
        others = {name: ap for name, ap in row["ap_by_experiment"].items() if name != focus.name}
        best = max(others, key=others.__getitem__, default="")
        if best and row["ap"] is not None and others[best] > row["ap"] + RANKED_BETTER:
            precision = f"average precision {others[best]:.3f} against {row['ap']:.3f}"
            why += f"; {best} alone ranks it better on these rows, {precision}"
        else:
            why += _likely_cause(figures.get("causes_by_label"), j, kind)
        title = f"Look at the {kind.replace('_', ' ')}s of label {row['name']}"
        yield Advice(title, why, "mistakes", gain=gain, label=row["name"])


def _likely_cause(causes: dict[str, np.ndarray] | None, label: int, kind: str) -> str:
    """The term that most of a label's errors of one kind have as their likely cause; "" where there is none, or it is
    that of the members that can't be split, which says nothing about the row."""
    counts = causes[kind][label] if causes else np.zeros(1, int)
    if counts.max() <= DOMINANT * counts.sum() or CAUSES[int(counts.argmax())] == "joint":
        return ""
    low = "low" if kind == FALSE_NEGATIVE else "high"
    term = TERM_NAMES[CAUSES[int(counts.argmax())]]
    errors = f"{counts.max():,} of the {counts.sum():,} {kind.replace('_', ' ')}s"
    return f"; the likely cause of {errors} is a {low} {term} term"


def error_balance(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    """Which kind of error costs more, and whether it is the number of labels or their ranking."""
    y, pred, judge, title = data.y, data.counted(focus.pred), data.rule.sets.judge, data.rule.sets.title
    score, better = data.rule.sets.merit(y, pred), "higher" if judge.greater_is_better else "lower"
    bounds = {name: judge.merit(bound) for name, bound in figures["bounds"].items()}
    costs = {kind: bounds[f"no_false_{kind}"] - score for kind in ("negatives", "positives")}
    less, more = sorted(costs, key=costs.__getitem__)
    if costs[more] > UNBALANCED * costs[less]:
        yield Advice(
            f"The false {more} cost more than the false {less}",
            f"without false {more} the {title} would be {costs[more]:.4f} {better}, without false {less} "
            f"{costs[less]:.4f}; a row has {y.sum(1).mean():.2f} labels, {pred.sum(1).mean():.2f} are predicted",
            "classes",
        )
    counting, ranking = bounds["known_counts"] - score, bounds["perfect"] - bounds["known_counts"]
    if counting > 0:
        what = "ranking (models)" if ranking > counting else "decoding (thresholds, calibration)"
        yield Advice(
            f"Largest potential gain: better {what}",
            f"if the number of labels of each row was known and the most probable ones were predicted, the {title} "
            f"would be {figures['bounds']['known_counts']:.4f} ({counting:.4f} {better}); the remaining {ranking:.4f} "
            "are errors of ranking",
            "decoding" if counting >= ranking else "experiments",
        )


def decoder_choice(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    """The decoder in use against the best one, and whether the submission was written by it."""
    scores, recipe, submission = focus.scores, focus.recipe, focus.submission
    used, merit_of = scores["decoders"][scores["decoder"]], data.rule.sets.judge.merit
    best, most = max(scores["decoders"].items(), key=lambda item: merit_of(item[1]["score"]))
    if best != scores["decoder"] and data.rule.decoder == "auto":  # a significant gain would have selected it
        yield Advice(
            f"Keep the decoder: the gain of {best} is not significant",
            f"{most['score']:.4f} against {used['score']:.4f} for {scores['decoder']} in use; its gain over "
            f"{default_decoder(scores['metric'])} is {most['gain']:+.4f}, 95 % interval {most['low']:+.4f} to "
            f"{most['high']:+.4f}",
            "decoding",
        )
    elif best != scores["decoder"]:
        known = scores["decoder"] == default_decoder(scores["metric"]) and data.rule.sets is data.rule
        yield Advice(
            f"Decode by {best}",
            f"{most['score']:.4f} against {used['score']:.4f} for {scores['decoder']}, which the competition names; "
            "both cross-fitted",
            "decoding",
            "run",
            Gain(most["gain"], most["low"], most["high"]) if known else None,
            f"{minutes(focus.run['seconds'])} at most: nothing is trained",
            command=f"make submit COMP={data.comp}{_chosen(focus)} DECODER={best}",
            toml=f'decoder = "{best}"',
            file=_competition_file(data),
        )
    if submission and submission["decoder"] != recipe:
        yield Advice(
            "Write the submission again: it is older than these predictions",
            f"it was decoded by {submission['decoder']['decoder']}, when the score was "
            f"{submission['out_of_fold']['score']:.4f}; now {recipe['decoder']} is in use and scores "
            f"{scores['score']:.4f}",
            "summary",
            "run",
            cost=f"{minutes(focus.run['seconds'])} at most: nothing is trained",
            command=f"make submit COMP={data.comp}{_chosen(focus)}",
        )
    if used["optimism"] > OPTIMISM:
        yield Advice(
            "Use a decoder with fewer parameters: this one overfits",
            f"{used['in_sample']:.4f} on the rows it was tuned on, {used['score']:.4f} on others; the difference of "
            f"the simplest decoder is {next(iter(scores['decoders'].values()))['optimism']:.4f}",
            "decoding",
        )


def _competition_file(data: ReportData) -> str:
    return f"input/{data.comp}/competition.toml"


def _chosen(focus: FocusExperiment) -> str:
    """The arguments of make that choose this experiment or stack."""
    is_stack = "members" in focus.run
    return chosen_by(focus.run.get("experiment", STACK) if is_stack else focus.name, is_stack)


def weight_of_members(run: dict) -> dict[str, float]:
    """Weight in the stack of each member of which it is known: of all, where the stack is a mean, else of those that
    its learners do not read."""
    if run.get("kept") in run.get("members", {}):
        return {name: float(name == run["kept"]) for name in run["members"]}
    dropped, share = run.get("dropped", []), run.get("third_level", {})
    if share.get("boosted", 0) or share.get("logistic", 0) or "weights" not in run:
        return dict.fromkeys(dropped, 0.0)
    common, weighted = share.get("mean", 0.0) / max(len(run["members"]), 1), share.get("weighted", 1.0)
    return {name: common + weighted * run["weights"].get(name, 0.0) for name in run["members"]} | dict.fromkeys(
        dropped, 0.0
    )


def idle_members(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    """Members of no or little weight that cost training time."""
    run, by_name = focus.run, {e.name: e for e in data.experiments}
    idle = [
        (by_name[name], weight)
        for name, weight in weight_of_members(run).items()
        if weight <= TINY and name in by_name and not by_name[name].is_external
    ]
    idle = sorted(idle, key=lambda one: -total_seconds(one[0], data.experiments))[:NAMED]
    there = [name for name in run.get("members", {}) if name in by_name]
    measured = WithoutMember(data, there, focus.scores["decoder"])
    for e, weight in idle:
        seconds, kept = total_seconds(e, data.experiments), [name for name in run["members"] if name != e.name]
        if not kept:
            continue
        gain = measured.gain(e.name) if len(there) == len(run["members"]) else None
        is_default = run.get("experiment", STACK) == STACK
        share = "under 1" if 0 < weight < 0.005 else f"{weight:.0%}".removesuffix("%")
        how = "; the gain is that of weighted means, each row by weights fitted on the other folds" if gain else ""
        yield Advice(
            f"Leave out {e.name}: {share} % weight, {seconds:,.0f} s",
            f"it scores {e.scores['score']:.4f} alone, and its models are {e.run['model_mb']:.0f} MB{how}",
            "experiments",
            "run",
            gain,
            f"saves {minutes(seconds)} of training; the stack took {minutes(run['seconds'])}",
            command=f'make submit COMP={data.comp}{_chosen(focus)} EXPS="{" ".join(kept)}"',
            toml=f"experiments = {json.dumps(kept)}" if is_default else "",
            file=_competition_file(data) if is_default else "",
        )


def better_experiment(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    """Another experiment that scores significantly higher than the one in focus."""
    if focus.name not in data.decoded:
        return
    gains = {name: gain for name, gain in against(data, focus.name).items() if gain.low > 0}
    if best := max(gains, key=lambda name: gains[name].gain, default=""):
        other = next(e for e in data.experiments if e.name == best)
        yield Advice(
            f"Submit {best} instead of {focus.name}",
            f"{other.scores['score']:.4f} against {focus.scores['score']:.4f} on the same rows",
            "experiments",
            "run",
            gains[best],
            f"{minutes(other.run.get('seconds', 0.0))} at most: it is trained",
            command=f"make submit COMP={data.comp}{chosen_by(best, is_stack='members' in other.run)}",
        )


def stack_members(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    """Whether a stack is better than its best member."""
    run, by_name = focus.run, {e.name: e for e in data.experiments}
    if not (members := [by_name[name] for name in run.get("members", {}) if name in by_name]):
        return
    best = max(members, key=lambda e: merit(e.scores))
    alone, stacked = (log_loss_rows(data.y, e.proba, known=data.known) for e in (best, focus))
    gain, low, high = paired_mean(alone - stacked, data.group)
    if low <= 0:
        score, other = focus.scores["score"], best.scores["score"]
        yield Advice(
            f"The stack gains little over {best.name}: train members with different errors",
            f"its log loss is {gain:.4f} lower than that of its best member on these rows, paired 95 % interval "
            f"{low:+.4f} to {high:+.4f}; it scores {score:.4f}, the member {other:.4f} ({score - other:+.4f})",
            "experiments",
        )


def modalities(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    """Image-only against caption-only models, and what fusion networks lose without one input."""
    alone: dict[str, ScoredExperiment] = {}
    for e in sorted(data.experiments, key=lambda e: merit(e.scores), reverse=True):
        if len(e.modalities) == 1:
            alone.setdefault(next(iter(e.modalities)), e)
    if len(alone) < 2:
        return
    image, caption = alone["image"].scores["score"], alone["caption"].scores["score"]
    if abs(image - caption) < MODALITY_GAP:
        return
    why = (
        f"the best image-only model on these rows scores {image:.4f} ({alone['image'].name}), "
        f"the best caption-only model {caption:.4f} ({alone['caption'].name})"
    )
    for e in data.experiments:
        for lacking, scores in e.scores.get("without", {}).items():
            why += f"; {e.name} without {lacking} {scores['score']:.4f} ({scores['score'] - e.scores['score']:+.4f})"
    weaker, command = (
        ("image", "gpu_convnextv2_finetune")
        if (image < caption) == data.rule.judge.greater_is_better
        else ("caption", "gpu_text")
    )
    title = f"Strengthen the {weaker} models: a larger or a fine-tuned backbone (needs a GPU)"
    if command in {e.name for e in data.experiments}:
        yield Advice(title, why, "experiments")
        return
    cost = "not known: it was not trained here"
    yield Advice(title, why, "experiments", "run", cost=cost, command=f"make train COMP={data.comp} EXPS={command}")


def fit(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    """Overfitting and underfitting, from the training logs."""
    over, under = {}, {}
    for e in sorted(data.experiments, key=lambda e: -merit(e.scores)):
        decrease, f1 = last_decrease(e.logs), last_value(e.logs, "f1")
        held_out = f1_samples(data.y, e.proba > 0.5, known=data.known)
        if f1 is not None and f1 - held_out > OVERFIT:
            over[e.name] = f"{e.name} {f1:.3f} and {held_out:.3f}"
        elif decrease is not None and decrease > DECREASING:
            under[e.name] = f"{e.name} by {decrease:.0%}"
    by_name = {e.name: e for e in data.experiments}
    if over:
        first = by_name[next(iter(over))]
        decay = (first.run.get("config") or {}).get("train", {}).get("weight_decay")
        yield Advice(
            f"Regularise {_listed(list(over))}: more dropout, weight decay or augmentation, fewer epochs",
            f"F1 per row at 0.5 on training rows and on held-out rows: {', '.join(over.values())}",
            "training",
            **(_retrain(data, first, f"weight_decay = {2 * decay:g}") if decay else {}),
        )
    if under:
        first = by_name[next(iter(under))]
        epochs = max(map(len, curves(first.logs, "loss")))
        yield Advice(
            f"Train {_listed(list(under))} longer",
            f"the loss still decreased in the last epoch ({', '.join(under.values())}), and the held-out F1 per row is "
            f"within {OVERFIT} of that on the training rows",
            "training",
            **_retrain(data, first, f"epochs = {math.ceil(LONGER * epochs)}", LONGER),
        )


def _retrain(data: ReportData, e: ScoredExperiment, line: str, factor: float = 1.0) -> Figures:
    """How an experiment is trained with another setting: the fields of an Advice."""
    before = f"it took {minutes(e.run['seconds'])}"
    return {
        "kind": "run",
        "cost": before if factor == 1 else f"about {minutes(factor * e.run['seconds'])}: {before}",
        "command": f"make train COMP={data.comp} EXPS={e.name}",
        "toml": f"[train]\n{line}",
        "file": f"configs/{e.name}.toml",
    }


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def wrong_labels(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    given, errors = int(data.y.sum()), figures["label_errors"]
    if errors["cells"] > NOISY * given:
        worst = int(np.argmax(errors["by_label"]))
        yield Advice(
            "Review the likely label errors",
            f"{errors['cells']:,} on {errors['rows']:,} rows ({errors['remove']:,} given labels that may be wrong, "
            f"{errors['add']:,} that may be missing), against {given:,} given labels; most on label "
            f"{data.names[worst]} ({errors['by_label'][worst]:,})",
            "label_errors",
            command=f"make review COMP={data.comp}",
        )


def shifts(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    """Label rates and inputs that differ between training and test rows."""
    if drifting := focus.submission and focus.submission["drift"]:
        name, most = max(drifting.items(), key=lambda d: abs(d[1]["test"] - d[1]["out_of_fold"]))
        yield Advice(
            "Check the labels that are predicted at another rate on test",
            f"{len(drifting)} of {len(data.names)} labels; most {name}: {most['out_of_fold']:.1%} of the rows out of "
            f"fold, {most['test']:.1%} of the test rows",
            "decoding",
        )
    separations = figures["drift"]["separations"] if figures["drift"] else []
    if differing := next((s for s in separations if s["drifts"]), None):
        yield Advice(
            f"Test rows differ in: {differing['inputs']}",
            f"a classifier separates train from test with AUC {differing['auc']:.3f}; "
            f"without drift it is 0.5 ± {2 * differing['error']:.3f}",
            "data",
        )


def leaderboard(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    """Out-of-fold score against the local leaderboard."""
    if not (focus.local and focus.submission):
        return
    rows, score, local = focus.submission["rows"], focus.scores["score"], focus.local.get(data.rule.metric)
    if local is None:
        return
    expected = figures["score_error"] * (1 + len(data.y) / max(rows, 1)) ** 0.5
    if abs(local - score) > expected:
        yield Advice(
            "Find out why the local leaderboard disagrees with the folds",
            f"{local:.4f} on {rows:,} test rows, {score:.4f} out of fold; sampling error explains ±{expected:.4f}",
            "data",
        )


RULES = (
    idle_members,
    better_experiment,
    weak_labels,
    error_balance,
    decoder_choice,
    stack_members,
    modalities,
    fit,
    wrong_labels,
    shifts,
    leaderboard,
)


def advise(data: ReportData, focus: FocusExperiment, figures: Figures) -> list[Advice]:
    """Those to run, then those to look at; of each the largest gain first, then unknown ones in the rules' order."""
    items = [item for rule in RULES for item in rule(data, focus, figures)]

    def by_gain(item: Advice) -> tuple[bool, float]:
        return item.gain is None, -(item.gain.gain if item.gain else 0.0)

    kinds = [sorted((item for item in items if item.kind == kind), key=by_gain) for kind in ("run", "look")]
    return [item for of_kind in kinds for item in of_kind[:SHOWN]]

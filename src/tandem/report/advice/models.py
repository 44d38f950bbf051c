"""Advice about models: members of a stack, the weaker modality, overfitting and underfitting."""

from collections.abc import Iterator, Sequence

from tandem.report.advice.rules import Advice, Figures
from tandem.report.data_model import FocusExperiment, ReportData, ScoredExperiment
from tandem.report.experiments import total_seconds
from tandem.report.training_curves import last_decrease, last_value

DECREASING = 0.05  # relative decrease of the loss in the last epoch that calls for more epochs
OVERFIT = 0.15  # F1 per row on training rows minus held-out rows
MODALITY_GAP = 0.02  # in score, between image-only and caption-only models
NAMED = 3  # experiments listed by name


def stack_members(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    """Members that a stack dropped, and whether the stack is better than its best member."""
    run, by_name = focus.run, {e.name: e for e in data.experiments}
    dropped = [by_name[name] for name in run.get("dropped", []) if name in by_name]
    if dropped:
        names = [e.name for e in dropped]
        seconds = sum(total_seconds(e, data.experiments) for e in dropped)
        kept = [name for name in run["members"] if name not in names]
        yield Advice(
            f"Leave out {', '.join(names)}",
            f"{'its' if len(names) == 1 else 'their'} weight in the stack is 0; training took {seconds:,.0f} s, "
            f"the models are {sum(e.run['model_mb'] for e in dropped):.0f} MB",
            "experiments",
            command=f'make submit COMP={data.comp} EXPS="{" ".join(kept)}"',
        )
    members = [by_name[name] for name in run.get("members", {}) if name in by_name]
    if not members:
        return
    best, score, error = max(members, key=lambda e: e.scores["score"]), focus.scores["score"], figures.score_error
    alone = best.scores["score"]
    if score - alone < error:
        better = run.get("gains", {}).get(focus.name, {}).get(best.name)
        paired = f"; log loss {better[0]:.4f} lower, {better[1]:.4f} to {better[2]:.4f}" if better else ""
        yield Advice(
            f"The stack gains little over {best.name}: train members with different errors",
            f"{score:.4f} against {alone:.4f} alone ({score - alone:+.4f}; the sampling error of the score is "
            f"±{error:.4f}{paired})",
            "experiments",
        )


def weaker_modality(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    """Image-only against caption-only models, and what fusion networks lose without one input."""
    alone: dict[str, ScoredExperiment] = {}
    for e in sorted(data.experiments, key=lambda e: e.scores["score"], reverse=True):
        if len(e.modalities) == 1:
            alone.setdefault(next(iter(e.modalities)), e)
    if len(alone) < 2:
        return
    image, caption = alone["image"].scores["score"], alone["caption"].scores["score"]
    if abs(image - caption) < MODALITY_GAP:
        return
    why = (
        f"the best image-only model scores {image:.4f} ({alone['image'].name}), "
        f"the best caption-only model {caption:.4f} ({alone['caption'].name})"
    )
    for e in data.experiments:
        for lacking, scores in e.scores.get("without", {}).items():
            why += f"; {e.name} without {lacking} {scores['score']:.4f} ({scores['score'] - e.scores['score']:+.4f})"
    weaker, command = ("image", "gpu_convnextv2_finetune") if image < caption else ("caption", "gpu_text")
    title = f"Strengthen the {weaker} models: a larger or a fine-tuned backbone (needs a GPU)"
    yield Advice(title, why, "experiments", command=f"make train COMP={data.comp} EXPS={command}")


def fit(data: ReportData, focus: FocusExperiment, figures: Figures) -> Iterator[Advice]:
    """Overfitting and underfitting, from the training logs."""
    over, under = {}, {}
    for e in sorted(data.experiments, key=lambda e: -e.scores["score"]):
        decrease, f1, held_out = last_decrease(e.logs), last_value(e.logs, "f1"), e.scores["f1_samples"]
        if f1 is not None and f1 - held_out > OVERFIT:
            over[e.name] = f"{e.name} {f1:.3f} and {held_out:.3f}"
        elif decrease is not None and decrease > DECREASING:
            under[e.name] = f"{e.name} by {decrease:.0%}"
    if over:
        yield Advice(
            f"Regularise {_listed(list(over))}: more dropout, weight decay or augmentation, fewer epochs",
            f"F1 per row on training rows and on held-out rows: {', '.join(over.values())}",
            "training",
        )
    if under:
        yield Advice(
            f"Train {_listed(list(under))} longer",
            f"the loss still decreased in the last epoch ({', '.join(under.values())}), and the held-out F1 per row is "
            f"within {OVERFIT} of that on the training rows",
            "training",
        )


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")

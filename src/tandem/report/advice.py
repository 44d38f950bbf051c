"""What to try next: rules over the figures of the other sections, each with the numbers that led to it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tandem.decoding import default_decoder
from tandem.report.classes import best_rival
from tandem.report.data_model import Evidence, Scored
from tandem.report.experiments import total_seconds
from tandem.report.noise import noise_of
from tandem.report.training_curves import last, still_falling

SHOWN = 10
LABELS = 3  # labels named on their own
RANKED_BETTER = 0.02  # of average precision by which an experiment must beat the subject on a label
FALLING = 0.05  # of its loss in the last epoch: more epochs
OVERFIT = 0.15  # of F1 between the rows trained on and the held-out ones
MODALITY_GAP = 0.02  # of score between photos alone and captions alone
OPTIMISM = 0.01
NOISY_LABELS = 0.01  # of the labels given


@dataclass(frozen=True)
class Advice:
    """One thing to try.

    title    what to do
    why      the numbers that led to it
    section  where the page shows them
    gain     what it is worth in score at most, where that can be said
    command  what to run, where it is a command
    label    the label it is about
    """

    title: str
    why: str
    section: str
    gain: float | None = None
    command: str = ""
    label: str = ""


def advise(
    evidence: Evidence, classes: list[dict], ceilings: dict, suspects: dict, drift: dict | None
) -> list[Advice]:
    """Largest possible gain first, then what has no figure of its own, in the order of the rules."""
    found = [
        *weak_labels(evidence, classes),
        *balance(evidence, ceilings),
        *decoding(evidence),
        *members(evidence),
        *modalities(evidence),
        *fitting(evidence),
        *label_errors(evidence, suspects),
        *shifts(evidence, drift),
        *leaderboard(evidence),
    ]
    found.sort(key=lambda a: -(a.gain or 0.0))
    return found[:SHOWN]


def weak_labels(evidence: Evidence, classes: list[dict]) -> Iterator[Advice]:
    """The labels whose errors cost most."""
    for row in sorted(classes, key=lambda row: -row["worth"])[:LABELS]:
        if row["worth"] <= 0:
            continue
        side = "missed" if row["missed"] >= row["invented"] else "invented"
        why = (
            f"{row['missed']:,} missed and {row['invented']:,} invented, {row['support']:,} rows have it "
            f"(F1 {row['f1']:.3f}); never wrong there, the score would be {row['worth']:.4f} higher"
        )
        rival = best_rival(row, evidence.experiments, evidence.subject.name)
        if rival and row["ap"] is not None and rival[1] > row["ap"] + RANKED_BETTER:
            why += f"; {rival[0]} alone ranks it better, average precision {rival[1]:.3f} against {row['ap']:.3f}"
        elif row["share"] and max(row["share"].values()) > 0.6:
            term = max(row["share"], key=row["share"].get)
            why += f"; {row['share'][term]:.0%} of what moves it is {term}"
        title = f"Look at what is {side} of label {row['name']}"
        yield Advice(title, why, "mistakes", row["worth"], label=row["name"])


def balance(evidence: Evidence, ceilings: dict) -> Iterator[Advice]:
    """What is between this score and a perfect one: how many labels, or which."""
    score = evidence.rule.score(evidence.y, evidence.subject.pred)
    sizes = ceilings["sizes"] - score
    missed, invented = (ceilings[key] - score for key in ("no_missed", "no_invented"))
    y, pred = evidence.y, evidence.subject.pred
    if missed > 1.5 * invented or invented > 1.5 * missed:
        kind, other = ("missed", "invented") if missed > invented else ("invented", "missed")
        yield Advice(
            f"More is lost by {kind} labels than by {other} ones",
            f"without {kind} ones the score would be {max(missed, invented):.4f} higher, without {other} ones "
            f"{min(missed, invented):.4f}; a row has {y.sum(1).mean():.2f} labels and gets {pred.sum(1).mean():.2f}",
            "classes",
        )
    if sizes > 0:
        rest = 1 - ceilings["sizes"]
        what = "better ranking (models)" if rest > sizes else "better cut-offs (decoding, calibration)"
        yield Advice(
            f"Most is to be had from {what}",
            f"with each row's number of labels known, the most probable taken, the score would be "
            f"{ceilings['sizes']:.4f} ({sizes:+.4f}); the {rest:.4f} from there to 1 is ranking alone",
            "decoding" if sizes >= rest else "experiments",
        )


def decoding(evidence: Evidence) -> Iterator[Advice]:
    scores, recipe = evidence.subject.scored.scores, evidence.subject.recipe
    used = scores["decoders"][scores["decoder"]]
    best, most = max(scores["decoders"].items(), key=lambda item: item[1]["score"])
    if best != scores["decoder"]:  # else it would be in use
        yield Advice(
            f"Leave the decoder: {best} is ahead by no more than chance",
            f"{most['score']:.4f} against {used['score']:.4f} for {scores['decoder']} in use; its gain over "
            f"{default_decoder(scores['metric'])} is {most['gain']:+.4f}, 95 % interval {most['low']:+.4f} to "
            f"{most['high']:+.4f}",
            "decoding",
        )
    submission = evidence.subject.submission
    if submission and submission["decoder"] != recipe:
        was, now = submission["out_of_fold"]["score"], scores["score"]
        yield Advice(
            "Write the submission again: it is older than these predictions",
            f"it was decoded by {submission['decoder']['decoder']}, when the score was {was:.4f}; now "
            f"{recipe['decoder']} is in use and scores {now:.4f}",
            "summary",
            command=f"make submit COMP={evidence.comp}",
        )
    if used["optimism"] > OPTIMISM:
        yield Advice(
            "Tune less: the decoder fits noise",
            f"{used['in_sample']:.4f} on the rows it was tuned on, {used['score']:.4f} on others; the simplest decoder "
            f"loses {next(iter(scores['decoders'].values()))['optimism']:.4f} that way",
            "decoding",
        )


def members(evidence: Evidence) -> Iterator[Advice]:
    """Of a stack: what it dropped, and whether it is better than its best member."""
    run, subject = evidence.subject.scored.run, evidence.subject
    by_name = {e.name: e for e in evidence.experiments}
    dropped = [name for name in run.get("dropped", []) if name in by_name]
    if dropped:
        seconds = sum(total_seconds(by_name[name], evidence.experiments) for name in dropped)
        mb = sum(by_name[name].run["model_mb"] for name in dropped)
        kept = [name for name in run["members"] if name not in dropped]
        yield Advice(
            f"Leave out {_and(dropped, len(dropped))}",
            f"the stack gives {'it' if len(dropped) == 1 else 'them'} no weight; training took {seconds:,.0f} s, "
            f"the models are {mb:.0f} MB",
            "experiments",
            command=f'make submit COMP={evidence.comp} EXPS="{" ".join(kept)}"',
        )
    singles = [by_name[name] for name in run.get("members", {}) if name in by_name]
    if singles:
        best = max(singles, key=lambda e: e.scores["score"])
        gain = subject.scored.scores["score"] - best.scores["score"]
        noise = noise_of(evidence)
        if gain < noise:
            better = run.get("gains", {}).get(subject.name, {}).get(best.name)
            paired = f"; log loss {better[0]:.4f} lower, {better[1]:.4f} to {better[2]:.4f}" if better else ""
            yield Advice(
                f"The stack is worth little over {best.name}: train members that err differently",
                f"{subject.scored.scores['score']:.4f} against {best.scores['score']:.4f} alone ({gain:+.4f}; "
                f"the score itself is known to ±{noise:.4f}{paired})",
                "experiments",
            )


def modalities(evidence: Evidence) -> Iterator[Advice]:
    """Photos alone against captions alone, and what a joined network loses without one."""
    alone: dict[str, Scored] = {}
    for e in evidence.experiments:
        if len(e.sees) == 1:
            what = next(iter(e.sees))
            if what not in alone or alone[what].scores["score"] < e.scores["score"]:
                alone[what] = e
    if len(alone) < 2:
        return
    image, caption = alone["image"].scores["score"], alone["caption"].scores["score"]
    if abs(image - caption) < MODALITY_GAP:
        return
    why = (
        f"the best from photos alone scores {image:.4f} ({alone['image'].name}), "
        f"from captions alone {caption:.4f} ({alone['caption'].name})"
    )
    for e in evidence.experiments:
        for lacking, scores in e.scores.get("without", {}).items():
            why += f"; {e.name} without {lacking} {scores['score']:.4f} ({scores['score'] - e.scores['score']:+.4f})"
    weaker, command = ("photo", "gpu_convnextv2_finetune") if image < caption else ("caption", "gpu_text")
    title = f"Strengthen the {weaker} side: a larger network, or one that is fine-tuned (wants a GPU)"
    yield Advice(title, why, "experiments", command=f"make train COMP={evidence.comp} EXPS={command}")


def fitting(evidence: Evidence) -> Iterator[Advice]:
    """From the training logs: too short, or too well known."""
    over, short = [], []
    for e in sorted(evidence.experiments, key=lambda e: -e.scores["score"]):
        falling, f1, held_out = still_falling(e.logs), last(e.logs, "f1"), e.scores["f1_samples"]
        if f1 is not None and f1 - held_out > OVERFIT:
            over.append((e.name, f"{e.name} {f1:.3f} and {held_out:.3f}"))
        elif falling is not None and falling > FALLING:
            short.append((e.name, f"{e.name} by {falling:.0%}"))
    if over:
        yield Advice(
            f"Regularise {_and([name for name, _ in over])}: more dropout, weight decay or augmentation, fewer epochs",
            f"F1 a row on the rows trained on and on held-out ones: {', '.join(why for _, why in over)}",
            "training",
        )
    if short:
        yield Advice(
            f"Train {_and([name for name, _ in short])} longer",
            f"the loss still fell in the last epoch ({', '.join(why for _, why in short)}), and the held-out score is "
            f"within {OVERFIT} of that on the rows trained on",
            "training",
        )


def _and(names: list[str], most: int = 3) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def label_errors(evidence: Evidence, suspects: dict) -> Iterator[Advice]:
    given = int(evidence.y.sum())
    if suspects["cells"] > NOISY_LABELS * given:
        worst = int(np.argmax(suspects["by_label"]))
        yield Advice(
            "Look through the suspected label errors",
            f"{suspects['cells']:,} suspected on {suspects['rows']:,} rows ({suspects['remove']:,} given that may be "
            f"wrong, {suspects['add']:,} that may be lacking), against {given:,} labels given; most on label "
            f"{evidence.names[worst]} ({suspects['by_label'][worst]:,})",
            "suspects",
        )


def shifts(evidence: Evidence, drift: dict | None) -> Iterator[Advice]:
    submission = evidence.subject.submission
    if submission and submission["drift"]:
        name, most = max(submission["drift"].items(), key=lambda d: abs(d[1]["test"] - d[1]["out_of_fold"]))
        yield Advice(
            "Check the labels that are predicted at another rate on test",
            f"{len(submission['drift'])} of {len(evidence.names)} labels; most {name}: {most['out_of_fold']:.1%} of "
            f"the rows out of fold, {most['test']:.1%} of the test rows",
            "decoding",
        )
    for tell in drift["tells"] if drift else []:
        if tell.drifts:
            yield Advice(
                f"Test rows differ in their {tell.what}",
                f"a classifier tells train from test with AUC {tell.auc:.3f}; chance is 0.5 ± {2 * tell.error:.3f}",
                "data",
            )
            return


def leaderboard(evidence: Evidence) -> Iterator[Advice]:
    """Out of fold against the local leaderboard, where both are known to so much."""
    local = evidence.subject.scored.local
    if not local:
        return
    rows = evidence.subject.submission["rows"]
    score, here = evidence.subject.scored.scores["score"], local[evidence.rule.metric]
    noise = noise_of(evidence) * (1 + len(evidence.y) / max(rows, 1)) ** 0.5
    if abs(here - score) > noise:
        yield Advice(
            "Find out why the leaderboard disagrees with the folds",
            f"{here:.4f} on {rows:,} test rows, {score:.4f} out of fold; chance explains ±{noise:.4f}",
            "data",
        )

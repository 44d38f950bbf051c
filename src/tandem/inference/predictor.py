"""The models that label new images: one experiment or a stack, and those of a fold that did not see a training row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tandem.config.encoders import ImageSize
from tandem.config.metric_names import merit
from tandem.data.caption_words import word_counts
from tandem.decoding import Decoder
from tandem.ensemble.member_terms import Source, single_term, stack_terms
from tandem.ensemble.stacking import (
    Stack,
    StackInputs,
    is_plain_mean,
    load_fold_stack,
    load_no_caption_stack,
    load_no_external_stack,
    load_stack,
)
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.inference.fold_models import Member, NewRows
from tandem.logits import sigmoid


@dataclass(frozen=True, eq=False)
class Predictor:
    """One experiment, or a stack of several, with the decoder that was tuned for it."""

    members: list[Member]
    names: tuple[str, ...]
    decoder: Decoder
    stack: Stack | None = None
    without_captions: bool = False  # the members predict from the image alone
    folder: Path | None = None  # of the stack, with those of its folds
    candidates: tuple[ExperimentDir, ...] = ()  # the experiments that the stacks of the folds choose members from

    def proba(self, rows: NewRows) -> np.ndarray:
        """(n, c)."""
        logits = [member.logits(rows, self.without_captions) for member in self.members]
        stack = self.stack
        return sigmoid(logits[0]) if stack is None else stack.predict_proba(_stack_inputs(stack, rows, logits))

    def terms(self, rows: NewRows) -> np.ndarray:
        """(n, c, 6) of TERMS that add up to the logit."""
        found = [member.logits_and_terms(rows, self.without_captions) for member in self.members]
        if self.stack is None:
            return found[0][1]
        inputs, every = _stack_inputs(self.stack, rows, [logits for logits, _ in found]), np.arange(len(rows))
        sources: list[Source] = [
            "image" if self.without_captions else single_term(member.experiment) or [(every, terms)]
            for member, (_, terms) in zip(self.members, found, strict=True)
        ]
        return stack_terms(self.stack.contributions(inputs), sources, self.stack.split)

    @property
    def reads_captions(self) -> bool:
        """Whether its predictions depend on the caption; a stack may depend only on its length."""
        length = self.stack is not None and self.stack.reads_words
        captions = any("caption" in member.experiment.reads for member in self.members)
        return not self.without_captions and (length or captions)

    @property
    def sizes(self) -> list[ImageSize]:
        """Those that its members need of an image."""
        return sorted(set().union(*(member.experiment.image_sizes for member in self.members)), key=str)

    def held_out(self, fold: int) -> "tuple[Predictor, bool] | None":
        """(the models that were not trained on the rows of a fold, whether the stack was not fitted on them either);
        None where a member has no model of this fold."""
        own = {member.name: member.of_fold(fold) for member in self.members}
        members = [member for member in own.values() if member is not None]
        if len(members) < len(own):
            return None
        if self.stack is None:
            return replace(self, members=members), True
        names = [one.name for one in self.candidates]
        found = load_fold_stack(self.folder, fold, names) if self.folder else None
        if found is None:
            return replace(self, members=members), is_plain_mean(self.stack)
        stack, needed = found
        others = {one.name: one for one in self.candidates if one.name in needed and one.name not in own}
        own |= {name: Member(one, 1).of_fold(fold) for name, one in others.items()}
        members = [member for name in needed if (member := own[name]) is not None]
        return (replace(self, members=members, stack=stack), True) if len(members) == len(needed) else None

    @property
    def title(self) -> str:
        return ", ".join(member.name for member in self.members)


def _stack_inputs(stack: Stack, rows: NewRows, logits: list[np.ndarray]) -> StackInputs:
    words = word_counts(rows.captions) if stack.reads_words else None
    return StackInputs.of([sigmoid(z) for z in logits], words)


def open_predictor(experiment: ExperimentDir, folds: int, decoder: str) -> Predictor:
    decode = experiment.require_models().decoder("external" if experiment.unable else "", decoder)
    if not experiment.is_stack:
        return Predictor([Member(experiment, folds)], experiment.labels, decode)
    stack, used = load_stack(experiment.paths, experiment.name)
    members = [Member(experiment.sibling(name), folds) for name in used]
    paths, second = experiment.paths, load_no_external_stack(experiment.paths, experiment.name) is not None
    folder = (paths.no_external_stack if second else paths.stack)(experiment.name).parent
    unable = experiment.unable if second else []
    candidates = tuple(experiment.sibling(name) for name in experiment.members if name not in unable)
    return Predictor(members, experiment.labels, decode, stack, folder=folder, candidates=candidates)


def open_no_caption_predictor(
    found: Experiments, experiment: str, predictor: Predictor, folds: int, decoder: str
) -> Predictor | None:
    """The predictor for images without a caption: the stack without captions, else `predictor` itself where it reads
    none, else the best experiment."""
    own, names = {member.name: member for member in predictor.members}, predictor.names
    recipe = found[experiment].thresholds.get("without", {})
    if "captions" in recipe and (loaded := load_no_caption_stack(found.paths, experiment)):
        stack, used = loaded
        members = [own.get(name) or Member(found[name], folds) for name in used]
        decode, folder = found[experiment].decoder("captions", decoder), found.paths.no_caption_stack(experiment).parent
        candidates = tuple(found[name] for name in found[experiment].members)
        return Predictor(members, names, decode, stack, True, folder, candidates)
    if not predictor.reads_captions:
        return predictor
    scored = found.scored()
    if not (scores := no_caption_scores([found[name] for name in own], names) or no_caption_scores(scored, names)):
        return None
    best = max(scores, key=scores.__getitem__)
    member = own.get(best) or Member(found[best], folds)
    return Predictor([member], names, found[best].decoder("captions", decoder), without_captions=True)


def no_caption_scores(experiments: Sequence[ExperimentDir], labels: Sequence[str]) -> dict[str, float]:
    """The `merit` on rows without a caption of each current experiment on these `labels` that needs none."""
    current = [one for one in experiments if one.is_scored and not (one.is_stack or one.why_not_current)]
    usable = [one for one in current if not one.config.needs_captions and one.labels == tuple(labels)]
    return {
        one.name: merit(one.scores | {"score": one.scores.get("without", {}).get("captions", one.scores)["score"]})
        for one in usable
    }

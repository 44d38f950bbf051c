"""Labels new images as the submission was labelled; captions may be missing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tandem.artifacts.atomic_io import digest, file_digest
from tandem.artifacts.contributions import TERMS
from tandem.artifacts.paths import Paths, bundle_manifest
from tandem.config.competition import load_competition
from tandem.config.encoders import ImageSize
from tandem.config.metric_names import merit
from tandem.data.caption_words import word_counts
from tandem.data.image_io import BadImage
from tandem.data.image_loader import prefetch, squares
from tandem.data.split_tables import has_caption
from tandem.decoding import Decoder
from tandem.ensemble.member_terms import Source, single_term, stack_terms
from tandem.ensemble.stacking import Stack, StackInputs, load_no_caption_stack, load_stack
from tandem.graph.experiment_dir import ExperimentDir, Experiments
from tandem.inference.fold_models import Encoders, Member, NewRows
from tandem.inference.results import LabelledImage
from tandem.logits import sigmoid
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import single_thread

NO_TEXT = "the caption is empty"
CHUNK = 32  # images that a thread labels together

OpenImage = Path | Image.Image | np.ndarray
AnyImage = str | OpenImage  # a file, a PIL image, or (h, w, 3) uint8


@dataclass(frozen=True, eq=False)
class Predictor:
    """One experiment, or a stack of several, with the decoder that was tuned for it."""

    members: list[Member]
    names: tuple[str, ...]
    decoder: Decoder
    stack: Stack | None = None
    without_captions: bool = False  # the members predict from the image alone

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
    def title(self) -> str:
        return ", ".join(member.name for member in self.members)


def _stack_inputs(stack: Stack, rows: NewRows, logits: list[np.ndarray]) -> StackInputs:
    words = word_counts(rows.captions) if stack.reads_words else None
    return StackInputs.of([sigmoid(z) for z in logits], words)


class Labeler:
    """Encoders, models, stack and decoder, loaded once.

    >>> from tandem import Labeler
    >>> for result in Labeler.load("bundle.zip").label(["a.jpg"], captions=["a cat"]):
    ...     print(result.image, *result.labels)
    a.jpg cat
    """

    def __init__(self, paths: Paths, predictor: Predictor, no_caption: Predictor | None, note: str = "") -> None:
        """`no_caption` labels images without a caption; None where every trained experiment needs one. `note`: which
        part of a stack labels new images, with both scores, where some members have no models."""
        self.paths, self.predictor, self.no_caption, self.note = paths, predictor, no_caption, note
        self.made_by: dict[str, Any] = {}  # what its labels depend on: models, decoders, bundle
        self.names: tuple[str, ...] = predictor.names
        self.encoders = Encoders()
        members = predictor.members + (no_caption.members if no_caption else [])
        self.experiments = [member.experiment for member in members]
        self.text_only = load_competition(paths.competition).images is None
        self.sizes = sorted(set().union(*(experiment.image_sizes for experiment in self.experiments)), key=str)

    @classmethod
    def of(cls, paths: Paths, experiment: str = "stack", folds: int = 0, decoder: str = "") -> "Labeler":
        """Loads from a checkout, with `folds` models of each experiment or all (0), and the decoder in use or the one
        called `decoder`; raises FileNotFoundError where the experiment is not trained, ValueError where it is stale."""
        found = Experiments(paths)
        predictor = _predictor(found[experiment].require_current(), folds, decoder)
        no_caption = _no_caption_predictor(found, experiment, predictor, folds, decoder)
        labeler = cls(paths, predictor, no_caption, found[experiment].about_new_images)
        labeler.made_by = _made_by(found, experiment, [predictor, *([no_caption] if no_caption else [])], folds)
        return labeler

    @classmethod
    def load(cls, path: Path | str, decoder: str = "", trust: str = "") -> "Labeler":
        """Loads a bundle: the zip, or its unpacked folder. Raises ValueError where a file in it was changed, or it has
        Python code of its own whose digest, which the error says, is not `trust`."""
        from tandem.inference.bundle_reader import open_bundle

        return cls.of(*open_bundle(Path(path), trust), decoder=decoder)

    def label(
        self, images: Sequence[AnyImage] | None, captions: Sequence[str | None] | None = None, terms: bool = False
    ) -> Iterator[LabelledImage]:
        """One result per image, in order, with the terms of each logit if `terms`; an unreadable image has a `problem`.

        Of a competition without images, `images` is None, or names for the captions. Memory stays constant. Raises
        ValueError where a caption is missing and every trained experiment needs one, or images are.
        """
        if self.text_only:
            return self._stream_texts(images, captions or (), terms)
        if images is None:
            raise ValueError(f"{self.paths.comp} has images; expected one for each caption")
        files = [Path(image) if isinstance(image, str) else image for image in images]
        texts = [""] * len(files) if captions is None else [caption or "" for caption in captions]
        if len(texts) != len(files):
            raise ValueError(f"{len(files)} images and {len(texts)} captions; expected one each")
        if self.no_caption is None and not all(map(has_caption, texts)):
            raise ValueError(self.about_no_caption())
        return self._stream(files, texts, terms)

    def about_no_caption(self) -> str:
        """The message about a missing caption where every experiment needs one."""
        if bundle_manifest(self.paths.root).is_file():
            return "a caption is missing, and every experiment in this bundle needs one; caption every image"
        why = "a caption is missing, and every trained experiment needs one; caption every image, or train one that"
        return f"{why} needs none: make train COMP={self.paths.comp} EXPS=fusion"

    def predict_proba(
        self, images: Sequence[AnyImage] | None, captions: Sequence[str | None] | None = None
    ) -> np.ndarray:
        """(n, c) probabilities of the labels `names`; NaN in the rows of images that can't be read."""
        missing = dict.fromkeys(self.names, np.nan)
        rows = [list((result.proba or missing).values()) for result in self.label(images, captions)]
        return np.array(rows).reshape(-1, len(self.names))

    def predictor_for(self, caption: str) -> Predictor:
        return self.predictor if has_caption(caption) or self.no_caption is None else self.no_caption

    def _stream(self, images: list[OpenImage], captions: list[str], terms: bool) -> Iterator[LabelledImage]:
        """Chunks side by side, each by one thread from its files to its labels."""
        for encoder in [encoder for experiment in self.experiments for encoder in experiment.encoders]:
            self.encoders.load(encoder)
        chunks = [slice(start, start + CHUNK) for start in range(0, len(images), CHUNK)]

        def work(chunk: slice) -> list[LabelledImage]:
            with single_thread():
                return self._chunk(images[chunk], captions[chunk], terms)

        for results in prefetch(work, chunks, threads(), threads() + 1):
            yield from results

    def _stream_texts(
        self, names: Sequence[AnyImage] | None, captions: Sequence[str | None], terms: bool
    ) -> Iterator[LabelledImage]:
        """The labels of captions alone; an empty one has a `problem`."""
        names, texts = names or [str(i) for i in range(len(captions))], [caption or "" for caption in captions]
        if len(names) != len(texts):
            raise ValueError(f"{len(names)} rows and {len(texts)} captions; expected one each")
        for start in range(0, len(texts), CHUNK * threads()):
            rows = range(start, min(start + CHUNK * threads(), len(texts)))
            used = [i for i in rows if has_caption(texts[i])]
            inputs = NewRows(self.encoders, {}, [texts[i] for i in used])
            found = iter(self._label(self.predictor, [str(names[i]) for i in used], inputs, terms) if used else ())
            for i in rows:
                yield next(found) if has_caption(texts[i]) else LabelledImage(str(names[i]), problem=NO_TEXT)

    def _chunk(self, images: list[OpenImage], captions: list[str], terms: bool) -> list[LabelledImage]:
        names = [str(image) if isinstance(image, Path) else "" for image in images]
        opened, results = dict[int, dict[ImageSize, np.ndarray]](), dict[int, LabelledImage]()
        for i, image in enumerate(images):
            try:
                opened[i] = squares(image, self.sizes)
            except BadImage as error:
                results[i] = LabelledImage(names[i], problem=" ".join(str(error).removeprefix(f"{image}: ").split()))
        for captioned in (True, False):
            if used := [i for i in opened if has_caption(captions[i]) is captioned]:
                pixels = {size: [opened[i][size] for i in used] for size in self.sizes}
                rows = NewRows(self.encoders, pixels, [captions[i] for i in used])
                found = self._label(self.predictor_for(captions[used[0]]), [names[i] for i in used], rows, terms)
                results |= zip(used, found, strict=True)
        return [results[i] for i in range(len(images))]

    def _label(self, predictor: Predictor, images: list[str], rows: NewRows, explain: bool) -> Iterator[LabelledImage]:
        terms = predictor.terms(rows) if explain else None
        proba = predictor.proba(rows) if terms is None else sigmoid(terms.sum(-1))
        for i, (image, chosen) in enumerate(zip(images, predictor.decoder(proba), strict=True)):
            labels = tuple(self.names[j] for j in np.argsort(-proba[i], kind="stable") if chosen[j])
            parts = [dict(zip(TERMS, values, strict=True)) for values in (() if terms is None else terms[i].tolist())]
            yield LabelledImage(
                image,
                labels,
                dict(zip(self.names, proba[i].tolist(), strict=True)),
                terms=dict(zip(self.names, parts, strict=True)) if parts else None,
                without_caption=predictor is self.no_caption,
            )


def _made_by(found: Experiments, experiment: str, predictors: Sequence[Predictor], folds: int) -> dict[str, Any]:
    """What the labels depend on besides images and captions; in a bundle, models have no keys, but it has a digest."""
    manifest = bundle_manifest(found.paths.root)
    names = dict.fromkeys([experiment, *(member.name for one in predictors for member in one.members)])
    decoders = [one.decoder.to_json(one.names) for one in predictors]
    return {
        "competition": found.paths.comp,
        "experiment": experiment,
        "models": {name: found[name].run.get("key") for name in names},
        "decoder": predictors[0].decoder.name,
        "decoders": digest(decoders),
        "folds": folds or "all",
        "bundle": file_digest(manifest) if manifest.is_file() else None,
    }


def _predictor(experiment: ExperimentDir, folds: int, decoder: str) -> Predictor:
    decode = experiment.require_models().decoder("external" if experiment.unable else "", decoder)
    if not experiment.is_stack:
        return Predictor([Member(experiment, folds)], experiment.labels, decode)
    stack, used = load_stack(experiment.paths, experiment.name)
    members = [Member(experiment.sibling(name), folds) for name in used]
    return Predictor(members, experiment.labels, decode, stack)


def _no_caption_predictor(
    found: Experiments, experiment: str, predictor: Predictor, folds: int, decoder: str
) -> Predictor | None:
    """The predictor for images without a caption: the stack without captions, else `predictor` itself where it reads
    none, else the best experiment."""
    own, names = {member.name: member for member in predictor.members}, predictor.names
    recipe = found[experiment].thresholds.get("without", {})
    if "captions" in recipe and (loaded := load_no_caption_stack(found.paths, experiment)):
        stack, used = loaded
        members = [own.get(name) or Member(found[name], folds) for name in used]
        return Predictor(members, names, found[experiment].decoder("captions", decoder), stack, without_captions=True)
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

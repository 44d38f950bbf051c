"""Labels new images as the submission was labelled; captions may be missing."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from tandem.artifacts.atomic_io import digest, file_digest
from tandem.artifacts.contributions import TERMS
from tandem.artifacts.paths import Paths, bundle_manifest
from tandem.artifacts.read_errors import naming
from tandem.config.competition import load_competition
from tandem.config.encoders import ImageSize
from tandem.data.image_io import BadImage
from tandem.data.image_loader import decoded, prefetch, squares_of
from tandem.data.split_tables import has_caption
from tandem.graph.experiment_dir import Experiments
from tandem.inference.fold_models import Encoders, NewRows
from tandem.inference.predictor import Predictor, open_no_caption_predictor, open_predictor
from tandem.inference.results import LabelledImage, TrainingRow
from tandem.inference.training_photos import Match, TrainingPhotos
from tandem.logits import sigmoid
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import single_thread

NO_TEXT = "the caption is empty"
CHUNK = 32  # images that a thread labels together

OpenImage = Path | Image.Image | np.ndarray
AnyImage = str | OpenImage  # a file, a PIL image, or (h, w, 3) uint8


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
        self._lock, self._of_fold = Lock(), dict[tuple[int, int], tuple[Predictor, bool] | None]()
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
        predictor = open_predictor(found[experiment].require_current(), folds, decoder)
        no_caption = open_no_caption_predictor(found, experiment, predictor, folds, decoder)
        labeler = cls(paths, predictor, no_caption, found[experiment].about_new_images)
        labeler.made_by = _made_by(found, experiment, [predictor, *([no_caption] if no_caption else [])], folds)
        return labeler

    @classmethod
    def load(cls, path: Path | str, decoder: str = "", trust: str = "") -> "Labeler":
        """Loads a bundle: the zip, or its unpacked folder. Raises ValueError where a file in it was changed, or it has
        Python code of its own whose digest, which the error says, is not `trust`."""
        from tandem.inference.bundle_reader import open_bundle

        with naming(path, "not loaded", "get the bundle again", of_parser=False):
            return cls.of(*open_bundle(Path(path), trust), decoder=decoder)

    def label(
        self,
        images: Sequence[AnyImage] | None,
        captions: Sequence[str | None] | None = None,
        terms: bool = False,
        held_out: bool = True,
    ) -> Iterator[LabelledImage]:
        """One result per image, in order, with the terms of each logit if `terms`; an unreadable image has a `problem`.

        An image of the training set is labelled by the models of the fold that was not trained on it, and has
        `training`; without `held_out` by all models, as any other.
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
        return self._stream(files, texts, terms, held_out)

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

    def predictor_for(self, caption: str, match: Match | None = None) -> Predictor:
        """The models that label an image with this caption, which is the training photo `match`."""
        usual = self.predictor if has_caption(caption) or self.no_caption is None else self.no_caption
        found = None if match is None or match.fold is None else self._held_out(usual, match.fold)
        return usual if found is None else found[0]

    def _stream(
        self, images: list[OpenImage], captions: list[str], terms: bool, held_out: bool
    ) -> Iterator[LabelledImage]:
        """Chunks side by side, each by one thread from its files to its labels."""
        for encoder in [encoder for experiment in self.experiments for encoder in experiment.encoders]:
            self.encoders.load(encoder)
        known = self.training_photos if held_out else None  # read here, not once by each thread
        chunks = [slice(start, start + CHUNK) for start in range(0, len(images), CHUNK)]

        def work(chunk: slice) -> list[LabelledImage]:
            with single_thread():
                return self._chunk(images[chunk], captions[chunk], terms, known)

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

    @cached_property
    def training_photos(self) -> TrainingPhotos:
        """Of the competition's training set; of a bundle, the digests that it holds."""
        return TrainingPhotos.of(self.paths)

    def _held_out(self, usual: Predictor, fold: int) -> tuple[Predictor, bool] | None:
        """See `Predictor.held_out`; each is opened once."""
        with self._lock:
            key = id(usual), fold
            if key not in self._of_fold:
                self._of_fold[key] = usual.held_out(fold)
            return self._of_fold[key]

    def training_row(self, caption: str, match: Match) -> TrainingRow:
        """The row that an image is, and what that means for its labels."""
        found = None if match.fold is None else self._held_out(self.predictor_for(caption), match.fold)
        return _training_row(match, None if found is None else found[1])

    def _chunk(
        self, images: list[OpenImage], captions: list[str], terms: bool, known: TrainingPhotos | None
    ) -> list[LabelledImage]:
        names = [str(image) if isinstance(image, Path) else "" for image in images]
        results, training = dict[int, LabelledImage](), dict[int, TrainingRow | None]()
        groups = dict[tuple[int, bool], tuple[Predictor, dict[int, dict[ImageSize, np.ndarray]]]]()
        for i, image in enumerate(images):
            try:
                rgb = decoded(image)
            except BadImage as error:
                results[i] = LabelledImage(names[i], problem=" ".join(str(error).removeprefix(f"{image}: ").split()))
                continue
            match = known.find(image, rgb) if known else None
            training[i] = self.training_row(captions[i], match) if match else None
            predictor = self.predictor_for(captions[i], match)
            group = groups.setdefault((id(predictor), has_caption(captions[i])), (predictor, {}))
            group[1][i] = squares_of(rgb, predictor.sizes)
        for predictor, opened in groups.values():
            pixels = {size: [squares[size] for squares in opened.values()] for size in predictor.sizes}
            rows = NewRows(self.encoders, pixels, [captions[i] for i in opened])
            for i, found in zip(opened, self._label(predictor, [names[i] for i in opened], rows, terms), strict=True):
                alone = self.predictor_for(captions[i]) is self.no_caption
                results[i] = replace(found, training=training.get(i), without_caption=alone)
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
            )


def _training_row(match: Match, exact: bool | None) -> TrainingRow:
    """`exact`: whether the stack was not fitted on the row either; None where every model was trained on it."""
    which = f"training photo{f' {match.id}' if match.id else ''} ({match.by})"
    if exact is None:
        note = f"{which}: no model here was trained without it, so its labels look better than those of new photos"
        return TrainingRow(match.id, None, note)
    note = f"{which}: labelled by the models of fold {match.fold}, which were not trained on it"
    if not exact:
        note += "; the stack of their predictions was fitted on it too, so its labels look slightly better"
    return TrainingRow(match.id, match.fold, note)


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

"""The labels of one image, and for a label its heat map and word effects, as values for JSON."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
from PIL import Image

from tandem.artifacts.contributions import TERMS
from tandem.artifacts.vocabulary import TERM_NAMES
from tandem.config.encoders import ImageSize
from tandem.data.image_io import MAX_BYTES, BadImage, load_rgb
from tandem.data.image_loader import squares_of
from tandem.data.split_tables import has_caption
from tandem.decoding.decision import decide
from tandem.explain.attribution import heat_maps
from tandem.explain.occlusion import RUNS, covered_squares, map_of_drops
from tandem.explain.pictures import heat_uri
from tandem.explain.words import word_effects
from tandem.inference.fold_models import Member, NewRows
from tandem.inference.image_folder import read_image_captions
from tandem.inference.labeler import Labeler
from tandem.inference.predictor import Predictor
from tandem.inference.results import LabelledImage
from tandem.inference.training_photos import Match
from tandem.runtime.leftovers import scratch_folder
from tandem.web.submission_rows import SubmissionRows

MAX_CAPTION = 2000  # characters
MAX_PHOTOS = 16  # of one request
SLOWEST = 3.0  # seconds of a heat map; models that need more have none
TIMED = 8  # images of which that time is estimated


class LabelService:
    """Labels and explains one image at a time; every result is ready for JSON."""

    def __init__(self, labeler: Labeler, why: str = "") -> None:
        """`why`: why these models serve, and not others."""
        self.labeler, self.why = labeler, why
        self.rows = SubmissionRows(labeler.paths)
        self._seconds: dict[str, float] = {}  # of a heat map by covering, by member

    @property
    def about(self) -> dict:
        """The served models, their labels, and the limits of the input."""
        predictor, no_caption = self.labeler.predictor, self.labeler.no_caption
        models = sum(len(member.ensemble.models) for member in predictor.members)
        served = predictor.title if predictor.stack is None else f"stack of {predictor.title}"
        return {
            "competition": self.labeler.paths.comp,
            "served": f"{served}; {models} model{'s' * (models > 1)}",
            "why": self.why,
            "note": self.labeler.note,
            "without_caption": no_caption.title if no_caption else None,
            "uses_captions": predictor.reads_captions,
            "uses_images": not self.labeler.text_only,
            "labels": list(self.labeler.names),
            "terms": [{"key": term, "name": TERM_NAMES[term]} for term in TERMS],
            "max_bytes": MAX_BYTES,  # of a request, all its photos together
            "max_photos": MAX_PHOTOS,
            "max_caption": MAX_CAPTION,
            "csv": self.rows.about,
        }

    def warm_up(self) -> float:
        """Loads the models; returns the seconds that one image takes afterwards."""
        with scratch_folder() as folder:
            photo = None if self.labeler.text_only else folder / "grey.png"
            if photo:
                Image.new("RGB", (256, 256), "grey").save(photo)
            for caption in ("a photo", *([""] if self.labeler.no_caption else []), "a photo"):
                start = time.perf_counter()
                self.label(photo, caption)
        return time.perf_counter() - start

    def to_csv(self, rows: object) -> str:
        """The text of a CSV file in the form of the submission; see `SubmissionRows.to_csv`."""
        return self.rows.to_csv(rows)

    def captions(self, table: Path, images: list[str]) -> list[str]:
        """The caption of each image from a table, "" where it has none; raises ValueError where that is not certain."""
        return read_image_captions(table, images, self.rows.competition.caption_columns)

    def label(self, photo: Path | None, caption: str) -> dict:
        """Labels, and the probability and terms of every label; raises ValueError if the image cannot be read.

        Of a competition without images, `photo` is None.
        """
        (found,) = self.label_many([photo] if photo else None, [caption])
        if "error" in found:
            raise ValueError(found["error"])
        return found

    def label_many(self, photos: Sequence[Path] | None, captions: Sequence[str]) -> list[dict]:
        """Of each image what `label` gives, or `error` with the reason why it cannot be read."""
        labeler = self.labeler
        can = [has_caption(caption) or labeler.text_only or labeler.no_caption is not None for caption in captions]
        used = [i for i, usable in enumerate(can) if usable]
        found = labeler.label(photos and [photos[i] for i in used], [captions[i] for i in used], terms=True)
        results = {
            i: {"error": one.problem} if one.problem else self._result(one, captions[i])
            for i, one in zip(used, found, strict=True)
        }
        return [results.get(i) or {"error": labeler.about_no_caption()} for i in range(len(captions))]

    def _result(self, found: LabelledImage, caption: str) -> dict:
        predictor, names = self.labeler.predictor_for(caption), self.labeler.names
        proba, terms = found.proba or {}, found.terms or {}
        decision = decide(predictor.decoder, np.array([proba[name] for name in names]))
        reasons = dict(zip(names, decision.reasons, strict=True))
        ranked = sorted(proba.items(), key=lambda item: -item[1])
        shows = self._heat_member(predictor)
        return {
            "labels": list(found.labels),
            "all": [{"label": name, "proba": p, "terms": terms[name], "reason": reasons[name]} for name, p in ranked],
            "decision": decision.to_json(names),
            "training": None if found.training is None else asdict(found.training),
            "served": predictor.title,
            "heat": shows is not None,
            "heat_seconds": round(self._heat_seconds(shows), 1) if shows else 0,
            "words": has_caption(caption) and predictor.reads_captions,
        }

    def explain(self, photo: Path | None, caption: str, label: str, with_heat: bool = True) -> dict:
        """A heat map (data URI) of one member, unless not wanted, and the effect of each word on the label's logit."""
        if label not in self.labeler.names:
            raise ValueError(f"label {label!r:.80}: expected one of {', '.join(self.labeler.names)}")
        number, labeler = self.labeler.names.index(label), self.labeler
        image, match, pixels = None, None, dict[ImageSize, list[np.ndarray]]()
        if photo:
            try:
                image = load_rgb(photo)
            except BadImage as error:
                raise ValueError(str(error).removeprefix(f"{photo}: ")) from error
            match = labeler.training_photos.find(photo, image)
            sizes = {size for text in (caption, "") for size in labeler.predictor_for(text, match).sizes}
            pixels = {size: [square] for size, square in squares_of(image, sizes).items()}
        row, predictor = NewRows(labeler.encoders, pixels, [caption]), labeler.predictor_for(caption, match)
        out: dict = {"heat": None, "words": None}
        if with_heat and image and (member := self._heat_member(predictor)):
            if covers := not member.experiment.has_trunk:
                heat = self._covered_heat(member, row, image, predictor.without_captions)[number]
            else:
                (heat,) = heat_maps(member.ensemble, member.inputs(row), [number], not has_caption(caption))
            out |= {"heat": heat_uri(heat, *image.size), "heat_model": member.name, "covered": covers}
        if has_caption(caption) and predictor.reads_captions:
            words = word_effects(caption, lambda captions: self._logits(row, captions, match))
            effects = zip_longest(words.pieces, words.effects[:, number].tolist())  # no effect of later words
            out["words"] = [{"text": text, "effect": effect} for text, effect in effects]
        return out

    def _heat_member(self, predictor: Predictor) -> Member | None:
        """The first with a trunk, else the first whose map by covering parts of the image takes SLOWEST at most."""
        members = [one for one in predictor.members if one.experiment.image_sizes]
        with_trunk = next((one for one in members if one.experiment.has_trunk), None)
        return with_trunk or next((one for one in members if self._heat_seconds(one) <= SLOWEST), None)

    def _heat_seconds(self, member: Member) -> float:
        """0 with a trunk; else an estimate, measured once."""
        if member.experiment.has_trunk:
            return 0.0
        if member.name not in self._seconds:
            squares = squares_of(Image.new("RGB", (256, 256), "grey"), member.experiment.image_sizes)
            pixels = {size: [square] * TIMED for size, square in squares.items()}
            for _ in ("to load the models", "to measure"):
                start = time.perf_counter()
                member.logits(NewRows(self.labeler.encoders, pixels, ["a photo"] * TIMED))
            self._seconds[member.name] = (time.perf_counter() - start) * RUNS / TIMED
        return self._seconds[member.name]

    def _covered_heat(self, member: Member, row: NewRows, image: Image.Image, without_captions: bool) -> np.ndarray:
        """(c, h, w), of the image in `row`; its caption is encoded once."""
        rows = NewRows(row.encoders, covered_squares(image, member.experiment.image_sizes), [*row.captions] * RUNS)
        for encoder in member.experiment.encoders:
            if encoder.reads == "caption":
                rows.encoded[encoder.slug] = row.features(encoder).repeat(RUNS, axis=0)
        logits = member.logits(rows, without_captions)
        return map_of_drops(logits[0] - logits[1:])

    def _logits(self, row: NewRows, captions: Sequence[str], match: Match | None) -> np.ndarray:
        """(n, c) of one image with each of `captions`; a blank caption is a missing one."""
        out = np.zeros((len(captions), len(self.labeler.names)))
        predictors = [self.labeler.predictor_for(caption, match) for caption in captions]
        for predictor in {id(p): p for p in predictors}.values():
            used = [i for i, one in enumerate(predictors) if one is predictor]
            rows = replace(row.take([0] * len(used)), captions=[captions[i] for i in used])
            for encoder in [e for member in predictor.members for e in member.experiment.encoders]:
                if encoder.reads == "image":  # once for all rows
                    rows.encoded[encoder.slug] = row.features(encoder).repeat(len(used), axis=0)
            out[used] = predictor.terms(rows).sum(-1)
        return out

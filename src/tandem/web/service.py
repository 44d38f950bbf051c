"""What the page asks: one photo's labels, and for a label where the network looked and which words it went by."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tandem.artifacts.contributions import TERMS
from tandem.config.encoders import Encoder
from tandem.data.image_io import MAX_BYTES, BadImage, load_rgb
from tandem.data.image_loader import squares
from tandem.explain.attribution import heat_maps
from tandem.explain.explanation import SPOKEN
from tandem.explain.pictures import heat_uri
from tandem.explain.words import MOST, word_effects
from tandem.inference.fold_models import Encoders, Member, NewRows
from tandem.inference.labeler import Labeler, Panel

MAX_CAPTION = 2000  # characters


class Answers:
    """A labeler's, for one photo at a time; every answer is ready to be JSON."""

    def __init__(self, labeler: Labeler):
        self.labeler = labeler

    @property
    def about(self) -> dict:
        """What is served, and what it takes."""
        panel, blind = self.labeler.panel, self.labeler.blind
        models = sum(len(member.ensemble.models) for member in panel.members)
        served = panel.title if panel.stack is None else f"stack of {panel.title}"
        return {
            "competition": self.labeler.paths.comp,
            "served": f"{served}; {models} model{'s' * (models > 1)}",
            "without_caption": blind.title if blind else None,
            "reads_captions": panel.reads_captions,
            "labels": list(self.labeler.names),
            "terms": [{"term": term, "spoken": SPOKEN[term]} for term in TERMS],
            "max_bytes": MAX_BYTES,
            "max_caption": MAX_CAPTION,
        }

    def warm_up(self) -> float:
        """Seconds that an answer takes once everything is loaded."""
        with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
            photo = Path(folder) / "grey.png"
            Image.new("RGB", (256, 256), "grey").save(photo)
            for caption in ("a photo", *([""] if self.labeler.blind else []), "a photo"):
                start = time.perf_counter()
                self.label(photo, caption)
        return time.perf_counter() - start

    def label(self, photo: Path, caption: str) -> dict:
        """Labels, and every label's probability and terms; raises ValueError with what is wrong with the photo."""
        (found,) = self.labeler.label([photo], [caption], why=True)
        if found.problem:
            raise ValueError(found.problem)
        order = sorted(found.proba, key=lambda name: -found.proba[name])
        panel = self._panel(caption)
        return {
            "labels": list(found.labels),
            "all": [
                {"label": name, "proba": found.proba[name], "terms": found.terms[name]} for name in order
            ],
            "served": panel.title,
            "heat": _looking(panel) is not None,
            "words": bool(caption.strip()) and panel.reads_captions,
        }

    def why(self, photo: Path, caption: str, label: str) -> dict:
        """A heat map as a data URI, of what has a trunk, and each word with what it adds to the label's logit."""
        if label not in self.labeler.names:
            raise ValueError(f"label {label!r:.80}: expected one of {', '.join(self.labeler.names)}")
        number, panel = self.labeler.names.index(label), self._panel(caption)
        try:
            width, height = load_rgb(photo).size
        except BadImage as error:
            raise ValueError(str(error).removeprefix(f"{photo}: ")) from error
        rows = NewRows(
            {size: [image] for size, image in squares(photo, self.labeler.sizes).items()}, [caption]
        )
        out: dict = {"label": label, "heat": None, "words": None}
        member = _looking(panel)
        if member:
            inputs = member.inputs(rows, self.labeler.encoders)
            (heat,) = heat_maps(member.ensemble, inputs, [number], not caption.strip())
            out["heat"] = heat_uri(heat, width, height) if heat.max() > 0 else ""
            out["by"] = member.name
        if caption.strip() and panel.reads_captions:
            words = word_effects(caption, lambda captions: self._logits(rows, captions))
            effects = [*words.effects[:, number].tolist(), *[None] * (len(words.pieces) - len(words.effects))]
            pairs = zip(words.pieces, effects, strict=True)
            out["words"] = [{"text": text, "effect": effect} for text, effect in pairs]
            out["cut"] = len(words.effects) == MOST
        return out

    def _panel(self, caption: str) -> Panel:
        blind = self.labeler.blind
        return blind if blind and not caption.strip() else self.labeler.panel

    def _logits(self, row: NewRows, captions: Sequence[str]) -> np.ndarray:
        """(n, c) of one photo, were each of `captions` its caption; a blank one counts as none."""
        out = np.zeros((len(captions), len(self.labeler.names)))
        encoders = OnePhoto(self.labeler.encoders, row)
        for panel in {id(p): p for p in map(self._panel, captions)}.values():
            mine = [i for i, caption in enumerate(captions) if self._panel(caption) is panel]
            repeated = {size: list(images) * len(mine) for size, images in row.squares.items()}
            rows = NewRows(repeated, [captions[i] for i in mine])
            out[mine] = panel.terms(rows, encoders).sum(-1)
        return out


class OnePhoto(Encoders):
    """For rows that all show one photo: it is encoded once."""

    def __init__(self, encoders: Encoders, row: NewRows):
        super().__init__()
        self._encoders, self._row = encoders, row

    def __call__(self, cfg: Encoder, rows: NewRows) -> np.ndarray:
        if cfg.reads != "image":
            return self._encoders(cfg, rows)
        one = self._encoders(cfg, self._row)
        return np.broadcast_to(one, (len(rows), *one.shape[1:]))


def _looking(panel: Panel) -> Member | None:
    """The member whose trunk can be asked where it looked."""
    return next((m for m in panel.members if m.experiment.has_trunk), None)

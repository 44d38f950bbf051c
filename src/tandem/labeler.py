"""Labels new images with the trained folds of one experiment; captions may be missing."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tandem.config import read_resolved, sees
from tandem.contributions import BOTH, NO_CAPTION
from tandem.decode import Decoder
from tandem.encoders.run import make
from tandem.files import read_json
from tandem.images import BadImage, load_rgb
from tandem.models.inputs import Inputs, Maps
from tandem.paths import Paths
from tandem.predictions import logit, sigmoid
from tandem.tables import read_table
from tandem.training import make_model, read_labelled

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}
CHUNK = 128  # images held at once


@dataclass(frozen=True)
class Found:
    """What is on one image: its labels, most probable first, and every label's probability; or why it can't be told."""

    image: str
    labels: tuple[str, ...] = ()
    proba: dict[str, float] | None = None
    problem: str = ""

    def named(self, image: str) -> "Found":
        return replace(self, image=image)


class Labeler:
    """An experiment's encoders, its folds' models and its decoder, loaded once."""

    def __init__(self, paths: Paths, name: str = "fusion", folds: int = 0):
        """`folds`: only the first so many models, which is faster; 0 is all.

        Raises FileNotFoundError where the experiment is not trained.
        """
        file = paths.experiment_config(name)
        if not (file.exists() and paths.thresholds(name).exists()):
            raise FileNotFoundError(f"{name!r} is not trained; run: make train COMP={paths.comp} EXPS={name}")
        self.experiment = read_resolved(file)
        rows = read_labelled(paths)
        self.names = rows.names
        self.sees = sees(self.experiment)
        self.decoder = Decoder.from_json(read_json(paths.thresholds(name)))
        self.encoders = [(cfg, make(cfg)) for cfg in self.experiment.encoders]
        numbers = [int(k) for k in np.unique(rows.fold)][: folds or None]
        files = [paths.model(name, k, ".safetensors") for k in numbers]
        self.models = [make_model(self.experiment, len(self.names)).load(file) for file in files]

    def label(self, images: Sequence[Path | str], captions: Sequence[str] | None = None) -> Iterator[Found]:
        """One `Found` an image, in order; an unreadable one has a problem and no labels. Memory stays flat."""
        images = [Path(image) for image in images]
        captions = [""] * len(images) if captions is None else list(captions)
        if len(captions) != len(images):
            raise ValueError(f"{len(images)} images and {len(captions)} captions; expected one each")
        for start in range(0, len(images), CHUNK):
            yield from self._chunk(images[start : start + CHUNK], captions[start : start + CHUNK])

    def _chunk(self, images: list[Path], captions: list[str]) -> Iterator[Found]:
        problems = {}
        try:
            proba = self.predict_proba(images, captions)
        except BadImage:  # which ones: only then is every file opened once more
            problems = {i: why for i, image in enumerate(images) if (why := _problem(image))}
            good = [i for i in range(len(images)) if i not in problems]
            proba = np.zeros((len(images), len(self.names)))
            if good:
                proba[good] = self.predict_proba([images[i] for i in good], [captions[i] for i in good])
        sets = self.decoder(proba)
        for i, image in enumerate(images):
            if i in problems:
                yield Found(str(image), problem=problems[i])
                continue
            order = np.argsort(-proba[i], kind="stable")
            labels = tuple(self.names[j] for j in order if sets[i, j])
            yield Found(str(image), labels, dict(zip(self.names, proba[i].tolist(), strict=True)))

    def predict_proba(self, images: Sequence[Path], captions: Sequence[str]) -> np.ndarray:
        """(n, c), the mean of the folds' logits as probability; raises BadImage where a file can't be read.

        Raises ValueError where a caption is missing and the experiment can't do without.
        """
        missing = np.array([not caption.strip() for caption in captions])
        if "caption" in self.sees and missing.any() and not self.experiment.explains:
            raise ValueError("a caption is missing, and this experiment needs them all; EXP=fusion does not")
        blocks, maps = [], []
        for cfg, encode in self.encoders:
            values = np.concatenate(list(encode(images if cfg.reads == "image" else captions)))
            values = values.astype(np.float16)  # as they are kept on disk
            (maps if cfg.kind in ("trunk", "tokens") else blocks).append(values)
        inputs = Inputs(
            len(images),
            blocks=tuple(blocks),
            captions=list(captions),
            files=list(images),
            maps=tuple(Maps((values,)) for values in maps),
        )
        total = np.zeros((len(images), len(self.names)))
        for model in self.models:
            if self.experiment.explains:
                terms = model.predict_terms(inputs)
                logits = terms[BOTH].sum(-1)
                if NO_CAPTION in terms:
                    logits = np.where(missing[:, None], terms[NO_CAPTION].sum(-1), logits)
                total += logits
            else:
                total += logit(model.predict_proba(inputs))
        return sigmoid(total / len(self.models))


def _problem(image: Path) -> str:
    try:
        load_rgb(image)
    except BadImage as error:
        return str(error).removeprefix(f"{image}: ")
    return ""


def list_images(folder: Path) -> list[str]:
    """Every image below `folder` by its suffix, as a path inside it, in a fixed order; raises ValueError for none."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected one with images")
    found = sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES
    )
    if not found:
        raise ValueError(f"{folder}: holds no image; expected files ending in {', '.join(sorted(SUFFIXES))}")
    return found


def read_captions_of(path: Path, images: Sequence[str]) -> list[str]:
    """The caption of each image, "" where there is none: a CSV with an image column, then one of captions.

    An image is named by its path inside the folder, its file name or its name without suffix. Raises ValueError where
    the file has no two columns or names none of the images.
    """
    table = read_table(path)
    if len(table.columns) < 2:
        raise ValueError(
            f"{path}: header is {list(table.columns)}; expected a column of images and one of captions"
        )
    named = [c for c in table.columns if "caption" in c.lower()]
    caption = named[0] if named else table.columns[-1]
    image = next(c for c in table.columns if c != caption)
    of = dict(zip(table.column(image), table.column(caption), strict=True))

    def find(name: str) -> str | None:
        return next((of[key] for key in (name, Path(name).name, Path(name).stem) if key in of), None)

    found = [find(name) for name in images]
    if all(caption is None for caption in found):
        first = next(iter(of), "")
        raise ValueError(
            f"{path}: column {image!r} (such as {first!r}) names none of the images, such as {images[0]!r}"
        )
    return [caption or "" for caption in found]


def header(names: Sequence[str]) -> list[str]:
    return ["image", "labels", *names, "problem"]


def as_line(found: Found, names: Sequence[str], separator: str, json_lines: bool) -> str:
    """One line of the output: a CSV row of labels joined and probabilities, or a JSON object."""
    if json_lines:
        about = {"image": found.image, "labels": list(found.labels), "proba": found.proba}
        return (
            json.dumps(about | ({"problem": found.problem} if found.problem else {}), ensure_ascii=False)
            + "\n"
        )
    proba = [f"{found.proba[name]:.4f}" if found.proba else "" for name in names]
    return csv_line([found.image, separator.join(found.labels), *proba, found.problem.replace("\n", " ")])


def csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def done(path: Path, names: Sequence[str]) -> set[str]:
    """The images that `path` holds already, after what a killed run left unfinished at its end is cut off.

    Raises ValueError where it holds something else.
    """
    if not path.exists():
        return set()
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    lines = whole.splitlines()
    try:
        if path.suffix == ".jsonl":
            return {json.loads(line)["image"] for line in lines}
        rows = list(csv.reader(lines))
        if rows and rows[0] != header(names):
            raise ValueError(f"its header is {rows[0][:3]}..., expected {header(names)[:3]}...")
        return {row[0] for row in rows[1:]}
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{path}: not what labelling writes ({error}); name another OUT") from error

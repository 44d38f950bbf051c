"""Labels new images as the submission was labelled; captions may be missing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.contributions import TERMS, gathered
from tandem.artifacts.paths import Paths
from tandem.config.experiments import read_resolved
from tandem.data.image_io import BadImage
from tandem.data.image_loader import ahead, squares
from tandem.decoding import Decoder
from tandem.ensemble.stack_store import read_blind_stack, read_stack
from tandem.ensemble.stacking import Level, Stack, spread
from tandem.graph.currency import is_current, is_decoded, made_by
from tandem.inference.fold_models import Encoders, Member, NewRows
from tandem.inference.results import Found
from tandem.logits import sigmoid
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import single_thread

CHUNK = 32  # images that a thread labels together


@dataclass(frozen=True, eq=False)
class Panel:
    """Members that vote, what makes one vote of theirs, and the decoder tuned for it; without a stack, one member."""

    members: list[Member]
    names: tuple[str, ...]
    decoder: Decoder
    stack: Stack | None = None
    blind: bool = False

    def proba(self, rows: NewRows, encoders: Encoders) -> np.ndarray:
        """(n, c)."""
        votes = self._votes(rows, encoders)
        return (
            sigmoid(votes[0].sum(-1))
            if self.stack is None
            else self.stack.predict_proba(self._level(rows, votes))
        )

    def terms(self, rows: NewRows, encoders: Encoders) -> np.ndarray:
        """(n, c, 5) of TERMS that add up to the logit."""
        votes = self._votes(rows, encoders)
        if self.stack is None:
            return votes[0]
        return gathered(
            spread(self.stack, self._level(rows, votes)),
            [{"image"} if self.blind else m.experiment.reads for m in self.members],
        )

    @property
    def reads_captions(self) -> bool:
        """Whether a missing caption would change what it says; a stack may read no more than how long one is."""
        length = self.stack is not None and self.stack.reads_words
        return not self.blind and (length or any("caption" in m.experiment.reads for m in self.members))

    @property
    def title(self) -> str:
        return ", ".join(member.name for member in self.members)

    def load(self, encoders: Encoders) -> None:
        for member in self.members:
            for cfg in member.experiment.encoders:
                encoders.load(cfg)

    def _votes(self, rows: NewRows, encoders: Encoders) -> list[np.ndarray]:
        return [member.terms(rows, encoders, self.blind) for member in self.members]

    def _level(self, rows: NewRows, votes: list[np.ndarray]) -> Level:
        words = np.array([len(caption.split()) for caption in rows.captions])
        return Level.of([sigmoid(vote.sum(-1)) for vote in votes], words if self.stack.reads_words else None)


class Labeler:
    """Encoders, models, stack and decoder, loaded once.

    >>> from tandem import Labeler
    >>> for found in Labeler.load("bundle.zip").label(["a.jpg"], captions=["a cat"]):
    ...     print(found.image, *found.labels)
    a.jpg cat
    """

    def __init__(self, paths: Paths, panel: Panel, blind: Panel | None):
        """`blind`: labels images without a caption; None where the trained experiments all need one."""
        self.paths, self.panel, self.blind = paths, panel, blind
        self.names: tuple[str, ...] = panel.names
        self.encoders = Encoders()
        panels = [panel, blind] if blind else [panel]
        self.sizes = sorted(set().union(*(m.experiment.image_sizes for p in panels for m in p.members)))

    @classmethod
    def of(cls, paths: Paths, experiment: str = "stack", folds: int = 0) -> "Labeler":
        """A checkout's; `folds`: only the first so many models of each experiment, which is faster; 0 is all.

        Raises FileNotFoundError where the experiment is not trained.
        """
        panel = _panel(paths, experiment, folds)
        if not panel.reads_captions:
            return cls(paths, panel, panel)
        together = _blind_stack(paths, experiment, panel, folds)
        if together:
            return cls(paths, panel, together)
        trained = [file.parent.name for file in sorted(paths.experiment("x").parent.glob("*/scores.json"))]
        members = [m.name for m in panel.members]
        scores = blind_scores(paths, members, panel.names) or blind_scores(paths, trained, panel.names)
        if not scores:
            return cls(paths, panel, None)
        name = max(scores, key=scores.get)
        member = next((m for m in panel.members if m.name == name), None) or Member(paths, name, folds)
        recipe = read_json(paths.thresholds(name))
        recipe = recipe.get("without", {}).get("captions", recipe)
        return cls(paths, panel, Panel([member], panel.names, Decoder.from_json(recipe), blind=True))

    @classmethod
    def load(cls, path: Path | str) -> "Labeler":
        """A bundle's: the zip, or the folder of one unpacked. Raises ValueError where a file in it was changed."""
        from tandem.inference.bundle_reader import open_bundle

        return cls.of(*open_bundle(Path(path)))

    def label(
        self,
        images: Sequence[Path | str],
        captions: Sequence[str | None] | None = None,
        why: bool = False,
    ) -> Iterator[Found]:
        """One `Found` an image, in order, with its terms where `why`. Memory stays flat.

        An image that can't be read has a problem and no labels. Raises ValueError where a caption is missing and
        nothing that is trained can do without.
        """
        images = [Path(image) for image in images]
        texts = [""] * len(images) if captions is None else [caption or "" for caption in captions]
        if len(texts) != len(images):
            raise ValueError(f"{len(images)} images and {len(texts)} captions; expected one each")
        if self.blind is None and not all(text.strip() for text in texts):
            raise ValueError(
                "a caption is missing, and no trained experiment does without; caption every image, or train one that "
                f"sees photos alone: make train COMP={self.paths.comp} EXPS=fusion"
            )
        return self._stream(images, texts, why)

    def _stream(self, images: list[Path], captions: list[str], why: bool) -> Iterator[Found]:
        """Chunks side by side, each by one thread from its files to its labels."""
        for panel in {self.panel, self.blind} - {None}:
            panel.load(self.encoders)
        chunks = [slice(start, start + CHUNK) for start in range(0, len(images), CHUNK)]

        def work(chunk: slice) -> list[Found]:
            with single_thread():
                return self._chunk(images[chunk], captions[chunk], why)

        for found in ahead(work, chunks, threads(), threads() + 1):
            yield from found

    def _open(self, image: Path) -> dict[int, np.ndarray] | str:
        """Its squares, or why it can't be read."""
        try:
            return squares(image, self.sizes)
        except BadImage as error:
            return " ".join(str(error).removeprefix(f"{image}: ").split())

    def _chunk(self, images: list[Path], captions: list[str], why: bool) -> list[Found]:
        opened = [self._open(image) for image in images]
        found = {i: Found(str(images[i]), problem=o) for i, o in enumerate(opened) if isinstance(o, str)}
        whole = [i for i in range(len(images)) if i not in found]
        told = [i for i in whole if captions[i].strip()]
        untold = [i for i in whole if not captions[i].strip()]
        for panel, rows in ((self.panel, told), (self.blind, untold)):
            if rows:
                squares = {size: [opened[i][size] for i in rows] for size in self.sizes}
                new = NewRows(squares, [captions[i] for i in rows])
                found |= zip(rows, self._found(panel, [images[i] for i in rows], new, why), strict=True)
        return [found[i] for i in range(len(images))]

    def _found(self, panel: Panel, images: list[Path], rows: NewRows, why: bool) -> Iterator[Found]:
        terms = panel.terms(rows, self.encoders) if why else None
        proba = sigmoid(terms.sum(-1)) if why else panel.proba(rows, self.encoders)
        for i, (image, chosen) in enumerate(zip(images, panel.decoder(proba), strict=True)):
            order = np.argsort(-proba[i], kind="stable")
            yield Found(
                str(image),
                tuple(self.names[j] for j in order if chosen[j]),
                dict(zip(self.names, proba[i].tolist(), strict=True)),
                terms=_named(self.names, terms[i]) if why else None,
                blind=panel is self.blind,
            )


def _panel(paths: Paths, name: str, folds: int) -> Panel:
    command = made_by(paths.comp, name)
    if not (paths.thresholds(name).exists() and paths.run(name).exists()):
        raise FileNotFoundError(f"{name!r} is not trained; run: {command}")
    recipe = read_json(paths.thresholds(name))
    names, decoder = tuple(recipe["labels"]), Decoder.from_json(recipe)
    if not is_decoded(paths, name):
        raise ValueError(
            f"{name!r} is decoded for another metric, or other numbers of labels; run: {command}"
        )
    if not paths.stack(name).exists():
        return Panel([Member(paths, name, folds)], names, decoder)
    stack, used = read_stack(paths, name)
    members = [Member(paths, member, folds) for member in used]
    if not is_current(paths, name):
        raise ValueError(f"a member of {name!r} was trained again since; run: make submit COMP={paths.comp}")
    return Panel(members, names, decoder, stack)


def _blind_stack(paths: Paths, name: str, panel: Panel, folds: int) -> Panel | None:
    """Those members of a stack that do without captions, together; None where there are none."""
    recipe = read_json(paths.thresholds(name)).get("without", {}).get("captions")
    found = read_blind_stack(paths, name)
    if recipe is None or found is None:
        return None
    stack, used = found
    own = {member.name: member for member in panel.members}
    members = [own.get(member) or Member(paths, member, folds) for member in used]
    return Panel(members, panel.names, Decoder.from_json(recipe), stack, blind=True)


def blind_scores(paths: Paths, names: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Of those experiments on these `labels` that do without captions: what each scores where they are missing."""
    scores = {}
    for name in names:
        files = (paths.experiment_config(name), paths.run(name), paths.thresholds(name), paths.scores(name))
        if not all(file.exists() for file in files):
            continue  # a stack, or trained by half
        if not (is_current(paths, name) and is_decoded(paths, name)):
            continue
        experiment, found = read_resolved(files[0]), read_json(paths.scores(name))
        if not experiment.needs_captions and read_json(paths.thresholds(name))["labels"] == list(labels):
            scores[name] = found.get("without", {}).get("captions", found)["score"]
    return scores


def _named(names: tuple[str, ...], terms: np.ndarray) -> dict[str, dict[str, float]]:
    return {name: dict(zip(TERMS, row, strict=True)) for name, row in zip(names, terms.tolist(), strict=True)}

"""Experiments: a TOML file in `configs/` lists only what differs from the defaults written here."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from tandem.artifacts.paths import check_name
from tandem.config.encoders import CaptionEncoder, Encoder, ImageEncoder, TokenEncoder, TrunkEncoder
from tandem.config.toml_files import Section, read_toml, explain
from tandem.config.training import (
    Augment,
    FinetuneTraining,
    Fusion,
    FusionTraining,
    Head,
    HeadTraining,
    Pseudo,
    Tfidf,
)


class _Experiment(Section):
    explains: ClassVar[bool] = False  # its model's predict_terms says what moved each logit
    seed: int = 0


class HeadExperiment(_Experiment):
    """`kind = "head"`: a trained head on frozen features of the image, the caption or both."""

    kind: Literal["head"]
    image: ImageEncoder | None = None
    caption: CaptionEncoder | None = None
    head: Head = Head()
    train: HeadTraining = HeadTraining()

    @model_validator(mode="after")
    def _sees_something(self):
        if self.image is None and self.caption is None:
            raise ValueError("needs an [image] section, a [caption] section or both")
        return self

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        return tuple(e for e in (self.image, self.caption) if e is not None)


class FinetuneExperiment(_Experiment):
    """`kind = "finetune"`: a timm network trained end to end on the images."""

    kind: Literal["finetune"]
    model: str = "tf_efficientnet_lite0"
    weights: str = ""  # as in ImageEncoder
    size: int = Field(224, ge=32, le=1024)  # pixels
    dropout: float = Field(0.2, ge=0, lt=1)
    train: FinetuneTraining = FinetuneTraining()
    augment: Augment = Augment()

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        return ()


class FusionExperiment(_Experiment):
    """`kind = "fusion"`: a network that joins photo and caption in terms that add up to each logit."""

    explains: ClassVar[bool] = True
    kind: Literal["fusion"]
    trunk: TrunkEncoder | None = None
    frozen: tuple[ImageEncoder, ...] = Field((), strict=False)
    caption: CaptionEncoder | None = None
    tokens: TokenEncoder | None = None  # the caption model's last layers are trained
    fusion: Fusion = Fusion()
    train: FusionTraining = FusionTraining()
    augment: Augment = Augment()  # where the trunk is trained from pixels
    pseudo: Pseudo | None = None

    @model_validator(mode="after")
    def _has_its_parts(self):
        if not (self.caption or self.tokens or self.trunk or self.frozen):
            raise ValueError("needs a [trunk], [[frozen]], [caption] or [tokens] section")
        if self.fusion.how == "attention" and (self.trunk is None or self.tokens is None):
            raise ValueError('how = "attention" needs a [trunk] and a [tokens] section')
        if self.pseudo and self.train.loss != "bce":
            raise ValueError(
                f'[pseudo] weighs each label of a row, so it needs loss = "bce", not {self.train.loss!r}'
            )
        return self

    @property
    def cached(self) -> bool:
        """Whether the trunk starts from maps on disk."""
        return self.trunk is not None and bool(self.trunk.tune)

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        trunk = self.trunk if self.cached else None
        return tuple(e for e in (trunk, *self.frozen, self.caption, self.tokens) if e is not None)


class TfidfExperiment(_Experiment):
    """`kind = "tfidf"`: the linear baseline on captions."""

    kind: Literal["tfidf"]
    tfidf: Tfidf = Tfidf()

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        return ()


Experiment = Annotated[
    HeadExperiment | FusionExperiment | FinetuneExperiment | TfidfExperiment, Field(discriminator="kind")
]
_EXPERIMENT = TypeAdapter(Experiment)


def load_experiment(path: Path) -> Experiment:
    """Reads one file of `configs/`, and what it leaves as it is in the file that `base` names.

    Raises ValueError that names the file and the key.
    """
    check_name(f"{path}: experiment", path.stem)
    return make_experiment(read_toml(path, ()), path)


def make_experiment(values: dict, path: Path) -> Experiment:
    """The experiment with these values; raises ValueError that names `path` and the key."""
    try:
        return _EXPERIMENT.validate_python(values)
    except ValidationError as error:
        raise explain(path, error) from error


def read_resolved(path: Path) -> Experiment:
    """Reads an experiment back from the JSON that `resolve` wrote, every default spelled out."""
    return _EXPERIMENT.validate_json(path.read_text(encoding="utf-8"))


def rewired(experiment: Experiment, of: Callable[[Encoder], Encoder]) -> Experiment:
    """With `of` each part that pretrained weights are loaded for."""
    parts = {key: getattr(experiment, key, None) for key in ("image", "trunk", "caption", "tokens")}
    parts = {key: of(part) for key, part in parts.items() if part is not None}
    if isinstance(experiment, FusionExperiment):
        parts["frozen"] = tuple(map(of, experiment.frozen))
    return experiment.model_copy(update=parts)


def pretrained(experiment: Experiment) -> list[Encoder]:
    """Each part that pretrained weights are loaded for."""
    found: list[Encoder] = []
    rewired(experiment, lambda encoder: found.append(encoder) or encoder)
    return found


def located(experiment: Experiment, root: Path) -> Experiment:
    """With the weights that lie below `root`, such as a bundle's, named by their whole path."""

    def of(encoder: Encoder) -> Encoder:
        key = "weights" if encoder.reads == "image" else "model"
        name = getattr(encoder, key)
        inside = bool(name) and (root / name).exists()
        return encoder.model_copy(update={key: str(root / name)}) if inside else encoder

    return rewired(experiment, of)


def teacher_of(experiment: Experiment) -> str | None:
    """The experiment whose fold models label the rows that have no labels, if it learns from such rows."""
    pseudo = getattr(experiment, "pseudo", None)
    return pseudo.teacher if pseudo else None


def sees(experiment: Experiment) -> set[str]:
    """Which of `image` and `caption` the experiment reads.

    >>> sorted(sees(TfidfExperiment(kind="tfidf")))
    ['caption']
    """
    return reads_rows(experiment) | {e.reads for e in experiment.encoders}


def reads_rows(experiment: Experiment) -> set[str]:
    """Which of `image` and `caption` it reads itself, not through an encoder's features.

    >>> reads_rows(FinetuneExperiment(kind="finetune"))
    {'image'}
    """
    if isinstance(experiment, TfidfExperiment):
        return {"caption"}
    if isinstance(experiment, FusionExperiment):
        return {"image"} if experiment.trunk and not experiment.cached else set()
    return {"image"} if isinstance(experiment, FinetuneExperiment) else set()

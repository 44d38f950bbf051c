"""Experiments: a TOML file in `configs/` lists only what differs from the defaults written here."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from tandem.competition import Section, explain
from tandem.files import digest
from tandem.paths import check_name


class ImageEncoder(Section):
    """A frozen timm backbone, and how its feature map becomes one vector an image."""

    kind: Literal["image"] = "image"
    model: str = "tf_efficientnet_lite0"  # any timm name; "hf-hub:..." works where the hub is reached
    weights: str = (
        ""  # a local .safetensors file; "" = shipped with a package where there is one, else the hub
    )
    size: int = Field(
        224, ge=32, le=1024
    )  # pixels; images are squeezed to a square so that no object is cut off
    pool: Literal["avg", "avgmax"] = "avgmax"
    mirror: bool = False  # also the mirrored view: twice the time

    @property
    def slug(self) -> str:
        """Names the features' files: readable, and another one whenever a setting differs."""
        return _slug(self.model, f"{self.size}", self)


class CaptionEncoder(Section):
    """A frozen sentence-transformers model."""

    kind: Literal["caption"] = "caption"
    model: str = "all-MiniLM-L6-v2"  # or a hub name, or a local folder
    max_tokens: int = Field(64, ge=4, le=8192)
    tokens: bool = True  # also the largest and smallest value of each dimension over the tokens

    @property
    def slug(self) -> str:
        return _slug(self.model, f"{self.max_tokens}", self)


Encoder = Annotated[ImageEncoder | CaptionEncoder, Field(discriminator="kind")]


def _slug(model: str, size: str, encoder: Section) -> str:
    name = "".join(c if c.isalnum() else "-" for c in model.lower().rsplit("/", 1)[-1])
    return f"{name}-{size}-{digest(encoder.model_dump())[:8]}"


class Head(Section):
    """A small network on standardised frozen features."""

    hidden: int = Field(512, ge=0)  # units; 0 = linear
    dropout: float = Field(0.5, ge=0, lt=1)  # on the hidden units
    input_dropout: float = Field(0.5, ge=0, lt=1)  # on the features
    bags: int = Field(2, ge=1)  # networks averaged, each with its own seed


class Training(Section):
    """Optimisation; the number of epochs is fixed, so that no held-out label decides when to stop."""

    epochs: int = Field(20, ge=1)
    min_steps: int = Field(0, ge=0)  # on few rows, more epochs until there are this many batches
    batch: int = Field(128, ge=2)
    accumulate: int = Field(1, ge=1)  # batches a step
    lr: float = Field(1e-3, gt=0)  # of the peak
    backbone_lr: float = Field(1e-4, ge=0)  # fine-tuning only: of the pretrained part
    weight_decay: float = Field(0.05, ge=0)
    warmup: float = Field(0.1, ge=0, lt=1)  # share of the steps; a cosine to zero follows
    ema: float = Field(0.0, ge=0, lt=1)  # decay a step of the averaged weights; 0 = off
    loss: Literal["bce", "asl", "focal"] = "bce"
    smoothing: float = Field(0.0, ge=0, lt=1)  # s of y (1 - s) + s / 2
    bfloat16: bool = True  # autocast


class HeadTraining(Training):
    """Optimisation of a small network on features."""

    epochs: int = Field(10, ge=1)
    min_steps: int = Field(100, ge=0)
    batch: int = Field(256, ge=2)  # smaller on few rows
    lr: float = Field(2e-3, gt=0)
    bfloat16: bool = False  # matrices this small gain nothing from it on a CPU


class FinetuneTraining(Training):
    """Optimisation of a whole pretrained network."""

    epochs: int = Field(10, ge=1)
    batch: int = Field(32, ge=2)
    ema: float = Field(0.99, ge=0, lt=1)
    weight_decay: float = Field(0.02, ge=0)


class Augment(Section):
    """Albumentations of the fine-tuned network's training images."""

    scale: float = Field(0.5, gt=0, le=1)  # least area of a random crop
    flip: bool = True
    colour: float = Field(0.2, ge=0, le=1)  # brightness, contrast, saturation
    erase: float = Field(0.25, ge=0, le=1)  # probability of a random rectangle


class Tfidf(Section):
    """Word and character n-grams of the captions, and a logistic regression a label."""

    words: int = Field(2, ge=1, le=4)  # longest word n-gram
    characters: int = Field(5, ge=0, le=8)  # longest character n-gram; 0 = none
    min_rows: int = Field(2, ge=1)  # an n-gram must be in this many captions
    c: float = Field(4.0, gt=0)  # inverse strength of the L2 penalty


class _Experiment(Section):
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


class TfidfExperiment(_Experiment):
    """`kind = "tfidf"`: the linear baseline on captions."""

    kind: Literal["tfidf"]
    tfidf: Tfidf = Tfidf()

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        return ()


Experiment = Annotated[HeadExperiment | FinetuneExperiment | TfidfExperiment, Field(discriminator="kind")]
_EXPERIMENT = TypeAdapter(Experiment)
_ENCODER = TypeAdapter(Encoder)


def load_experiment(path: Path) -> Experiment:
    """Reads one file of `configs/`; raises ValueError that names the file and the key."""
    check_name(f"{path}: experiment", path.stem)
    try:
        return _EXPERIMENT.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise explain(path, error) from error


def read_resolved(path: Path) -> Experiment:
    """Reads an experiment back from the JSON that `resolve` wrote, every default spelled out."""
    return _EXPERIMENT.validate_json(path.read_text(encoding="utf-8"))


def read_encoder(path: Path) -> Encoder:
    return _ENCODER.validate_json(path.read_text(encoding="utf-8"))


def sees(experiment: Experiment) -> set[str]:
    """Which of `image` and `caption` the experiment reads.

    >>> sorted(sees(TfidfExperiment(kind="tfidf")))
    ['caption']
    """
    if isinstance(experiment, FinetuneExperiment):
        return {"image"}
    if isinstance(experiment, TfidfExperiment):
        return {"caption"}
    return {e.kind for e in experiment.encoders}

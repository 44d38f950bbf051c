"""Experiments: a TOML file in `configs/` lists only what differs from the defaults written here."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from tandem.competition import Section, explain
from tandem.files import digest
from tandem.paths import check_name


class ImageEncoder(Section):
    """A frozen timm backbone, and how its feature map becomes one vector an image."""

    reads: ClassVar[str] = "image"
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


class TrunkEncoder(Section):
    """The feature maps that a timm backbone has just before `tune`: frozen up to there, trained from there on."""

    reads: ClassVar[str] = "image"
    kind: Literal["trunk"] = "trunk"
    model: str = "tf_efficientnet_lite0"  # a convolutional timm network
    weights: str = ""  # as in ImageEncoder
    size: int = Field(256, ge=32, le=1024)  # pixels
    tune: str = "blocks.5"  # the first module that is trained; "" = all of them, from pixels, nothing cached
    mirror: bool = True  # also the mirrored view: twice the time and disk

    @property
    def slug(self) -> str:
        return _slug(self.model, f"{self.size}-trunk", self)


class CaptionEncoder(Section):
    """A frozen sentence-transformers model."""

    reads: ClassVar[str] = "caption"
    kind: Literal["caption"] = "caption"
    model: str = "all-MiniLM-L6-v2"  # or a hub name, or a local folder
    max_tokens: int = Field(64, ge=4, le=8192)
    tokens: bool = True  # also the largest and smallest value of each dimension over the tokens

    @property
    def slug(self) -> str:
        return _slug(self.model, f"{self.max_tokens}", self)


class TokenEncoder(Section):
    """The states of a caption's tokens just before the last `tune` layers of a sentence-transformers model."""

    reads: ClassVar[str] = "caption"
    kind: Literal["tokens"] = "tokens"
    model: str = "all-MiniLM-L6-v2"  # as in CaptionEncoder
    tune: int = Field(3, ge=0)  # layers that are trained; those before are frozen
    max_tokens: int = Field(32, ge=4, le=8192)  # what comes after is not read; disk goes with it

    @property
    def slug(self) -> str:
        return _slug(self.model, f"{self.max_tokens}-tokens", self)


Encoder = Annotated[ImageEncoder | TrunkEncoder | CaptionEncoder | TokenEncoder, Field(discriminator="kind")]


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


class FusionTraining(Training):
    """Optimisation of the fusion network: new heads, and the late part of the trunk."""

    epochs: int = Field(4, ge=1)
    min_steps: int = Field(200, ge=0)
    batch: int = Field(64, ge=2)
    lr: float = Field(2e-3, gt=0)
    backbone_lr: float = Field(2e-4, ge=0)  # of the trunk's late stages
    caption_lr: float = Field(4e-4, ge=0)  # of the caption model's last layers
    tune_from: int = Field(2000, ge=0)  # labelled rows; with fewer, those stay as they are: they overfit
    ema: float = Field(0.99, ge=0, lt=1)


class Augment(Section):
    """Albumentations of the fine-tuned network's training images."""

    scale: float = Field(0.5, gt=0, le=1)  # least area of a random crop
    flip: bool = True
    colour: float = Field(0.2, ge=0, le=1)  # brightness, contrast, saturation
    erase: float = Field(0.25, ge=0, le=1)  # probability of a random rectangle


class Fusion(Section):
    """How the photo's and the caption's features are joined, and what is learned beside the labels."""

    how: Literal["gated", "concat", "attention", "film"] = "gated"
    hidden: int = Field(512, ge=1)  # units a modality
    rank: int = Field(32, ge=1)  # of the interaction
    gate: bool = True  # gated: how much each modality counts, for each label and row
    dropout: float = Field(0.5, ge=0, lt=1)  # on the hidden units
    input_dropout: float = Field(0.5, ge=0, lt=1)  # on the features
    heads: int = Field(2, ge=1)  # networks on one trunk, averaged
    modality_dropout: float = Field(
        0.4, ge=0, le=1
    )  # share of the loss with the caption or the photo missing
    count: float = Field(0.1, ge=0)  # weight of the number of labels
    embedding: float = Field(0.1, ge=0)  # weight of the caption's features, told from the photo
    learned_weights: bool = False  # the two weights above are only where learned ones start


class Tfidf(Section):
    """Word and character n-grams of the captions, and a logistic regression a label."""

    words: int = Field(2, ge=1, le=4)  # longest word n-gram
    characters: int = Field(5, ge=0, le=8)  # longest character n-gram; 0 = none
    min_rows: int = Field(2, ge=1)  # an n-gram must be in this many captions
    c: float = Field(4.0, gt=0)  # inverse strength of the L2 penalty


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


class Pseudo(Section):
    """Unlabelled rows that are learned from too: the teacher's model of the same fold says what is on them."""

    teacher: str  # an experiment
    weight: float = Field(
        0.5, gt=0, le=1
    )  # of a row's label that the teacher is sure of; a trained row's is 1


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
_ENCODER = TypeAdapter(Encoder)


def load_experiment(path: Path) -> Experiment:
    """Reads one file of `configs/`, and what it leaves as it is in the file that `base` names.

    Raises ValueError that names the file and the key.
    """
    check_name(f"{path}: experiment", path.stem)
    return make_experiment(_read_toml(path, ()), path)


def make_experiment(values: dict, path: Path) -> Experiment:
    """The experiment with these values; raises ValueError that names `path` and the key."""
    try:
        return _EXPERIMENT.validate_python(values)
    except ValidationError as error:
        raise explain(path, error) from error


def merged(values: dict, changes: dict) -> dict:
    """`values` with what `changes` says instead, section by section; None takes a section away.

    >>> merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}, "d": None})
    {'a': {'b': 4, 'c': 2}}
    """
    out = dict(values)
    for key, value in changes.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merged(out[key], value)
        else:
            out[key] = value
    return out


def _read_toml(path: Path, below: tuple[Path, ...]) -> dict:
    if path in below:
        raise ValueError(f"{below[0]}: base: comes back to {path.name}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from error
    if "base" not in values:
        return values
    base = path.with_name(f"{values.pop('base')}.toml")
    if not base.is_file():
        raise ValueError(f"{path}: base: there is no file {base}")
    return merged(_read_toml(base, (*below, path)), values)


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


def read_encoder(path: Path) -> Encoder:
    return _ENCODER.validate_json(path.read_text(encoding="utf-8"))


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

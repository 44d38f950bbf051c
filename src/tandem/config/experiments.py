"""Experiments: a TOML file in `configs/` lists only what differs from the defaults written here."""

from collections.abc import Collection
from operator import not_
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from tandem.config import training
from tandem.config.base_experiment import BaseExperiment
from tandem.config.clip import ZeroShotExperiment
from tandem.config.custom import KIND as CUSTOM
from tandem.config.custom import CustomExperiment, with_registered
from tandem.config.encoders import (
    AddedFeatures,
    AnyCaptionEncoder,
    AnyImageEncoder,
    Encoder,
    TokenEncoder,
    TrunkEncoder,
)
from tandem.config.external import ExternalExperiment
from tandem.config.own_code import located_code
from tandem.config.toml_files import validate

# each caption of a row is trained on by itself, and the mean of their logits is predicted; else they are joined
CAPTION_VIEWS = Field(False, exclude_if=not_)  # content keys of experiments without it stay as they are


def check_resized(augment: training.Augment, size: int) -> None:
    """Raises ValueError where images would be resized to fewer pixels than the network takes."""
    if augment.resized and augment.resized < size:
        raise ValueError(f"augment.resized = {augment.resized}: expected 0, or at least the {size} px of the network")


class HeadExperiment(BaseExperiment):
    """`kind = "head"`: a trained head on frozen features of the image, the caption or both."""

    kind: Literal["head"]
    caption_views: bool = CAPTION_VIEWS
    image: AnyImageEncoder | None = None
    caption: AnyCaptionEncoder | None = None
    head: training.Head = training.Head()
    train: training.HeadTraining = training.HeadTraining()

    @model_validator(mode="after")
    def _has_an_encoder(self) -> Self:
        if self.image is None and self.caption is None and not self.features:
            raise ValueError("needs an [image] section, a [caption] section or features")
        if self.caption_views and (self.image or self.caption is None or self.features):
            raise ValueError("caption_views = true needs a [caption] section, no [image] section and no features")
        return self

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        caption = self.caption
        if caption and self.caption_views:
            caption = caption.model_copy(update={"each_caption": True})
        return tuple(e for e in (self.image, caption) if e is not None)

    @property
    def has_terms(self) -> bool:
        """With one encoder the whole logit belongs to what it reads."""
        return self.reads == {"image", "caption"}


class FinetuneExperiment(BaseExperiment):
    """`kind = "finetune"`: a timm network trained end to end on the images."""

    family: ClassVar = "image"
    weights_field: ClassVar[str] = "weights"
    no_features: ClassVar[str] = 'it reads images alone; kind = "fusion" trains a [trunk] beside features'
    kind: Literal["finetune"]
    model: str = "tf_efficientnet_lite0"
    weights: str = ""  # as in ImageEncoder
    size: int = Field(224, ge=32, le=1024)  # pixels
    dropout: float = Field(0.2, ge=0, lt=1)
    train: training.FinetuneTraining = training.FinetuneTraining()
    augment: training.Augment = training.Augment()

    @model_validator(mode="after")
    def _resizes_to_enough(self) -> Self:
        check_resized(self.augment, self.size)
        return self

    @property
    def pixel_network(self) -> "FinetuneExperiment":
        return self

    @property
    def mirrors(self) -> bool:
        """Whether it sees mirrored images: at random in training, and as a second view in prediction."""
        return self.augment.flip

    @property
    def weights_name(self) -> str:
        return self.weights


class FusionExperiment(BaseExperiment):
    """`kind = "fusion"`: a network on image and caption whose logits are sums of terms."""

    explains: ClassVar[bool] = True
    kind: Literal["fusion"]
    trunk: TrunkEncoder | None = None
    frozen: tuple[AnyImageEncoder, ...] = Field((), strict=False)
    caption: AnyCaptionEncoder | None = None
    tokens: TokenEncoder | None = None  # the caption model's last layers are trained
    fusion: training.Fusion = training.Fusion()
    train: training.FusionTraining = training.FusionTraining()
    augment: training.Augment = training.Augment()  # where the trunk is trained from pixels
    pseudo: training.Pseudo | None = None

    @model_validator(mode="after")
    def _flip_decides(self) -> Self:
        """`flip = false` in [augment] turns off the mirrored view of the trunk, also where it is cached."""
        if self.augment.flip:
            return self
        if any(e.mirror and "mirror" in e.model_fields_set for e in (self.trunk, *self.frozen) if e is not None):
            raise ValueError("augment.flip = false, but mirror = true in [trunk] or [[frozen]]; one of them is wrong")
        if self.trunk is not None:
            self.__dict__["trunk"] = self.trunk.model_copy(update={"mirror": False})
        return self

    @model_validator(mode="after")
    def _has_its_parts(self) -> Self:
        if not (self.caption or self.tokens or self.trunk or self.frozen or self.added_features({"image", "caption"})):
            joint = '; features of both alone: kind = "head"' if self.features else ""
            raise ValueError(f"needs a [trunk], [[frozen]], [caption] or [tokens] section{joint}")
        if self.fusion.how == "attention" and (self.trunk is None or self.tokens is None):
            raise ValueError('how = "attention" needs a [trunk] and a [tokens] section')
        if self.augment.resized and self.pixel_network is None:
            raise ValueError('resized is of images: it needs a trunk that is trained from pixels, tune = "" in [trunk]')
        if self.pixel_network:
            check_resized(self.augment, self.pixel_network.size)
        if self.augment.augment and (self.trunk is None or self.trunk.tune):
            raise ValueError('augment is of images: it needs a trunk that is trained from pixels, tune = "" in [trunk]')
        if self.pseudo and self.train.loss != "bce":
            raise ValueError(f'[pseudo] weights each label of a row, so it needs loss = "bce", not {self.train.loss!r}')
        return self

    def added_features(self, reads: Collection[str]) -> tuple[AddedFeatures, ...]:
        """Those of `features` that were computed from one of `reads`: image, caption or both."""
        return tuple(features for features in self.features if features.reads in reads)

    @property
    def frozen_parts(self) -> "dict[str, tuple[Encoder | AddedFeatures, ...]]":
        """Those whose features are inputs of the heads, by the input: frozen (of the image), caption, joint."""
        parts: dict[str, tuple[Encoder | AddedFeatures, ...]] = {
            "frozen": (*self.frozen, *self.added_features({"image"})),
            "caption": (*([self.caption] if self.caption else []), *self.added_features({"caption"})),
            "joint": self.added_features({"both"}),
        }
        return {name: part for name, part in parts.items() if part}

    @property
    def cached_trunk(self) -> TrunkEncoder | None:
        """The trunk, if its trained stages start from cached maps."""
        return self.trunk if self.trunk and self.trunk.tune else None

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        return tuple(e for e in (self.cached_trunk, *self.frozen, self.caption, self.tokens) if e is not None)

    @property
    def pretrained(self) -> tuple[Encoder, ...]:
        return tuple(e for e in (self.trunk, self.caption, self.tokens, *self.frozen) if e is not None)

    @property
    def pixel_network(self) -> TrunkEncoder | None:
        return None if self.cached_trunk else self.trunk

    @property
    def mirrors(self) -> bool:
        """Whether the trunk sees mirrored images, in training and in prediction.

        >>> FusionExperiment(kind="fusion", trunk=TrunkEncoder(), augment=training.Augment(flip=False)).mirrors
        False
        """
        return self.trunk is not None and self.trunk.mirror and self.augment.flip

    def as_trained(self, rows: int) -> Self:
        """With fewer rows than `tune_from`, the pretrained late stages and layers are not trained, and no map is pooled
        for each label: the inputs of the heads are then computed once."""
        if rows >= self.train.tune_from:
            return self
        frozen = self.train.model_copy(update={"backbone_lr": 0.0, "caption_lr": 0.0})
        fusion = self.fusion.model_copy(update={"label_pooling": False})
        return self.model_copy(update={"train": frozen, "fusion": fusion})


class TfidfExperiment(BaseExperiment):
    """`kind = "tfidf"`: the linear baseline on captions.

    >>> TfidfExperiment(kind="tfidf").reads
    {'caption'}
    """

    no_features: ClassVar[str] = 'it reads the words of captions alone; kind = "head" or "fusion" reads features'
    is_random: ClassVar[bool] = False
    kind: Literal["tfidf"]
    caption_views: bool = CAPTION_VIEWS
    tfidf: training.Tfidf = training.Tfidf()

    @property
    def reads_rows(self) -> set[str]:
        return {"caption"}


Experiment = Annotated[
    HeadExperiment
    | FusionExperiment
    | FinetuneExperiment
    | TfidfExperiment
    | ZeroShotExperiment
    | CustomExperiment
    | ExternalExperiment,
    Field(discriminator="kind"),
]
_EXPERIMENT: TypeAdapter[Experiment] = TypeAdapter(Experiment)


def make_experiment(values: dict[str, Any], path: Path) -> Experiment:
    """The experiment with these values; raises ValueError that names `path` and the key."""
    if values.get("kind") == CUSTOM:
        values = with_registered(values, path)
    return validate(_EXPERIMENT, values, path)


def located(experiment: Experiment, root: Path) -> Experiment:
    """The experiment with whole paths of its code and of the pretrained weights that are below `root`, as in a
    bundle."""

    def locate(encoder: Encoder) -> Encoder:
        name = encoder.weights_name
        return encoder.with_weights(str(root / name)) if name and (root / name).exists() else encoder

    return located_code(experiment.with_pretrained(locate), root)

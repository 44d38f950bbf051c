"""Settings of the frozen encoders."""

from operator import not_
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from tandem.artifacts.atomic_io import digest
from tandem.config.toml_files import Section

Modality = Literal["image", "caption"]


class _Encoder(Section):
    """What all encoders have in common."""

    reads: ClassVar[Modality]
    cached_map: ClassVar[bool] = False  # writes maps that trained layers continue from, not one vector per row
    weights_field: ClassVar[str]  # the field that names the pretrained weights

    @property
    def weights_name(self) -> str:
        """The file, folder or hub name of the pretrained weights; "" = those of `model`."""
        return getattr(self, self.weights_field)

    @property
    def image_size(self) -> int | None:
        """Side of the square images it takes, in pixels; None for captions."""
        return getattr(self, "size", None)

    @property
    def slug(self) -> str:
        """Names the files of its features: readable, and different for every other setting."""
        values = self.model_dump()
        name = "".join(c if c.isalnum() else "-" for c in values["model"].lower().rsplit("/", 1)[-1])
        size = self.image_size or values["max_tokens"]
        kind = f"-{values['kind']}" if self.cached_map else ""
        return f"{name}-{size}{kind}-{digest(values)[:8]}"

    def with_weights(self, name: str) -> Self:
        """The same encoder with its pretrained weights in another place."""
        return self.model_copy(update={self.weights_field: name})


class ImageEncoder(_Encoder):
    """A frozen timm backbone, its last feature map pooled to one vector per image."""

    reads: ClassVar[Modality] = "image"
    weights_field: ClassVar[str] = "weights"
    kind: Literal["image"] = "image"
    model: str = "tf_efficientnet_lite0"  # any timm name; "hf-hub:..." needs access to the hub
    weights: str = ""  # a local .safetensors file; "" = from an installed package that has them, else the hub
    size: int = Field(224, ge=32, le=1024)  # pixels; images are resized to a square, nothing is cropped
    pool: Literal["avg", "avgmax"] = "avgmax"
    mirror: bool = False  # also the mirrored view: twice the time


class TrunkEncoder(_Encoder):
    """The feature maps just before the stage `tune` of a timm backbone: frozen up to there, trained from there on."""

    reads: ClassVar[Modality] = "image"
    cached_map: ClassVar[bool] = True
    weights_field: ClassVar[str] = "weights"
    kind: Literal["trunk"] = "trunk"
    model: str = "tf_efficientnet_lite0"  # a convolutional timm network
    weights: str = ""  # as in ImageEncoder
    size: int = Field(256, ge=32, le=1024)  # pixels
    tune: str = "blocks.5"  # the first module that is trained; "" = all of them, from pixels, nothing cached
    mirror: bool = True  # also the mirrored view: twice the time and disk


class CaptionEncoder(_Encoder):
    """A frozen sentence-transformers model."""

    reads: ClassVar[Modality] = "caption"
    weights_field: ClassVar[str] = "model"
    kind: Literal["caption"] = "caption"
    model: str = "all-MiniLM-L6-v2"  # or a hub name, or a local folder
    max_tokens: int = Field(64, ge=4, le=8192)
    tokens: bool = True  # also the largest and smallest value of each dimension over the tokens
    # each caption of a row is a view of it, else they are joined; the slug of encoders without it stays as it is
    each_caption: bool = Field(False, exclude_if=not_)


class TokenEncoder(_Encoder):
    """The token states just before the last `tune` layers of a sentence-transformers model."""

    reads: ClassVar[Modality] = "caption"
    cached_map: ClassVar[bool] = True
    weights_field: ClassVar[str] = "model"
    kind: Literal["tokens"] = "tokens"
    model: str = "all-MiniLM-L6-v2"  # as in CaptionEncoder
    tune: int = Field(3, ge=0)  # layers that are trained; those before are frozen
    max_tokens: int = Field(32, ge=4, le=8192)  # longer captions are cut; disk space grows with it


Encoder = Annotated[ImageEncoder | TrunkEncoder | CaptionEncoder | TokenEncoder, Field(discriminator="kind")]

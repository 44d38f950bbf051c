"""Settings of the frozen encoders."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, TypeAdapter

from tandem.artifacts.atomic_io import digest
from tandem.config.toml_files import Section


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


_ENCODER = TypeAdapter(Encoder)


def read_encoder(path: Path) -> Encoder:
    return _ENCODER.validate_json(path.read_text(encoding="utf-8"))

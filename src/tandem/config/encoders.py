"""Settings of the frozen encoders."""

from functools import partial
from operator import not_
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import AfterValidator, Discriminator, Field, Tag

from tandem.artifacts.atomic_io import digest
from tandem.artifacts.paths import check_name
from tandem.config.toml_files import Section

Modality = Literal["image", "caption"]
Joint = Literal["image", "caption", "both"]


class Crop(NamedTuple):
    """A square from the middle of an image, whose shorter side is resized to `side` pixels."""

    side: int


ImageSize = int | Crop  # the whole image as a square of so many pixels, or its middle


class _Encoder(Section):
    """What all encoders have in common."""

    reads: ClassVar[Modality]
    family: ClassVar[Literal["image", "text", "clip"]]  # which modules in features/ load and save it
    cached_map: ClassVar[bool] = False  # writes maps that trained layers continue from, not one vector per row
    weights_field: ClassVar[str]  # the field that names the pretrained weights
    bundled_int8: ClassVar[bool] = False  # bundles hold its weights in int8, not in float16

    @property
    def weights_name(self) -> str:
        """The file, folder or hub name of the pretrained weights; "" = those of `model`."""
        return getattr(self, self.weights_field)

    @property
    def items(self) -> Literal["image", "caption", "captions"]:
        """What it encodes of each row: its image, its captions as one text, or each of them."""
        return "captions" if getattr(self, "each_caption", False) else self.reads

    @property
    def image_size(self) -> ImageSize | None:
        """The square images it takes; None for captions."""
        return getattr(self, "size", None)

    @property
    def slug(self) -> str:
        """Names the files of its features: readable, and different for every other setting."""
        values = self.model_dump()
        last = values["model"].lower().split("/")[-2 if values["kind"] == "clip" else -1 :]  # ARCHITECTURE/TAG
        name = "".join(c if c.isalnum() else "-" for c in "/".join(last))
        size = values.get("size") or values.get("max_tokens", self.reads)
        kind = f"-{values['kind']}" if self.cached_map else ""
        return f"{name}-{size}{kind}-{digest(values)[:8]}"

    def with_label_prompts(self, prompts: "LabelPrompts") -> Self:
        """The same encoder; where it compares its input with prompts, with those of each label."""
        return self.model_copy(update={"label_prompts": prompts}) if getattr(self, "prompts", False) else self

    def with_weights(self, name: str) -> Self:
        """The same encoder with its pretrained weights in another place."""
        return self.model_copy(update={self.weights_field: name})


class ImageEncoder(_Encoder):
    """A frozen timm backbone, its last feature map pooled to one vector per image."""

    reads: ClassVar[Modality] = "image"
    family: ClassVar = "image"
    weights_field: ClassVar[str] = "weights"
    kind: Literal["image"] = "image"
    model: str = "tf_efficientnet_lite0"  # any timm name; "hf-hub:..." needs access to the hub
    weights: str = ""  # a local .safetensors file, or its folder; "" = from a package that has them, else the hub
    size: int = Field(224, ge=32, le=1024)  # pixels; images are resized to a square, nothing is cropped
    pool: Literal["avg", "avgmax", "token"] = "avgmax"  # a class token is always among them; "token": nothing else
    mirror: bool = False  # also the mirrored view: twice the time


class TrunkEncoder(_Encoder):
    """The maps or tokens just before the stage `tune` of a timm backbone: frozen up to there, trained from there on."""

    reads: ClassVar[Modality] = "image"
    family: ClassVar = "image"
    cached_map: ClassVar[bool] = True
    weights_field: ClassVar[str] = "weights"
    kind: Literal["trunk"] = "trunk"
    model: str = "tf_efficientnet_lite0"  # any timm network, as in ImageEncoder
    weights: str = ""  # as in ImageEncoder
    size: int = Field(256, ge=32, le=1024)  # pixels
    tune: str = "blocks.5"  # the first module that is trained: a stage, or a transformer's block; "" = all, from pixels
    mirror: bool = True  # also the mirrored view: twice the time and disk


# put before each caption: the name of one of the model's prompts, such as "query", or the text itself, "query: ";
# "" = the model's default prompt, if it has one. The slug of encoders without it stays as it is
PROMPT = Field("", exclude_if=not_)


class CaptionEncoder(_Encoder):
    """A frozen sentence-transformers or Hugging Face model."""

    reads: ClassVar[Modality] = "caption"
    family: ClassVar = "text"
    weights_field: ClassVar[str] = "model"
    bundled_int8: ClassVar[bool] = True
    kind: Literal["caption"] = "caption"
    model: str = "all-MiniLM-L6-v2"  # or a hub name, or a local folder
    max_tokens: int = Field(64, ge=4, le=8192)  # longer captions are cut, also at the model's own limit
    prompt: str = PROMPT
    tokens: bool = True  # also the largest and smallest value of each dimension over the tokens
    # each caption of a row is a view of it, else they are joined; the slug of encoders without it stays as it is
    each_caption: bool = Field(False, exclude_if=not_)


class TokenEncoder(_Encoder):
    """The token states just before the last `tune` layers of a sentence-transformers or Hugging Face model."""

    reads: ClassVar[Modality] = "caption"
    family: ClassVar = "text"
    cached_map: ClassVar[bool] = True
    weights_field: ClassVar[str] = "model"
    bundled_int8: ClassVar[bool] = True
    kind: Literal["tokens"] = "tokens"
    model: str = "all-MiniLM-L6-v2"  # as in CaptionEncoder
    tune: int = Field(3, ge=0)  # layers that are trained; those before are frozen
    max_tokens: int = Field(32, ge=4, le=8192)  # longer captions are cut; disk space grows with it
    prompt: str = PROMPT


class AddedFeatures(Section):
    """Features of the tables' rows that `make add-features` added: they are read, not computed."""

    name: Annotated[str, AfterValidator(partial(check_name, "features"))]
    reads: Joint = "both"  # what they were computed from; `make add-features` keeps it, both: not known

    @property
    def slug(self) -> str:
        """Names them among the features of an experiment."""
        return self.name

    @property
    def modalities(self) -> set[str]:
        """
        >>> AddedFeatures(name="clip").modalities == {"image", "caption"}
        True
        """
        return {"image", "caption"} if self.reads == "both" else {self.reads}


# each label's prompts; a file holds lists
LabelPrompts = tuple[Annotated[tuple[str, ...], Field(strict=False)], ...]
PROMPTS: Any = Field((), strict=False)


class ClipImageEncoder(_Encoder):
    """The image tower of a CLIP-like pair: a vector of length 1 per image, in the space of the pair's captions."""

    reads: ClassVar[Modality] = "image"
    family: ClassVar = "clip"
    weights_field: ClassVar[str] = "model"
    kind: Literal["clip"] = "clip"
    # open_clip's ARCHITECTURE/TAG, hf-hub:ORGANISATION/NAME, the timm name of an image tower, or a local folder
    model: str = "ViT-B-32/laion2b_s34b_b79k"
    size: int = Field(224, ge=16, le=1024)  # pixels: the pair's own
    resize: Literal["crop", "square"] = "crop"  # the middle of the image, or all of it
    mirror: bool = False  # also the mirrored view: twice the time
    prompts: bool = False  # also logit scale x cosine to the prompts of each label: c more columns
    label_prompts: LabelPrompts = PROMPTS  # taken from competition.toml

    @property
    def image_size(self) -> ImageSize:
        return Crop(self.size) if self.resize == "crop" else self.size


class ClipCaptionEncoder(_Encoder):
    """The text tower of a CLIP-like pair: a vector of length 1 per caption, in the space of the pair's images."""

    reads: ClassVar[Modality] = "caption"
    family: ClassVar = "clip"
    weights_field: ClassVar[str] = "model"
    kind: Literal["clip"] = "clip"
    model: str = "ViT-B-32/laion2b_s34b_b79k"  # as in ClipImageEncoder
    prompts: bool = False  # as in ClipImageEncoder
    label_prompts: LabelPrompts = PROMPTS
    each_caption: bool = Field(False, exclude_if=not_)  # as in CaptionEncoder


ClipEncoder = ClipImageEncoder | ClipCaptionEncoder
Encoder = ImageEncoder | TrunkEncoder | CaptionEncoder | TokenEncoder | ClipEncoder


def _by_kind(default: str) -> Discriminator:
    def tag(values: Any) -> str:
        return f"<{values.get('kind', default) if isinstance(values, dict) else getattr(values, 'kind', '')}>"

    return Discriminator(tag, "kind", f'expected a section with kind = "{default}" (or without kind) or kind = "clip"')


# a section [image] or [caption]; messages leave out the tags
AnyImageEncoder = Annotated[
    Annotated[ImageEncoder, Tag("<image>")] | Annotated[ClipImageEncoder, Tag("<clip>")], _by_kind("image")
]
AnyCaptionEncoder = Annotated[
    Annotated[CaptionEncoder, Tag("<caption>")] | Annotated[ClipCaptionEncoder, Tag("<clip>")], _by_kind("caption")
]

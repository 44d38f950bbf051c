"""Experiments whose model is a class of the user's."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from tandem.config.base_experiment import BaseExperiment
from tandem.config.encoders import AnyCaptionEncoder, AnyImageEncoder, Encoder, TokenEncoder, TrunkEncoder
from tandem.config.own_code import CLASS_OF_SESSION, SESSION, check_reference, declared
from tandem.config.toml_files import merged

KIND = "custom"
# what a class can declare in `inputs`: the sections and keys below that say what it reads
DECLARABLE = ("pixels", "captions", "image", "caption", "trunk", "tokens", "features")


class CustomExperiment(BaseExperiment):
    """`kind = "custom"`: a class in a file `my_*.py` beside `configs/`.

    Its attribute `inputs` declares what it reads, as the keys below; a key in the TOML file takes its place.
    """

    kind: Literal["custom"]
    model: str  # "my_models.py:MyModel", or a class that tandem.register was called with
    pixels: int = Field(0, ge=0, le=1024)  # side of the square images that it reads itself; 0: none
    captions: bool = False  # it reads the captions themselves
    image: AnyImageEncoder | None = None  # frozen features
    caption: AnyCaptionEncoder | None = None
    trunk: TrunkEncoder | None = None  # cached maps, which it continues from
    tokens: TokenEncoder | None = None
    terms: bool = False  # it has `predict_terms`: set from the class
    settings: dict[str, JsonValue] = {}  # keyword arguments of its constructor

    @field_validator("model")
    @classmethod
    def _names_a_class(cls, model: str) -> str:
        return model if CLASS_OF_SESSION.fullmatch(model) else check_reference(model)

    @model_validator(mode="after")
    def _reads_something(self) -> Self:
        if not self.reads:
            raise ValueError(
                "it reads nothing: declare what it reads in the class, inputs = {...}, or here: pixels = 224, "
                "captions = true, or a section [image], [caption], [trunk] or [tokens]"
            )
        if self.trunk is not None and not self.trunk.tune:
            raise ValueError('trunk.tune = "" has no cached maps: read the images themselves with pixels = 224')
        return self

    @property
    def explains(self) -> bool:  # type: ignore[override]
        """Whether its class has `predict_terms`."""
        return self.terms

    @property
    def own_code(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.model, *super().own_code)))

    @property
    def parts(self) -> dict[str, Encoder]:
        """The encoders by the names under which the model finds what they computed."""
        parts = {"image": self.image, "caption": self.caption, "trunk": self.trunk, "tokens": self.tokens}
        return {name: encoder for name, encoder in parts.items() if encoder is not None}

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        return tuple(self.parts.values())

    @property
    def reads_rows(self) -> set[str]:
        return ({"image"} if self.pixels else set()) | ({"caption"} if self.captions else set())

    @property
    def image_size(self) -> int | None:
        return self.pixels or None

    @property
    def needs_captions(self) -> bool:
        """Whether it was trained with captions: a class need not be able to predict without them."""
        return bool(self.features) or "caption" in self.reads

    @property
    def has_trunk(self) -> bool:
        """Whether there is a heat map of its network: what the class does with a trunk's maps is not known."""
        return False


def with_declared(values: dict[str, Any], root: Path, place: Path) -> dict[str, Any]:
    """The values of an experiment on top of what its class, in a file of `root`, declares; raises ValueError that names
    `place`, where the experiment is written."""
    model = values.get("model")
    if not isinstance(model, str):
        return values  # validation says what is wrong
    try:
        found = declared(root, model)
        if unknown := set(found.inputs) - set(DECLARABLE):
            known = ", ".join(DECLARABLE)
            raise ValueError(f"{model} declares the input {min(unknown)!r}; expected some of: {known}")
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{place}: model: {error}") from error
    return merged(dict(found.inputs), {"terms": found.explains} | values)


def with_registered(values: dict[str, Any], place: Path) -> dict[str, Any]:
    """The same for a class that tandem.register was called with; other values stay as they are."""
    return with_declared(values, place.parent, place) if values.get("model") in SESSION else values

"""What all kinds of experiments have in common."""

from collections.abc import Callable, Mapping
from operator import not_
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from tandem.config.encoders import AddedFeatures, Encoder, ImageSize, Joint
from tandem.config.own_code import references
from tandem.config.toml_files import Section

MOST_SEEDS = 10
# content keys of experiments with one seed stay as they are
SEEDS = Field(1, ge=1, le=MOST_SEEDS, exclude_if=lambda seeds: seeds == 1)


def _by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class BaseExperiment(Section):
    """What all kinds of experiments have in common; each kind overrides what differs."""

    no_features: ClassVar[str] = ""  # why a kind reads none that the user added
    explains: ClassVar[bool] = False  # its logits are sums of terms, in every setting of `predict_terms`
    is_random: ClassVar[bool] = True  # another seed gives another model
    external: ClassVar[bool] = False  # predictions without models: it can't label new images
    seed: int = Field(0, ge=0, lt=2**31)
    # models of each fold, the first with `seed`, the next with `seed` + 1; their logits are averaged
    seeds: int = SEEDS
    tuned: str = Field("", exclude_if=not_)  # the competition whose folds chose its settings: written by `make tune`
    # those that `make add-features` added, by name; content keys of experiments without them stay as they are
    features: tuple[Annotated[AddedFeatures, BeforeValidator(_by_name)], ...] = Field((), strict=False, exclude_if=not_)

    @model_validator(mode="after")
    def _reads_features(self) -> Self:
        if self.features and self.no_features:
            raise ValueError(f"features = {[one.name for one in self.features]}: {self.no_features}")
        return self

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if self.seeds > 1 and not self.is_random:
            raise ValueError(f"seeds = {self.seeds}: {self.why_not_random}")
        return self

    @property
    def why_not_random(self) -> str:
        """Why further seeds give nothing; "" where they do."""
        return "" if self.is_random else f"kind {getattr(self, 'kind', '')} gives the same model with every seed"

    def of_seed(self, number: int) -> Self:
        """The experiment that the models of one of its seeds are; the first has number 0."""
        if self.seeds == 1:
            return self
        return self.model_copy(update={"seed": self.seed + number, "seeds": 1})

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        """The frozen encoders whose features it reads, in the order in which these are concatenated."""
        return ()

    @property
    def pretrained(self) -> tuple[Encoder, ...]:
        """Each part that pretrained weights are loaded for."""
        return self.encoders

    @property
    def pixel_network(self) -> Any:
        """The network (model, weights, size) that it trains from pixels; None where it trains none."""
        return None

    @property
    def uses_bfloat16(self) -> bool:
        """Whether it is trained in bfloat16 where the hardware computes in it."""
        return getattr(getattr(self, "train", None), "bfloat16", False)

    @property
    def reads_rows(self) -> set[str]:
        """Which of `image` and `caption` it reads itself, not through an encoder."""
        return {"image"} if self.pixel_network else set()

    @property
    def reads(self) -> set[str]:
        """Which of `image` and `caption` its predictions depend on."""
        added = set[str]().union(*(features.modalities for features in self.features))
        return self.reads_rows | {encoder.reads for encoder in self.encoders} | added

    @property
    def blocks(self) -> "tuple[Encoder | AddedFeatures, ...]":
        """All whose features it reads, in the order in which these are concatenated."""
        return (*self.encoders, *self.features)

    @property
    def labels_new_images(self) -> bool:
        """Whether it can label images that are in no table."""
        return not self.why_no_new_images

    @property
    def why_no_new_images(self) -> str:
        """Why it can't label images that are in no table; "" where it can."""
        if not self.features:
            return ""
        names = ", ".join(repr(one.name) for one in self.features)
        return f"it reads the features {names} that make add-features added, which nothing here can compute"

    def with_added(self, reads: Mapping[str, Joint], alone: Any = None) -> Self:
        """The experiment with what each of its `features` was computed from: as `reads` says, else `alone`."""
        if not self.features:
            return self
        known = [one.model_copy(update={"reads": reads.get(one.name, alone or one.reads)}) for one in self.features]
        return self.model_copy(update={"features": tuple(known)})

    @property
    def has_terms(self) -> bool:
        """Whether its model has `predict_terms`: the terms of its logits are then kept, in `contributions.parquet`."""
        return self.explains

    @property
    def needs_captions(self) -> bool:
        """Whether it can't predict from an image alone."""
        return bool(self.features) or ("caption" in self.reads and not (self.explains and "image" in self.reads))

    @property
    def image_size(self) -> int | None:
        """Side, in pixels, of the square images that it reads itself; None if it reads none."""
        return self.resized or self.pixel_network.size if self.pixel_network else None

    @property
    def resized(self) -> int:
        """Side, in pixels, of the squares that images are resized to before anything else; 0: they are not."""
        return getattr(getattr(self, "augment", None), "resized", 0)

    @property
    def image_sizes(self) -> set[ImageSize]:
        """All square images that it or its encoders read.

        >>> from tandem.config.experiments import FinetuneExperiment
        >>> FinetuneExperiment(kind="finetune", size=64).image_sizes
        {64}
        """
        return {size for size in (self.image_size, *(encoder.image_size for encoder in self.encoders)) if size}

    @property
    def has_trunk(self) -> bool:
        """Whether its network has a feature map, so that a heat map can be computed."""
        return getattr(self, "trunk", None) is not None

    @property
    def teacher(self) -> str | None:
        """The experiment whose fold models label the unlabelled rows."""
        return getattr(getattr(self, "pseudo", None), "teacher", None)

    @property
    def own_code(self) -> tuple[str, ...]:
        """Each FILE.py:NAME of the user's code that it names, and the name of a class of this session."""
        return tuple(dict.fromkeys(references(self)))

    def for_labelling(self) -> Self:
        """The experiment without the user's loss, sampler and augmentation, which only training calls."""
        parts = {key: getattr(self, key, None) for key in ("train", "augment")}
        return self.model_copy(update={key: part.without_own_code() for key, part in parts.items() if part})

    def as_trained(self, rows: int) -> Self:
        """The experiment with the settings that are used for this number of labelled rows."""
        return self

    def with_pretrained(self, change: Callable[[Encoder], Encoder]) -> Self:
        """The experiment with `change(part)` in place of each of `pretrained`."""
        parts = {key: getattr(self, key, None) for key in ("image", "trunk", "caption", "tokens")}
        changed: dict[str, Any] = {key: change(part) for key, part in parts.items() if part is not None}
        if frozen := getattr(self, "frozen", ()):
            changed["frozen"] = tuple(map(change, frozen))
        return self.model_copy(update=changed)

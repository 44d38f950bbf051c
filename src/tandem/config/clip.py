"""Zero-shot experiments, and the prompts that CLIP-like pairs compare images and captions with."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal, Self, TypeVar

from pydantic import model_validator

from tandem.config.base_experiment import BaseExperiment
from tandem.config.encoders import ClipCaptionEncoder, ClipImageEncoder, Encoder
from tandem.config.labels import Labels

E = TypeVar("E", bound=BaseExperiment)
SHOWN = 3  # labels that a message names


class ZeroShotExperiment(BaseExperiment):
    """`kind = "zeroshot"`: similarity of image and label prompts in a CLIP-like pair; no weight is trained.

    >>> ZeroShotExperiment(kind="zeroshot", captions=True).reads == {"image", "caption"}
    True
    """

    explains: ClassVar[bool] = True
    no_features: ClassVar[str] = "it compares images and captions with prompts alone"
    is_random: ClassVar[bool] = False
    kind: Literal["zeroshot"]
    image: ClipImageEncoder = ClipImageEncoder()
    captions: bool = False  # also the similarity of caption and prompts, where a row has a caption
    # platt: a scale and a shift of each label, fitted on the other folds; none: the softmax over the labels, as in CLIP
    calibration: Literal["platt", "none"] = "platt"

    @model_validator(mode="after")
    def _compares_with_prompts(self) -> Self:
        self.__dict__["image"] = self.image.model_copy(update={"prompts": True})
        return self

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        return (self.image, self.caption) if self.captions else (self.image,)

    @property
    def caption(self) -> ClipCaptionEncoder:
        """The text tower of the same pair."""
        image = self.image
        return ClipCaptionEncoder(model=image.model, prompts=True, label_prompts=image.label_prompts)

    def with_pretrained(self, change: Callable[[Encoder], Encoder]) -> Self:
        return self.model_copy(update={"image": change(self.image)})


def with_label_prompts(experiment: E, labels: Labels) -> E:
    """The experiment with the prompts of these labels, where it compares with prompts and all labels have some."""
    if not needs_prompts(experiment) or labels.without_prompt:
        return experiment
    prompts = labels.each_prompts()
    return experiment.with_pretrained(lambda encoder: encoder.with_label_prompts(prompts))


def needs_prompts(experiment: BaseExperiment) -> bool:
    """Whether an encoder of it compares with prompts that it does not have yet."""
    return any(getattr(e, "prompts", False) and not getattr(e, "label_prompts", ()) for e in experiment.pretrained)


def require_prompts(name: str, experiment: BaseExperiment, labels: Labels, source: Path) -> None:
    """Raises ValueError, with the lines to add to the file `source`, where labels lack prompts that it needs."""
    missing = labels.without_prompt
    if not needs_prompts(experiment) or not missing:
        return
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    lines = [f'{_quoted(label)} = "a photo of ..."' for label in missing[:SHOWN]]
    raise ValueError(
        f"{source}: labels {', '.join(map(repr, missing[:SHOWN]))}{more} are numbers, and experiment {name!r} compares "
        "images with what a label means; say it in words, one line for each label:\n\n[labels.prompts]\n"
        + "\n".join([*lines, *(["..."] if more else [])])
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

"""Settings of the networks and of their training."""

from operator import not_
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field

from tandem.config.own_code import REFERENCE, Reference
from tandem.config.toml_files import Section

LOSSES = ("asl", "bce", "focal")  # the names that `train.loss` can have
# content keys of experiments without a function of the user's stay as they are, and of those without the others
NO_FUNCTION = Field("", exclude_if=not_)
ORIGINALS = Field(0, ge=0, le=1024, exclude_if=not_)
NO_LAYER_DECAY = Field(1.0, gt=0, le=1, exclude_if=lambda decay: decay == 1)
NO_DROP_PATH = Field(0.0, ge=0, lt=1, exclude_if=not_)


def _check_loss(text: str) -> str:
    if text in LOSSES or REFERENCE.fullmatch(text):
        return text
    raise ValueError(f"expected one of {', '.join(LOSSES)}, or a function my_FILE.py:NAME")


Loss = Annotated[str, AfterValidator(_check_loss)]


class Head(Section):
    """A small network on standardised frozen features."""

    hidden: int = Field(512, ge=0)  # units; 0 = linear
    dropout: float = Field(0.5, ge=0, lt=1)  # on the hidden units
    input_dropout: float = Field(0.5, ge=0, lt=1)  # on the features
    bags: int = Field(2, ge=1)  # networks averaged, each with its own seed


class Training(Section):
    """Optimisation; the number of epochs is fixed: without early stopping, held-out labels are never used."""

    epochs: int = Field(20, ge=1)
    min_steps: int = Field(0, ge=0)  # with few rows, more epochs until this number of batches
    batch: int = Field(128, ge=2)
    accumulate: int = Field(1, ge=1)  # batches per step of the optimiser
    lr: float = Field(1e-3, gt=0)  # peak
    backbone_lr: float = Field(1e-4, ge=0)  # fine-tuning only: peak of the pretrained part
    weight_decay: float = Field(0.05, ge=0)  # of matrices and kernels; none of norms and biases
    warmup: float = Field(0.1, ge=0, lt=1)  # share of the steps; then a cosine to zero
    ema: float = Field(0.0, ge=0, lt=1)  # decay of the averaged weights at each step; 0 = off
    loss: Loss = "bce"
    sampler: Reference = NO_FUNCTION  # the rows of an epoch; "": all, in random order
    smoothing: float = Field(0.0, ge=0, lt=1)  # s in the target y (1 - s) + s / 2
    bfloat16: bool = True  # autocast

    def without_own_code(self) -> Self:
        loss = "bce" if ":" in self.loss else self.loss
        return self.model_copy(update={"loss": loss, "sampler": ""})


class HeadTraining(Training):
    """Optimisation of a small network on features."""

    epochs: int = Field(10, ge=1)
    min_steps: int = Field(100, ge=0)
    batch: int = Field(256, ge=2)  # smaller with few rows
    lr: float = Field(2e-3, gt=0)
    bfloat16: bool = False  # no gain for matrices this small on a CPU


class FinetuneTraining(Training):
    """Optimisation of a whole pretrained network."""

    epochs: int = Field(10, ge=1)
    batch: int = Field(32, ge=2)
    ema: float = Field(0.99, ge=0, lt=1)
    weight_decay: float = Field(0.02, ge=0)
    layer_decay: float = Field(1.0, gt=0, le=1)  # factor of backbone_lr from each layer to the one before it
    drop_path: float = Field(0.0, ge=0, lt=1)  # stochastic depth: of the last block, less for those before; 0 = off
    mixup: float = Field(0.0, ge=0)  # a of Beta(a, a), the share of another image; 0 = off
    cutmix: float = Field(0.0, ge=0)  # the same for a rectangle of another image; with mixup too, one of them per batch


class FusionTraining(Training):
    """Optimisation of the fusion network: new heads and the late parts of its backbones."""

    epochs: int = Field(4, ge=1)
    min_steps: int = Field(200, ge=0)
    batch: int = Field(64, ge=2)
    lr: float = Field(2e-3, gt=0)
    backbone_lr: float = Field(2e-4, ge=0)  # peak of the trunk's late stages
    caption_lr: float = Field(4e-4, ge=0)  # peak of the caption model's last layers
    tune_from: int = Field(2000, ge=0)  # labelled rows; with fewer, those parts stay frozen, as they would overfit
    ema: float = Field(0.99, ge=0, lt=1)
    layer_decay: float = NO_LAYER_DECAY  # factor of both peaks from each pretrained layer to the one before it
    drop_path: float = NO_DROP_PATH  # stochastic depth of the trunk: of its last block, less for those before; 0 = off


class Augment(Section):
    """Random changes of training images (albumentations)."""

    scale: float = Field(0.5, gt=0, le=1)  # smallest area of a random crop
    flip: bool = True  # mirrored, in training at random and in prediction as a second view
    colour: float = Field(0.2, ge=0, le=1)  # brightness, contrast, saturation
    erase: float = Field(0.25, ge=0, le=1)  # probability of a random rectangle
    # px: images are first resized to a square of this side, kept on disk beside a GPU, and crops are taken from it;
    # 0 = crops are taken from the images as they are, which are decoded in every epoch
    resized: int = ORIGINALS
    augment: Reference = NO_FUNCTION  # a function of the user's, called after all these

    def without_own_code(self) -> Self:
        return self.model_copy(update={"augment": ""})


class Fusion(Section):
    """How image and caption features are joined, and the auxiliary losses."""

    how: Literal["gated", "concat", "attention", "film"] = "gated"
    hidden: int = Field(512, ge=1)  # units of each modality
    rank: int = Field(32, ge=1)  # of the low-rank interaction
    gate: bool = True  # gated: a weight of each modality for every label and row
    dropout: float = Field(0.5, ge=0, lt=1)  # on the hidden units
    input_dropout: float = Field(0.5, ge=0, lt=1)  # on the features
    label_pooling: bool = True  # also pool the trunk's last map for each label; not with few rows, see tune_from
    heads: int = Field(2, ge=1)  # on the same backbones, averaged
    modality_dropout: float = Field(0.4, ge=0, le=1)  # share of the loss with one modality missing
    count: float = Field(0.1, ge=0)  # weight of the loss on the number of labels
    embedding: float = Field(0.1, ge=0)  # weight of the loss on caption features predicted from image features
    learned_weights: bool = False  # the two weights above are initial values of learned ones

    @property
    def uses_positions(self) -> bool:
        """Whether it reads the trunk's last map position by position, not only its mean and maximum."""
        return self.label_pooling or self.how == "attention"


class Tfidf(Section):
    """Word and character n-grams of the captions, and a logistic regression per label."""

    words: int = Field(2, ge=1, le=4)  # longest word n-gram
    characters: int = Field(5, ge=0, le=8)  # longest character n-gram; 0 = none
    min_rows: int = Field(2, ge=1)  # fewest captions that an n-gram must be in
    c: float = Field(4.0, gt=0)  # inverse strength of the L2 penalty


class Pseudo(Section):
    """Training also on unlabelled rows, labelled by the teacher's model of the same fold."""

    teacher: str  # an experiment
    weight: float = Field(0.5, gt=0, le=1)  # of a label that the teacher is certain of; a training label's is 1

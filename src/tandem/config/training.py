"""Settings of the networks and of their training."""

from typing import Literal

from pydantic import Field

from tandem.config.toml_files import Section


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


class Pseudo(Section):
    """Unlabelled rows that are learned from too: the teacher's model of the same fold says what is on them."""

    teacher: str  # an experiment
    weight: float = Field(
        0.5, gt=0, le=1
    )  # of a row's label that the teacher is sure of; a trained row's is 1

"""What an experiment reads of one split: features on disk, captions and image files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tandem.artifacts.paths import LABELLED, SPLITS, Paths
from tandem.config.encoders import AddedFeatures, Encoder
from tandem.config.experiments import Experiment
from tandem.data.added_features import read_added
from tandem.data.image_loader import Image, Resized
from tandem.data.kept_squares import kept_squares
from tandem.data.split_tables import read_caption_lists, read_captions, read_image_rows
from tandem.features.feature_store import read_features
from tandem.models.inputs import Inputs, build_inputs
from tandem.runtime.torch_setup import device


@dataclass(frozen=True)
class SplitSource:
    """The rows of one split in the order of its CSV."""

    paths: Paths
    split: str
    resized: int = 0  # px: the side of the square that images are resized to first; 0: they are not

    @cached_property
    def _images(self) -> dict[str, list]:
        return read_image_rows(self.paths.images(self.split))

    @property
    def ids(self) -> list[str]:
        return self._images["id"]

    @property
    def captions(self) -> Sequence[str]:
        return read_captions(self.paths.captions(self.split))[1]

    @property
    def caption_lists(self) -> Sequence[Sequence[str]]:
        return read_caption_lists(self.paths.captions(self.split))

    def images(self, size: int) -> Sequence[Image]:
        del size  # files have any size
        files = [self.paths.input / file for file in self._images["file"]]
        if not self.resized:
            return files
        if device().type == "cuda":  # a GPU waits for the decoder otherwise; a CPU decodes in a few % of its time
            return kept_squares(self.paths, self.split, self.resized)
        return [Resized(file, self.resized) for file in files]

    def features(self, encoder: Encoder) -> np.ndarray:
        return read_features(self.paths.features(encoder.slug, self.split), self.ids)

    def added(self, features: AddedFeatures) -> np.ndarray:
        return read_added(self.paths, features.name, self.split, self.ids)


def read_inputs(paths: Paths, experiment: Experiment, split: str) -> Inputs:
    return build_inputs(experiment, SplitSource(paths, split, experiment.resized))


def unlabelled(paths: Paths) -> list[str]:
    """The splits whose rows may be used for training without their labels."""
    return [split for split in SPLITS if split not in LABELLED and paths.images(split).exists()]

"""An encoder over one split: which module runs it, its items, and the key of the features."""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from tandem.artifacts.atomic_io import digest
from tandem.artifacts.paths import Paths
from tandem.config.encoders import Encoder
from tandem.data.split_tables import read_captions, read_images
from tandem.features.feature_store import features_key, write_features
from tandem.features.pretrained_weights import load_pretrained
from tandem.features.weights_identity import UNRESOLVED, weights_identity

if TYPE_CHECKING:
    import torch

ENCODER_VERSION = 1  # raised when an encoder's features change
MODULES = {
    "image": "image_encoder",
    "trunk": "image_backbone_split",
    "caption": "text_encoder",
    "tokens": "text_backbone_split",
}
Encode = Callable[[Sequence], Iterator[np.ndarray]]


def load_encoder(cfg: Encoder) -> Encode:
    """The encoder with its network loaded: files or captions in order -> (b, views, ...) float32 blocks."""
    return _module(cfg).load_encoder(cfg)


def encode_split(paths: Paths, cfg: Encoder, split: str) -> bool:
    """Writes the features of one split; False where they are current."""
    path, source = paths.features(cfg.slug, split), weights_identity(cfg)
    if source.endswith(UNRESOLVED):
        load_encoder(cfg)  # downloads the weights, so that their revision is known
        source = weights_identity(cfg)
    ids, items, content = split_rows(paths, cfg, split)
    key = digest([cfg.model_dump(), source, ids, content])
    if features_key(path) == key:
        return False
    meta = {"encoder": cfg.model_dump(), "source": source}
    unit = "img" if cfg.reads == "image" else "captions"
    write_features(path, key, ids, lambda start: load_encoder(cfg)(items[start:]), meta, unit)
    return True


def used_tensors(cfg: Encoder) -> dict[str, "torch.Tensor"]:
    """The tensors of the pretrained model that the encoder uses, by their names there."""
    return _module(cfg).early_tensors(cfg) if cfg.cached_map else load_pretrained(cfg).state_dict()


def split_rows(paths: Paths, cfg: Encoder, split: str) -> tuple[list[str], Sequence, list[str]]:
    """(ids, items to encode, their content or its digest) of one split."""
    if cfg.reads == "image":
        rows = read_images(paths.images(split))
        return list(rows["id"]), [paths.input / f for f in rows["file"]], list(rows["sha"])
    ids, captions = read_captions(paths.captions(split))
    return ids, captions, captions


def _module(cfg: Encoder) -> ModuleType:
    return import_module(f"tandem.features.{MODULES[cfg.kind]}")

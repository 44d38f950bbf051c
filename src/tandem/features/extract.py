"""An encoder over one split: which module does it, what it reads, and the key of what it writes."""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from tandem.artifacts.atomic_io import digest
from tandem.artifacts.paths import Paths
from tandem.config.encoders import Encoder
from tandem.data.split_tables import read_captions, read_images
from tandem.features.feature_store import features_key, write_features
from tandem.features.pretrained_weights import backbone_source, load_backbone, load_sentences, sentence_source

if TYPE_CHECKING:
    import torch

MODULES = {
    "image": "image_encoder",
    "trunk": "image_backbone_split",
    "caption": "text_encoder",
    "tokens": "text_backbone_split",
}


def make(cfg: Encoder) -> Callable[[Sequence], Iterator[np.ndarray]]:
    """The encoder, its network loaded: files or captions in order -> (b, views, ...) blocks."""
    return import_module(f"tandem.features.{MODULES[cfg.kind]}").make(cfg)


def encode(cfg: Encoder, items: Sequence) -> Iterator[np.ndarray]:
    """(b, views, ...) blocks of files or captions, in order."""
    return make(cfg)(items)


def encode_split(paths: Paths, cfg: Encoder, split: str) -> bool:
    """Writes the features of one split; False where they are current."""
    image = cfg.reads == "image"
    source = backbone_source(cfg.model, cfg.weights) if image else sentence_source(cfg.model)
    path = paths.features(cfg.slug, split)
    ids, items, content = rows_of(paths, cfg, split)
    key = digest([cfg.model_dump(), source, ids, content])
    if features_key(path) == key:
        return False
    meta = {"encoder": cfg.model_dump(), "source": source}
    unit = "img" if image else "captions"
    write_features(path, key, ids, lambda start: encode(cfg, items[start:]), meta, unit)
    return True


def read_tensors(cfg: Encoder) -> dict[str, "torch.Tensor"]:
    """What the encoder takes of its pretrained model's tensors, by their names there: not what is behind its cut."""
    if cfg.kind in ("trunk", "tokens"):
        return import_module(f"tandem.features.{MODULES[cfg.kind]}").early_tensors(cfg)
    network = load_backbone(cfg.model, cfg.weights) if cfg.reads == "image" else load_sentences(cfg.model)
    return network.state_dict()


def rows_of(paths: Paths, cfg: Encoder, split: str) -> tuple[list, Sequence, list]:
    """(ids, what to encode, what it is known by) of one split."""
    if cfg.reads == "image":
        rows = read_images(paths.images(split))
        return list(rows["id"]), [paths.input / f for f in rows["file"]], list(rows["sha"])
    ids, captions = read_captions(paths.captions(split))
    return list(ids), captions, list(captions)

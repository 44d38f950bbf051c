"""A sentence-transformers model split in two: frozen layers, computed once for each caption, and trained layers."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from tandem.config.encoders import TokenEncoder
from tandem.features.pretrained_weights import load_sentences
from tandem.features.text_encoder import BATCH
from tandem.runtime.torch_setup import autocast, device

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def load_encoder(cfg: TokenEncoder) -> Callable[[Sequence[str]], Iterator[np.ndarray]]:
    """Captions in order -> (b, 1, max_tokens, d) float32 token states; zeros after a caption's last token."""
    layers = early_layers(cfg)

    @torch.inference_mode()
    def encode(captions: Sequence[str]) -> Iterator[np.ndarray]:
        for start in range(0, len(captions), BATCH):
            yield token_states(layers, captions[start : start + BATCH])[:, None]

    return encode


def early_layers(cfg: TokenEncoder) -> "SentenceTransformer":
    """The SentenceTransformer without its last `cfg.tune` layers."""
    sentences = load_sentences(cfg.model).to(device())
    cast(Any, sentences).max_seq_length = cfg.max_tokens
    _split(cfg, sentences)
    return sentences


def early_tensors(cfg: TokenEncoder) -> dict[str, torch.Tensor]:
    """The tensors of `early_layers`, by their names in the pretrained model."""
    return early_layers(cfg).state_dict()


def token_states(layers: "SentenceTransformer", captions: Sequence[str]) -> np.ndarray:
    """(b, max_tokens, d) float32."""
    on = device()
    with autocast(on, enabled=on.type == "cuda"):
        encoded: Any = layers.encode(
            list(captions), batch_size=64, output_value="token_embeddings", show_progress_bar=False
        )
    length = cast(Any, layers).max_seq_length
    block = np.zeros((len(captions), length, encoded[0].shape[-1]), np.float32)
    for row, states in zip(block, encoded, strict=True):
        row[: len(states)] = states.float().cpu().numpy()
    return block


class LateLayers(nn.Module):
    """The trained layers: states (b, t, d) -> states; a position of zeros is no token."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        there = is_token(states)
        mask = torch.zeros(there.shape, dtype=states.dtype, device=states.device)
        mask = mask.masked_fill(~there, torch.finfo(states.dtype).min)[:, None, None]
        for layer in self.layers:
            states = layer(states, mask)
        return states * there[..., None]


def is_token(states: torch.Tensor) -> torch.Tensor:
    """(b, t) bool of states (b, t, d): False after a caption's last token."""
    return (states != 0).any(-1)


def late_layers(cfg: TokenEncoder) -> LateLayers:
    """The pretrained layers that follow the states of the encoder."""
    return _split(cfg, load_sentences(cfg.model))


def _split(cfg: TokenEncoder, sentences: "SentenceTransformer") -> LateLayers:
    """Removes the last `cfg.tune` layers and returns them; raises ValueError where there are none."""
    encoder: Any = getattr(getattr(sentences[0], "auto_model", None), "encoder", None)
    layers = getattr(encoder, "layer", None)
    if layers is None or len(layers) < cfg.tune:
        found = "no list of layers" if layers is None else f"{len(layers)} layers"
        raise ValueError(
            f"model = {cfg.model!r}: {found}, but tune = {cfg.tune}; expected a BERT with at least that many"
        )
    keep = len(layers) - cfg.tune
    late = LateLayers(layers[keep:])
    encoder.layer = layers[:keep]
    return late

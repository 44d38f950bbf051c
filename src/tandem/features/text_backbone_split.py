"""A sentence-transformers model split in two: frozen early layers, and trained late layers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from tandem.config.encoders import CaptionEncoder, TokenEncoder
from tandem.features.pretrained_weights import load_sentences
from tandem.runtime.torch_setup import autocast, device

BATCH = 512  # captions in one call, which sorts them by length


def load_model(cfg: CaptionEncoder | TokenEncoder) -> Any:  # a SentenceTransformer, whose types are incomplete
    sentences: Any = load_sentences(cfg.model).to(device())
    sentences.max_seq_length = cfg.max_tokens
    return sentences


def run_model(model: Any, captions: Sequence[str], output: str | None) -> Any:
    on = device()
    with autocast(on, enabled=on.type == "cuda"):
        return model.encode(list(captions), batch_size=64, output_value=output, show_progress_bar=False)


def token_states(layers: Any, captions: Sequence[str]) -> np.ndarray:
    """(b, max_tokens, d) float32."""
    encoded = run_model(layers, captions, "token_embeddings")
    block = np.zeros((len(captions), layers.max_seq_length, encoded[0].shape[-1]), np.float32)
    for row, states in zip(block, encoded, strict=True):
        row[: len(states)] = states.float().cpu().numpy()
    return block


def early_layers(cfg: TokenEncoder) -> Any:
    """The SentenceTransformer without its last `cfg.tune` layers."""
    sentences = load_model(cfg)
    _split(cfg, sentences)
    return sentences


def early_tensors(cfg: TokenEncoder) -> dict[str, torch.Tensor]:
    """The tensors of `early_layers`, by their names in the pretrained model."""
    return early_layers(cfg).state_dict()


class LateLayers(nn.Module):
    """The trained layers: states (b, t, d) -> states; a position of zeros is no token."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        token_mask = is_token(states)
        mask = torch.zeros(token_mask.shape, dtype=states.dtype, device=states.device)
        mask = mask.masked_fill(~token_mask, torch.finfo(states.dtype).min)[:, None, None]
        for layer in self.layers:
            states = layer(states, mask)
        return states * token_mask[..., None]


def is_token(states: torch.Tensor) -> torch.Tensor:
    """(b, t) bool of states (b, t, d): False after a caption's last token."""
    return (states != 0).any(-1)


def late_layers(cfg: TokenEncoder) -> LateLayers:
    """The pretrained layers that follow the states of the encoder."""
    return _split(cfg, load_sentences(cfg.model))


def _split(cfg: TokenEncoder, sentences: Any) -> LateLayers:
    """Removes the last `cfg.tune` layers and returns them; raises ValueError where there are none."""
    encoder = getattr(getattr(sentences[0], "auto_model", None), "encoder", None)
    layers = getattr(encoder, "layer", None)
    if encoder is None or layers is None or len(layers) < cfg.tune:
        found = f"{'no list of' if layers is None else len(layers)} layers, but tune = {cfg.tune}"
        raise ValueError(f"model = {cfg.model!r}: {found}; expected a BERT with at least that many")
    keep = len(layers) - cfg.tune
    encoder.layer = layers[:keep]
    return LateLayers(layers[keep:])

"""A sentence-transformers model cut in two: layers that are frozen and computed once a caption, and layers trained."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from tandem.config.encoders import TokenEncoder
from tandem.features.pretrained_weights import load_sentences
from tandem.features.text_encoder import BATCH
from tandem.runtime.torch_setup import autocast, device


def make(cfg: TokenEncoder) -> Callable[[Sequence[str]], Iterator[np.ndarray]]:
    """Captions in order -> (b, 1, max_tokens, d) float32 states of their tokens; zeros after a caption's end."""
    layers = early_layers(cfg)

    @torch.inference_mode()
    def encode(captions: Sequence[str]) -> Iterator[np.ndarray]:
        for start in range(0, len(captions), BATCH):
            yield states_of(layers, captions[start : start + BATCH])[:, None]

    return encode


def early_layers(cfg: TokenEncoder):
    """The SentenceTransformer without its last `cfg.tune` layers."""
    sentences = load_sentences(cfg.model).to(device())
    sentences.max_seq_length = cfg.max_tokens
    _split(cfg, sentences)
    return sentences


def early_tensors(cfg: TokenEncoder) -> dict[str, torch.Tensor]:
    """What `early_layers` takes of the model's tensors, by their names there."""
    return early_layers(cfg).state_dict()


def states_of(layers, captions: Sequence[str]) -> np.ndarray:
    """(b, max_tokens, d) float32."""
    on = device()
    with autocast(on, enabled=on.type == "cuda"):
        encoded = layers.encode(
            list(captions), batch_size=64, output_value="token_embeddings", show_progress_bar=False
        )
    block = np.zeros((len(captions), layers.max_seq_length, encoded[0].shape[-1]), np.float32)
    for row, states in zip(block, encoded, strict=True):
        row[: len(states)] = states.float().cpu().numpy()
    return block


class LateLayers(nn.Module):
    """The layers that are trained: states (b, t, d) -> states; a token is where any of its numbers is not 0."""

    def __init__(self, layers: Sequence[nn.Module]):
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
    """(b, t) bool of states (b, t, d): False after a caption's end."""
    return (states != 0).any(-1)


def late_layers(cfg: TokenEncoder) -> LateLayers:
    """What follows the states that `encode` yields, with pretrained weights."""
    return _split(cfg, load_sentences(cfg.model))


def _split(cfg: TokenEncoder, sentences) -> LateLayers:
    """Takes the last `cfg.tune` layers off; raises ValueError where there are no such layers."""
    encoder = getattr(getattr(sentences[0], "auto_model", None), "encoder", None)
    layers = getattr(encoder, "layer", None)
    if layers is None or len(layers) < cfg.tune:
        found = "no list of layers" if layers is None else f"{len(layers)} layers"
        raise ValueError(f"model = {cfg.model!r}: {found}, but tune = {cfg.tune}; expected a BERT of so many")
    keep = len(layers) - cfg.tune
    late = LateLayers(layers[keep:])
    encoder.layer = layers[:keep]
    return late

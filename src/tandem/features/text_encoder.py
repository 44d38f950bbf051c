"""Frozen sentence-transformers: one vector for each caption, of the sentence and of its tokens."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch

from tandem.config.encoders import CaptionEncoder
from tandem.features.pretrained_weights import load_sentences
from tandem.runtime.torch_setup import autocast, device

BATCH = 512  # captions in one call, which sorts them by length


def load_encoder(cfg: CaptionEncoder) -> Callable[[Sequence[str]], Iterator[np.ndarray]]:
    """Captions in order -> (b, 1, d or 3d) float32, `BATCH` at a time."""
    on = device()
    model = load_sentences(cfg.model).to(on)
    cast(Any, model).max_seq_length = cfg.max_tokens

    @torch.inference_mode()
    def encode(captions: Sequence[str]) -> Iterator[np.ndarray]:
        for start in range(0, len(captions), BATCH):
            chunk = list(captions[start : start + BATCH])
            with autocast(on, enabled=on.type == "cuda"):
                encoded: Any = model.encode(chunk, batch_size=64, output_value=None, show_progress_bar=False)
            yield torch.stack([_vector(e, cfg.tokens) for e in encoded]).cpu().numpy()[:, None, :]

    return encode


def _vector(encoded: dict[str, torch.Tensor], tokens: bool) -> torch.Tensor:
    """(d,) the normalised sentence embedding, or (3d,) with the maximum and minimum over its tokens after it."""
    sentence = torch.nn.functional.normalize(encoded["sentence_embedding"].float(), dim=0)
    if not tokens:
        return sentence
    states = encoded["token_embeddings"][encoded["attention_mask"].bool()].float()
    return torch.cat([sentence, states.amax(0), states.amin(0)])

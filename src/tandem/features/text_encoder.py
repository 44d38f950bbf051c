"""Frozen sentence-transformers: a vector for each caption, or the token states of early layers."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from tandem.config.encoders import CaptionEncoder, TokenEncoder
from tandem.features.text_backbone_split import BATCH, early_layers, load_model, run_model, token_states


def load_encoder(cfg: CaptionEncoder | TokenEncoder) -> Callable[[Sequence], Iterator[np.ndarray]]:
    """Captions in order -> float32 blocks: vectors (b, 1, d or 3d), or of a TokenEncoder states (b, 1, max_tokens, d),
    zeros after a caption's last token. Of lists of k captions: vectors (b, k, d or 3d)."""
    compute: Callable[[Sequence[str]], np.ndarray]
    if isinstance(cfg, TokenEncoder):
        compute = partial(token_states, early_layers(cfg))
    else:
        compute = partial(_vectors, load_model(cfg), cfg.tokens)

    @torch.inference_mode()
    def encode(captions: Sequence) -> Iterator[np.ndarray]:
        for start in range(0, len(captions), BATCH):
            rows = [[row] if isinstance(row, str) else row for row in captions[start : start + BATCH]]
            vectors = compute([caption for row in rows for caption in row])
            yield vectors.reshape(len(rows), len(rows[0]), *vectors.shape[1:])

    return encode


def _vectors(model: Any, tokens: bool, captions: Sequence[str]) -> np.ndarray:
    return torch.stack([_vector(e, tokens) for e in run_model(model, captions, None)]).cpu().numpy()


def _vector(encoded: dict[str, torch.Tensor], tokens: bool) -> torch.Tensor:
    """(d,) the normalised sentence embedding, or (3d,) with the maximum and minimum over its tokens after it."""
    sentence = torch.nn.functional.normalize(encoded["sentence_embedding"].float(), dim=0)
    if not tokens:
        return sentence
    states = encoded["token_embeddings"][encoded["attention_mask"].bool()].float()
    return torch.cat([sentence, states.amax(0), states.amin(0)])

"""The effect of each word of a caption on each logit: how much the logit changes when the word is left out."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tandem.data.caption_words import UNSPACED, WORD

MOST = 64  # words that are left out, one model run each; later words are always kept
# a word; in scripts without spaces between words, some characters
PIECE = re.compile(rf"\s*(?:[{UNSPACED}]{{1,{WORD}}}|[^\s{UNSPACED}]+)")
WEAK = 0.5  # change of a logit that is not shown in full colour, even if it is the largest of a caption


@dataclass(frozen=True)
class Words:
    """The words of a caption and their effects."""

    pieces: tuple[str, ...]  # each word with the white space before it, then the rest; they join to the caption
    effects: np.ndarray  # (words, c) logit with the word minus logit without it


def full_strength(effects: np.ndarray) -> float:
    """The absolute effect that is shown in full colour."""
    return float(np.abs(effects).max(initial=WEAK))


def word_effects(caption: str, logits_of: Callable[[Sequence[str]], np.ndarray]) -> Words:
    """Calls `logits_of`, captions -> (n, c), once, with the whole caption and every caption without one word."""
    words = PIECE.findall(caption)[:MOST]
    rest = caption[sum(map(len, words)) :]
    shortened = ["".join(words[:i] + words[i + 1 :]) + rest for i in range(len(words))]
    logits = logits_of([caption, *shortened])
    return Words((*words, rest) if rest else tuple(words), logits[0] - logits[1:])

"""What each word of a caption adds to each label: the logits change when it is left out."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

MOST = 64  # words left out, each with a run of the model; what comes after stays as it is
WEAK = 0.5  # a change of the logit that is never shown as strong, even where it is a caption's largest


@dataclass(frozen=True)
class Words:
    """A caption in pieces.

    pieces   the words, each with the white space before it, so that they join to the caption; then what is left
    effects  (words, c): by how much each label's logit is higher with the word than without it
    """

    pieces: tuple[str, ...]
    effects: np.ndarray


def scale(effects: np.ndarray) -> float:
    """The effect that is shown as the strongest."""
    return float(np.abs(effects).max(initial=WEAK))


def pieces_of(caption: str, most: int = MOST) -> tuple[list[str], str]:
    """(the first words, each with the white space before it; what comes after).

    >>> pieces_of("a  red bus ", 2)
    (['a', '  red'], ' bus ')
    """
    found = re.findall(r"\s*\S+", caption)[:most]
    return found, caption[sum(map(len, found)) :]


def word_effects(caption: str, logits_of: Callable[[Sequence[str]], np.ndarray]) -> Words:
    """`logits_of` maps captions to (n, c); it is called once, with the whole caption and every shortened one."""
    words, rest = pieces_of(caption)
    shortened = ["".join(words[:i] + words[i + 1 :]) + rest for i in range(len(words))]
    logits = logits_of([caption, *shortened])
    return Words((*words, rest) if rest else tuple(words), logits[0] - logits[1:])

"""Words of captions, also of scripts without spaces between words."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

# Thai and Lao, Myanmar, Khmer, Japanese, Chinese
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
RUN = re.compile(f"[{UNSPACED}]+")
WORD = 2  # characters of such a script that count as one word
SHARE = 0.2  # of the letters of all captions: with more of them in such scripts, words can't be found by spaces


def count_words(text: str) -> int:
    """
    >>> count_words("a cat!"), count_words("猫在草地上")
    (2, 3)
    """
    runs = RUN.findall(text)
    return (len(RUN.sub(" ", text).split()) if runs else len(text.split())) + sum(-(-len(run) // WORD) for run in runs)


def word_counts(captions: Sequence[str]) -> np.ndarray:
    """(n,) number of words of each caption.

    >>> word_counts(["a cat", ""]).tolist()
    [2, 0]
    """
    return np.array([count_words(caption) for caption in captions], np.int64)


def has_letter(text: str) -> bool:
    return any(map(str.isalpha, text))


def without_spaces(captions: Iterable[str]) -> bool:
    """Whether the captions are, in good part, in scripts without spaces between words.

    >>> without_spaces(["a cat", "猫"]), without_spaces(["a cat", "猫が一匹 外で 寝ている"])
    (False, True)
    """
    letters = unspaced = 0
    for caption in captions:
        letters += sum(map(str.isalpha, caption))
        unspaced += sum(map(str.isalpha, "".join(RUN.findall(caption))))
    return unspaced > SHARE * letters

"""Questions: keys of `competition.toml` that cannot be inferred with certainty."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A key whose value the user must give, because more than one reading fits the files."""

    key: str  # such as "labels.column"
    about: str  # what was seen, in one sentence
    candidates: Mapping[str, str]  # {value: an example of what it gives}

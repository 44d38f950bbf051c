"""What a campaign is given and what it returns."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Task:
    """How much to try, and where.

    folder  an empty folder of the campaign's own
    seed    the same seed makes the same tries
    tries   at most so many; fewer where the time ends
    ends    `time.monotonic()` after which no try begins
    """

    folder: Path
    seed: int
    tries: int
    ends: float = float("inf")

    def numbers(self) -> Iterator[int]:
        """0, 1, ... as long as tries and time are left."""
        for number in range(self.tries):
            if time.monotonic() > self.ends:
                return
            yield number


@dataclass
class Outcome:
    """What was tried and what was wrong.

    faults   one line each: the try, what came and what was expected
    figures  {name: value with its unit}, printed beside
    """

    tries: int = 0
    faults: list[str] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

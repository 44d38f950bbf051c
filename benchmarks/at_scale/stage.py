"""A stage to be measured: how its data are made, what runs, and what it must at least read and multiply."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tandem.artifacts.paths import Paths

COMP = "scale"


@dataclass(frozen=True)
class Size:
    """A simulated competition: training rows x labels, one test row for each TEST training rows."""

    rows: int
    labels: int

    @property
    def test_rows(self) -> int:
        return self.rows // 10

    def __str__(self) -> str:
        return f"{self.rows:,} x {self.labels:,}"


@dataclass(frozen=True)
class Stage:
    """`prepare` and `run` are called in processes of their own; only `run` is measured.

    files           what it must read, at least
    multiplications that it must do, at least
    needed          whether stages after it read what it writes
    """

    name: str
    run: Callable[[Paths, Size], object]
    prepare: Callable[[Paths, Size], object] | None = None
    files: Callable[[Paths], Iterable[Path]] = lambda paths: ()
    multiplications: Callable[[Size], float] = lambda size: 0.0
    needed: bool = True

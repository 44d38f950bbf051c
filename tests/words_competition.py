"""The small competition, submitted by a text model that takes a second; no model reads its photos."""

from pathlib import Path

from small_competition import write_small

from tandem.__main__ import main
from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths


def submit_words(folder: Path) -> None:
    """In the current folder."""
    write_small(folder)
    set_keys(Paths("small"), experiments='["words"]', submission='"probabilities"')
    assert main(["submit", "small", "EXPS=words"]) == 0


def set_keys(paths: Paths, **keys: str) -> None:
    """Sets top-level keys of competition.toml to values as TOML writes them."""
    lines = [line for line in paths.competition.read_text().splitlines() if line.split(" = ")[0] not in keys]
    write_text(paths.competition, "\n".join([*(f"{key} = {value}" for key, value in keys.items()), *lines]) + "\n")

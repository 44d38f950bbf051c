"""The input folders of a notebook at Kaggle: where the competition's files are."""

import os
from pathlib import Path

from tandem.artifacts.user_files import is_there
from tandem.config.competition import Competition

ABOUT = "kernel.json"  # what `make kernel` writes about its dataset
DEPTH = 3  # folders below the root of all input: competitions/SLUG, or SLUG, and a folder in it


def find_competition(root: Path, competition: Competition, split: str = "test") -> Path:
    """The folder below `root` that holds the competition's tables, at least those of `split`; raises ValueError where
    it is none, or not certain."""
    names = competition.table_files(split) + [competition.sample_submission]
    found = [folder for folder in _folders(root, DEPTH) if all(is_there(folder / name) for name in names)]
    found = found or [folder for folder in _folders(root, DEPTH) if is_there(folder / names[0])]
    own = [folder for folder in found if competition.slug in folder.relative_to(root).parts]
    found = own or found
    if len(found) > 1:
        raise ValueError(f"{names[0]} is in {' and in '.join(map(str, found))}; detach the other competitions")
    if not found:
        below = ", ".join(sorted(str(folder.relative_to(root)) for folder in _folders(root, 2))[:10])
        raise ValueError(f"no folder below {root} has {names[0]}; attach the competition; there are {below or 'none'}")
    return found[0]


def _folders(root: Path, depth: int) -> list[Path]:
    """All folders down to this depth."""
    if not depth:
        return []
    with os.scandir(root) as entries:
        here = sorted(Path(entry.path) for entry in entries if entry.is_dir())
    return here + [folder for one in here for folder in _folders(one, depth - 1)]

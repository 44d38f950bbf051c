"""A competition of drawn photos as table files; `cat` is said in the caption, `sky` is blue."""

from collections.abc import Sequence

import numpy as np
from checked import run_tasks, write_competition
from toy import NAMES, draw

from tandem.artifacts.atomic_io import csv_text, write_text
from tandem.artifacts.paths import Paths


def labels(n: int, seed: int = 0) -> np.ndarray:
    """(n, 2) 0/1."""
    return np.random.default_rng(seed).integers(0, 2, (n, 2)).astype(np.uint8)


def write_rows(
    paths: Paths, file: str, ids: Sequence[str], y: np.ndarray, labelled: bool = True, seed: int = 0
) -> None:
    """A table of these rows, and their photos in data/."""
    rows = [["id", "caption", *(["labels"] if labelled else [])]]
    for i, (id, (cat, sky)) in enumerate(zip(ids, y.tolist(), strict=True)):
        if not (paths.input / "data" / id).exists():
            draw(paths.input / "data" / id, bool(sky), seed + i)
        cell = "|".join(name for name, there in zip(NAMES, (cat, sky), strict=True) if there)
        rows.append([id, "a cat" if cat else "a dog", *([cell] if labelled else [])])
    write_text(paths.input / file, csv_text(*rows))


def build(n: int = 30, n_test: int = 6, **settings: object) -> Paths:
    """In the working folder; near-duplicates are not looked for, as the drawn photos look alike."""
    paths = Paths("small")
    y = labels(n + n_test)
    write_rows(paths, "train.csv", [f"{i}.jpg" for i in range(n)], y[:n])
    write_rows(paths, "test.csv", [f"t{i}.jpg" for i in range(n_test)], y[n:], labelled=False, seed=1000)
    settings = {"least": 0, "zero_division": 1, "folds": {"n": 3}, "duplicates": "off"} | settings
    write_competition(paths, NAMES, **({"experiments": ["words"]} | settings))
    write_text(paths.configs / "words.toml", 'kind = "tfidf"\n')
    return paths


def check_and_split(paths: Paths) -> None:
    run_tasks(paths, "check", "folds")

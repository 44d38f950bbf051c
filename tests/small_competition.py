"""A small competition before `make check`: CSV files, photos, competition.toml and two experiments."""

from pathlib import Path

import numpy as np
from toy import draw, tiny_backbone

from tandem.artifacts.atomic_io import csv_text, write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, to_toml

LOOKS = """kind = "head"
[image]
model = "test_efficientnet"
weights = "{weights}"
size = 32
pool = "avg"
[head]
hidden = 8
dropout = 0.0
input_dropout = 0.0
bags = 1
[train]
epochs = 5
min_steps = 40
"""


def write_small(folder: Path, rows: int = 45, test: int = 6, folds: int = 3) -> Paths:
    """Photos that are blue or red, with captions of a cat or a dog; the fifth of the labels is wrong."""
    paths, rng = Paths("small", folder), np.random.default_rng(0)
    y = rng.integers(0, 2, (rows + test, 2))
    given = np.where(rng.random(y.shape) < 0.2, 1 - y, y)
    tables: dict[str, list] = {"train": [], "test": []}
    for i, (cat, sky) in enumerate(y.tolist()):
        draw(paths.input / "data" / f"{i}.jpg", bool(sky), i)
        row = [f"{i}.jpg", f"{'a cat' if cat else 'a dog'} on day {i % 7}"]
        labels = " ".join(name for name, there in zip(("cat", "sky"), given[i], strict=True) if there)
        tables["train" if i < rows else "test"].append([*row, labels] if i < rows else row)
    write_text(paths.input / "train.csv", csv_text(("id", "caption", "labels"), *tables["train"]))
    write_text(paths.input / "test.csv", csv_text(("id", "caption"), *tables["test"]))
    labels = {"format": "separated", "column": "labels", "names": ["cat", "sky"]}
    made = {"id": "id", "caption": "caption", "images": "data", "labels": labels, "most": 2, "least": 0}
    made |= {"experiments": ["words", "looks"], "folds": {"n": folds}, "duplicates": "off"}
    write_text(paths.competition, to_toml(Competition.model_validate(made)))
    write_text(paths.configs / "words.toml", 'kind = "tfidf"\n')
    write_text(paths.configs / "looks.toml", LOOKS.format(weights=tiny_backbone(folder / "tiny.safetensors")))
    return paths

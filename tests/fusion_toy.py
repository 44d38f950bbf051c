"""A toy competition of red and blue squares, trained in seconds, for tests that need a trained fusion network."""

import numpy as np
from checked import train, write_competition, write_experiment, write_folds, write_split
from PIL import Image
from toy import tiny_backbone

from tandem.artifacts.paths import Paths
from tandem.config.encoders import TokenEncoder, TrunkEncoder
from tandem.config.experiments import Experiment, FusionExperiment, TfidfExperiment
from tandem.config.training import Fusion, FusionTraining
from tandem.data.split_tables import write_labels

NAMES = ("red", "blue <b>&")
HOSTILE = "<script>alert(1)</script> a red\x1b[2J [bold]thing[/bold] \u202egniht {{ 7*7 }}<img src=x onerror=alert(1)>"
N, TEST = 16, ["98.png", "99.png"]
IDS = [f"{i}.png" for i in range(N)]


def photo(red: bool) -> Image.Image:
    pixels = np.full((64, 64, 3), 40, np.uint8)
    pixels[8:28, 36:56] = (250, 20, 20) if red else (20, 20, 250)
    return Image.fromarray(pixels)


def build(paths: Paths, **others: Experiment) -> Paths:
    """Trains, in the current folder, `join`, a fusion network with a trunk, and `words`, which reads only captions; or
    `others` in their place."""
    weights = tiny_backbone(paths.root / "tiny.safetensors")
    join = FusionExperiment(
        kind="fusion",
        trunk=TrunkEncoder(model="test_efficientnet", weights=weights, size=64, tune="blocks.3"),
        tokens=TokenEncoder(tune=1, max_tokens=16),
        fusion=Fusion(hidden=16, rank=4, dropout=0.0, input_dropout=0.0, heads=1),
        train=FusionTraining(epochs=3, batch=8, min_steps=0, lr=1e-2, tune_from=0),
    )
    y = np.stack([np.arange(N + 2) % 2, 1 - np.arange(N + 2) % 2], 1).astype(np.uint8)
    for split, ids, start in (("train", IDS, 0), ("test", TEST, N)):
        paths.input.mkdir(parents=True, exist_ok=True)
        for i, name in enumerate(ids):
            photo(bool(y[start + i, 0])).save(paths.input / name)
        captions = [f"a {'red' if y[start + i, 0] else 'blue'} thing" for i in range(len(ids))]
        captions[0] = HOSTILE if split == "train" else ""
        write_split(paths, split, ids, captions, size=(64, 64))
    labels = {"format": "columns", "names": list(NAMES)}
    write_competition(paths, NAMES, images=".", labels=labels, most=2, experiments=sorted(others)[:1] or ["join"])
    write_labels(paths.labels, IDS, NAMES, y[:N])
    write_folds(paths, IDS, [n // 2 % 2 for n in range(N)])
    experiments = others or {"join": join, "words": TfidfExperiment(kind="tfidf")}
    for name, experiment in experiments.items():
        write_experiment(paths, name, experiment)
    train(paths, *experiments)
    return paths

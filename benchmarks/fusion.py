"""The fusion network of configs/fusion.toml: an epoch with cached trunks against one that computes them, and the
megabytes of an ensemble of five folds and its time to label images, from JPEG files on.

Both sides of the epoch train the same layers in the same batches; the slow one computes what comes before them, the
frozen Lite2 too, timed by itself. `fusion_trunk_cache_speedup` leaves that Lite2 out.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from tandem.bundling.cost import tensor_mb, zipped_mb
from tandem.config.encoders import ImageEncoder
from tandem.config.experiments import FusionExperiment
from tandem.config.load_experiments import load_experiment
from tandem.data.image_loader import load_square
from tandem.features.extract import load_encoder
from tandem.features.image_backbone_split import early_stages
from tandem.features.text_backbone_split import early_layers, token_states
from tandem.models.base import TrainingRun
from tandem.models.fusion import FusionModel
from tandem.models.inputs import Inputs, Maps
from tandem.runtime.torch_setup import autocast, device, use_threads

T = TypeVar("T")
ROWS, LABELS, FOLDS, BATCH = 1280, 18, 5, 32  # 20 batches of 64, as an epoch of many rows has them
WORDS = [
    "a",
    "man",
    "riding",
    "the",
    "wave",
    "on",
    "top",
    "of",
    "two",
    "brown",
    "dogs",
    "near",
    "some",
    "old",
    "red",
    "bus",
    "with",
    "people",
]


class Computed:
    """Has the interface of `Maps`, but computes the requested rows every time."""

    def __init__(self, cached: Maps, compute: Callable[[np.ndarray], np.ndarray], rows: np.ndarray | None = None):
        self.cached, self.compute = cached, compute
        self.rows = np.arange(cached.shape[0]) if rows is None else rows
        self.shape = (len(self.rows), *cached.shape[1:])

    def take(self, rows: np.ndarray) -> "Computed":
        return Computed(self.cached, self.compute, self.rows[rows])

    def read(self, rows: np.ndarray, view: int | np.ndarray) -> np.ndarray:
        del view  # a mirrored photo costs as much
        return self.compute(self.rows[rows]).astype(np.float16)


def computed(cfg: FusionExperiment, cached: Inputs, files: list, captions: list) -> Inputs:
    """The same rows with the frozen parts of both trunks computed on the way."""
    early, layers = early_stages(cfg.trunk), early_layers(cfg.tokens)

    @torch.inference_mode()
    def image_maps(rows: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.stack([load_square(files[i], cfg.trunk.size) for i in rows]))
        with autocast(pixels.device):
            return early(pixels).float().permute(0, 2, 3, 1).numpy()

    def states(rows: np.ndarray) -> np.ndarray:
        return token_states(layers, [captions[i] for i in rows])

    trunk, tokens = cfg.trunk.slug, cfg.tokens.slug
    maps = {trunk: Computed(cached.maps[trunk], image_maps), tokens: Computed(cached.maps[tokens], states)}
    return replace(cached, maps=maps)


def draw(folder: Path, rng: np.random.Generator) -> tuple[list[Path], list[str]]:
    """ROWS photos of 500 x 375 with the detail of photos, and captions of ten words."""
    files, captions = [], []
    for i in range(ROWS):
        small = Image.fromarray(rng.integers(0, 255, (47, 63, 3), np.uint8))
        small.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=90)
        files.append(folder / f"{i}.jpg")
        captions.append(" ".join(rng.choice(WORDS, 10)))
    return files, captions


def inputs_of(cfg: FusionExperiment, files: list, captions: list) -> Inputs:
    """As the features stage would have written them."""
    features, maps = {}, {}
    for encoder in cfg.encoders:
        items = files if encoder.reads == "image" else captions
        values = np.concatenate(list(load_encoder(encoder)(items))).astype(np.float16)
        if encoder.cached_map:
            maps[encoder.slug] = Maps((values,))
        else:
            features[encoder.slug] = values
    return Inputs([file.name for file in files], features, maps)


def epoch(cfg: FusionExperiment, inputs: Inputs, y: np.ndarray) -> float:
    """Seconds of one epoch of two: a first one warms up."""
    marks = []
    run = TrainingRun(0, on_epoch=lambda entry: marks.append(time.perf_counter()))
    FusionModel(cfg, LABELS).fit(inputs, y, run)
    return marks[1] - marks[0]


def frozen_seconds(encoder: ImageEncoder, files: list) -> float:
    """Seconds that an epoch would spend in an encoder whose features are not kept."""
    encode = load_encoder(encoder)
    list(encode(files[:8]))  # to warm up
    return timed(lambda: list(encode(files)))[0]


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """(seconds, result)"""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> None:
    use_threads()
    on = device()
    cfg = load_experiment(Path("configs/fusion.toml"))
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (ROWS, LABELS)).astype(np.uint8)
    short = cfg.train.model_copy(update={"epochs": 2, "min_steps": 0})
    with tempfile.TemporaryDirectory() as folder:
        files, captions = draw(Path(folder), rng)
        tuned = cfg.model_copy(update={"train": short})
        cached = inputs_of(tuned, files, captions)
        fast = epoch(tuned, cached, y)
        slow = epoch(tuned, computed(tuned, cached, files, captions), y)
        frozen = sum(frozen_seconds(encoder, files) for encoder in cfg.frozen)
        print(
            f"an epoch of {ROWS} rows on {on}: {slow:.1f} s computed and {frozen:.1f} s in frozen encoders, "
            f"{fast:.1f} s cached"
        )
        print(f"figure fusion_cache_speedup {(slow + frozen) / fast:.2f} x")
        print(f"figure fusion_trunk_cache_speedup {slow / fast:.2f} x")

        model = FusionModel(
            cfg.model_copy(update={"train": short.model_copy(update={"epochs": 1, "batch": BATCH})}), LABELS
        )
        model.fit(inputs_of(cfg, files[:64], captions[:64]), y[:64], TrainingRun(0))
        file = Path(folder) / "fold.safetensors"
        model.save(file)
        folds = FOLDS * zipped_mb(file.read_bytes())
        encoders = sum(tensor_mb(cfg, {}).values())
        print(f"as a bundle has them: {FOLDS} folds {folds:.1f} MB, frozen encoders {encoders:.1f} MB")
        print(f"figure fusion_bundle_mb {folds + encoders:.1f} MB")

        load, _ = timed(lambda: inputs_of(cfg, files[:1], captions[:1]))
        encode_all, inputs = timed(lambda: inputs_of(cfg, files, captions))
        predict, _ = timed(lambda: [model.predict_proba(inputs) for _ in range(FOLDS)])
        ms = (1000 * (encode_all - load) / (ROWS - 1), 1000 * predict / ROWS)
        print(f"an image: {ms[0]:.1f} ms in the encoders, {ms[1]:.1f} ms in {FOLDS} folds")
        print(f"figure fusion_ms_per_image {sum(ms):.1f} ms")


if __name__ == "__main__":
    main()

"""Labelling new images from their JPEG files on, with captions: the FAST model, the ensemble, and how memory grows.

The FAST model is timed beside the same networks as they are usually called: batches of 32 decoded in the same loop,
float32, every step shared by all threads. The models are trained for one epoch: what they learned costs nothing here.
"""

import contextlib
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from tandem.artifacts.atomic_io import write_json, write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, to_toml
from tandem.config.encoders import ImageEncoder
from tandem.config.experiments import Experiment, HeadExperiment, load_experiment
from tandem.config.training import Head, HeadTraining
from tandem.data.infer_competition import WITH_CAPTIONS
from tandem.data.split_tables import write_captions, write_images, write_labels
from tandem.features.extract import encode_split
from tandem.features.image_encoder import Normalise, pool
from tandem.features.pretrained_weights import load_backbone, load_sentences
from tandem.features.text_encoder import _vector
from tandem.inference.labeler import Labeler
from tandem.models.inputs import Inputs
from tandem.stages import decode, stack, train

PHOTOS, LABELS, FOLDS, FILES = 400, 18, 5, 40_000
WORDS = ("a man riding", "the wave", "on top of", "two brown dogs", "near some", "an old red bus", "with people")


def draw(folder: Path, size: tuple[int, int], n: int, rng: np.random.Generator) -> list[Path]:
    """Photos with the detail of photos."""
    folder.mkdir(parents=True)
    files = [folder / f"{i}.jpg" for i in range(n)]
    for file in files:
        small = Image.fromarray(rng.integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(file, quality=90)
    return files


def short(name: str, configs: Path) -> Experiment:
    """The experiment of configs/, for one epoch."""
    experiment = load_experiment(configs / f"{name}.toml")
    if not hasattr(experiment, "train"):
        return experiment
    return experiment.model_copy(update={"train": experiment.train.model_copy(update={"epochs": 1, "min_steps": 0})})


def trained(experiments: dict[str, Experiment], rng: np.random.Generator) -> Paths:
    """A competition of PHOTOS in the working folder, its experiments trained and stacked."""
    paths, names = Paths("bench"), [f"label{j}" for j in range(LABELS)]
    files = draw(paths.input / "data", (500, 375), PHOTOS, rng)
    labels = {"format": "separated", "column": "labels", "names": names}
    competition = Competition(
        id="id", caption="caption", images="data", labels=labels, most=5, experiments=WITH_CAPTIONS
    )
    write_text(paths.competition, to_toml(competition))
    ids = [file.name for file in files[:100]]
    n = len(ids)
    columns = {"id": ids, "file": [f"data/{name}" for name in ids], "width": [500] * n, "height": [375] * n}
    write_images(paths.images("train"), columns | {"bytes": [1] * n, "sha": ids, "hash": [b"0" * 64] * n})
    write_captions(paths.captions("train"), ids, captions_of(n, rng))
    write_labels(paths.labels, ids, tuple(names), (rng.random((n, LABELS)) < 0.3).astype(np.uint8))
    write_text(paths.folds, "id,fold,group\n" + "".join(f"{name},{i % FOLDS},{i}\n" for i, name in enumerate(ids)))
    write_json(paths.metric_config, {"metric": "f1_samples", "beta": 1.0, "least": 1, "most": 5})
    for name, experiment in experiments.items():
        write_json(paths.experiment_config(name), experiment.model_dump())
        for encoder in experiment.encoders:
            encode_split(paths, encoder, "train")
        train.main(SimpleNamespace(comp="bench", exp=name, fold=None))
        decode.main(SimpleNamespace(comp="bench", exp=name))
    stack.main(SimpleNamespace(comp="bench", exps=WITH_CAPTIONS))
    decode.main(SimpleNamespace(comp="bench", exp="stack"))
    return paths


def captions_of(n: int, rng: np.random.Generator) -> list[str]:
    return [" ".join(rng.choice(WORDS, 5)) for _ in range(n)]


@torch.inference_mode()
def usual(labeler: Labeler, files: Sequence[Path], captions: Sequence[str]) -> np.ndarray:
    """The probabilities that the FAST model gives, its networks called as they come."""
    (member,) = labeler.panel.members
    image, caption = member.experiment.encoders
    network = load_backbone(image.model, image.weights).eval()
    normalise, sentences = Normalise(network), load_sentences(caption.model)
    sentences.max_seq_length = caption.max_tokens
    yield None  # loaded
    found = []
    for start in range(0, len(files), 32):
        some = files[start : start + 32]
        photos = [Image.open(file).convert("RGB").resize((image.size,) * 2, Image.Resampling.BICUBIC) for file in some]
        pixels = normalise(torch.from_numpy(np.stack([np.asarray(photo) for photo in photos]))).contiguous()
        seen = pool(network.forward_features(pixels), network, image.pool).numpy()
        encoded = sentences.encode(list(captions[start : start + 32]), output_value=None)
        read = np.stack([_vector(one, caption.tokens).numpy() for one in encoded])
        parts = {image.slug: seen, caption.slug: read}
        features = {slug: values[:, None].astype(np.float16) for slug, values in parts.items()}
        inputs = Inputs([file.name for file in some], features)
        found.append(np.mean([model.predict_proba(inputs) for model in member.ensemble.models], axis=0))
    yield np.concatenate(found)


def rate(labeler: Labeler, files: Sequence[Path], captions: Sequence[str]) -> tuple[float, float]:
    """(images a second, milliseconds of processor time an image), after some that warm up.

    The second says what the first would be on cores that nothing else uses: cores x 1000 / ms.
    """
    list(labeler.label(files[:64], captions[:64]))
    before = time.process_time()
    took, _ = timed(lambda: list(labeler.label(files, captions)))
    return len(files) / took, 1000 * (time.process_time() - before) / len(files)


def timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def resident_mb() -> float:
    """What this process holds now; Linux alone says so."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def growth(paths: Paths) -> tuple[float, float]:
    """(MB held after a tenth of FILES, at their end), of a network so small that the files are what costs."""
    files = draw(Path("small"), (160, 120), 2000, np.random.default_rng(0))
    labeler, held = Labeler.of(paths, "tiny"), []
    for i, _ in enumerate(labeler.label(files * (FILES // len(files)))):
        if i + 1 in (FILES // 10, FILES):
            held.append(resident_mb())
    return held[0], held[1]


def main() -> None:
    rng, configs = np.random.default_rng(0), Path("configs").resolve()
    experiments = {name: short(name, configs) for name in ["fast", *WITH_CAPTIONS]}
    head = {"head": Head(hidden=8, bags=1), "train": HeadTraining(epochs=1, min_steps=0)}
    experiments["tiny"] = HeadExperiment(kind="head", image=ImageEncoder(size=32), **head)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        with contextlib.redirect_stdout(sys.stderr):
            paths = trained(experiments, rng)
        files = sorted((paths.input / "data").glob("*.jpg"))
        captions = captions_of(len(files), rng)

        labeler = Labeler.of(paths, "fast")
        plain = usual(labeler, files, captions)
        next(plain)
        took, _ = timed(lambda: next(plain))
        slow, (fast, fast_ms) = len(files) / took, rate(labeler, files, captions)
        print(f"fast, 224 px, {len(files)} photos of 500 x 375: {slow:.0f} img/s as usually called, {fast:.0f} img/s")
        print(f"figure label_fast_img_per_s {fast:.1f} img/s")
        print(f"figure label_fast_cpu_ms {fast_ms:.1f} ms")
        print(f"figure label_fast_speedup {fast / slow:.2f} x")
        whole, ms = rate(Labeler.of(paths), files[:200], captions[:200])
        print(f"figure label_ensemble_img_per_s {whole:.1f} img/s")
        print(f"figure label_ensemble_cpu_ms {ms:.1f} ms")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:  # nothing held from before
            tenth, end = fresh.submit(growth, paths).result()
        print(f"{FILES:,} files: {tenth:.0f} MB after a tenth, {end:.0f} MB at the end")
        print(f"figure label_memory_growth_mb {end - tenth:.0f} MB")


if __name__ == "__main__":
    main()

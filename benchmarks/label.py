"""Labelling new images from their JPEG files on, with captions: the FAST model, the ensemble, and how memory grows.

The FAST model is timed beside the same networks as they are usually called: batches of 32 decoded in the same loop,
float32, every step shared by all threads. The models are trained for one epoch: speed does not depend on their weights.
"""

import contextlib
import csv
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, to_toml
from tandem.features.image_backbone_split import Normalise
from tandem.features.image_encoder import pool
from tandem.features.pretrained_weights import load_backbone, load_sentences
from tandem.features.text_encoder import _vector
from tandem.inference.labeler import Labeler
from tandem.models.inputs import Inputs
from tandem.stages._run import bring_up_to_date

MEMBERS = ("text_minilm", "text_tfidf", "fusion", "fusion_lite0")  # the set default
PHOTOS, LABELED, TEST, LABELS, FILES = 400, 100, 8, 18, 40_000
SHORT = "[train]\nepochs = 1\nmin_steps = 0\n"
TINY = 'kind = "head"\n[image]\nsize = 32\n[head]\nhidden = 8\nbags = 1\n'
WORDS = ("a man riding", "the wave", "on top of", "two brown dogs", "near some", "an old red bus", "with people")


def draw(folder: Path, size: tuple[int, int], n: int, rng: np.random.Generator) -> list[Path]:
    """Photos with the detail of photos."""
    folder.mkdir(parents=True)
    files = [folder / f"{i}.jpg" for i in range(n)]
    for file in files:
        small = Image.fromarray(rng.integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(file, quality=90)
    return files


def write_table(file: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([header, *rows])


def trained(rng: np.random.Generator) -> Paths:
    """A competition of PHOTOS in the working folder, its experiments trained and stacked."""
    paths, names = Paths("bench"), [f"label{j}" for j in range(LABELS)]
    ids = [file.name for file in draw(paths.input / "data", (500, 375), PHOTOS, rng)]
    labels = {"format": "separated", "column": "labels", "separator": "|", "names": names}
    members = [f"{name}_short" for name in MEMBERS]
    competition = Competition(id="id", caption="caption", images="data", labels=labels, most=5, experiments=members)
    write_text(paths.competition, to_toml(competition))
    has = rng.random((LABELED, LABELS)).argsort(1) < 5  # labels a row
    cells = ["|".join(name for name, one in zip(names, row, strict=True) if one) for row in has]
    captions = captions_of(LABELED + TEST, rng)
    rows = list(zip(ids[:LABELED], cells, captions[:LABELED], strict=True))
    write_table(paths.input / "train.csv", ["id", "labels", "caption"], rows)
    rows = list(zip(ids[LABELED : LABELED + TEST], captions[LABELED:], strict=True))
    write_table(paths.input / "test.csv", ["id", "caption"], rows)
    for name in ["fast", *MEMBERS]:
        write_text(paths.configs / f"{name}_short.toml", f'base = "{name}"\n' + ("" if "tfidf" in name else SHORT))
    write_text(paths.configs / "tiny.toml", TINY + SHORT)
    bring_up_to_date("bench", "train", ["fast_short", "tiny"])
    bring_up_to_date("bench", "stack")
    return paths


def captions_of(n: int, rng: np.random.Generator) -> list[str]:
    return [" ".join(rng.choice(WORDS, 5)) for _ in range(n)]


@torch.inference_mode()
def usual(labeler: Labeler, files: Sequence[Path], captions: Sequence[str]) -> np.ndarray:
    """Yields once when loaded, then the probabilities of the FAST model by the usual calls of its networks."""
    (member,) = labeler.predictor.members
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
        image_features = pool(network.forward_features(pixels), network, image.pool).numpy()
        encoded = sentences.encode(list(captions[start : start + 32]), output_value=None)
        caption_features = np.stack([_vector(one, caption.tokens).numpy() for one in encoded])
        parts = {image.slug: image_features, caption.slug: caption_features}
        features = {slug: values[:, None].astype(np.float16) for slug, values in parts.items()}
        inputs = Inputs([file.name for file in some], features)
        found.append(np.mean([model.predict_proba(inputs) for model in member.ensemble.models], axis=0))
    yield np.concatenate(found)


def rate(labeler: Labeler, files: Sequence[Path], captions: Sequence[str]) -> tuple[float, float]:
    """(images a second, milliseconds of processor time an image), after a warm-up.

    On idle cores the first would be cores x 1000 / ms.
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
    """Memory of this process now; Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def growth(paths: Paths) -> tuple[float, float]:
    """(MB held after a tenth of FILES, at their end), of a network so small that reading files costs most."""
    files = draw(Path("small"), (160, 120), 2000, np.random.default_rng(0))
    labeler, held = Labeler.of(paths, "tiny"), []
    for i, _ in enumerate(labeler.label(files * (FILES // len(files)))):
        if i + 1 in (FILES // 10, FILES):
            held.append(resident_mb())
    return held[0], held[1]


def main() -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        with contextlib.redirect_stdout(sys.stderr):
            paths = trained(rng)
        files = sorted((paths.input / "data").glob("*.jpg"))
        captions = captions_of(len(files), rng)

        labeler = Labeler.of(paths, "fast_short")
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
        with ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn")
        ) as fresh:  # a process that holds no memory yet
            tenth, end = fresh.submit(growth, paths).result()
        print(f"{FILES:,} files: {tenth:.0f} MB after a tenth, {end:.0f} MB at the end")
        print(f"figure label_memory_growth_mb {end - tenth:.0f} MB")


if __name__ == "__main__":
    main()

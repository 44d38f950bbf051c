"""What a run will cost, by a few images and captions through the real encoders, and a few training steps of the real
networks, on the competition's own rows.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from tandem.artifacts.paths import Paths
from tandem.config.encoders import AddedFeatures, Encoder
from tandem.config.experiments import Experiment, FusionExperiment, HeadExperiment
from tandem.config.own_code import located_code
from tandem.data.image_loader import Image
from tandem.data.split_tables import read_labels
from tandem.features.extract import encoded_items, load_encoder
from tandem.graph.costs import SPEED, Sizes, encoded, sizes_of, trained_fold
from tandem.graph.declared_stages import Graph
from tandem.graph.units import NO_NETWORK
from tandem.models.base import TrainingRun
from tandem.models.inputs import build_inputs
from tandem.models.registry import make_model
from tandem.runtime.resources import has_gpu, threads
from tandem.runtime.torch_setup import use_threads_within
from tandem.training.split_inputs import SplitSource

ENCODED, WARM = {"image": 24, "caption": 256}, 4  # rows, at most; of these before the time is taken
FITTED = {"head": 512, "tfidf": 1000, "zeroshot": 256}  # rows; of other kinds a batch
FROZEN = 1024  # rows of a fusion network of frozen features: a step is short beside what comes once in an epoch
EPOCHS, FEWEST, ENOUGH = 40, 2, 1.5  # epochs, at most and at least; seconds
UNPROBED = ("custom", "external")


@dataclass(frozen=True)
class Few(SplitSource):
    """The first `n` training rows; their features are those of fewer rows, repeated: only the time counts."""

    n: int = 0
    encoded: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        return super().ids[: self.n]

    @property
    def captions(self) -> Sequence[str]:
        return super().captions[: self.n]

    @property
    def caption_lists(self) -> Sequence[Sequence[str]]:
        return super().caption_lists[: self.n]

    def images(self, size: int) -> Sequence[Image]:
        return super().images(size)[: self.n]

    def features(self, encoder: Encoder) -> np.ndarray:
        few = self.encoded[encoder.slug]
        return np.resize(few, (self.n, *few.shape[1:]))

    def added(self, features: AddedFeatures) -> np.ndarray:
        return super().added(features)[: self.n]


def probe(paths: Paths, names: Sequence[str], known: Sequence[str], until: float) -> dict[str, float]:
    """{key: seconds of one core} of the encoders and folds of these experiments that are not `known`, and the factor of
    rough rates on this machine.

    Left out is what can't be computed here, needs weights that are not on this machine yet, or is not begun by `until`
    (monotonic).
    """
    graph = Graph.open(paths)
    sizes = sizes_of(graph)
    rates: dict[str, float] = {}
    rough: dict[str, float] = {}
    few: dict[str, np.ndarray] = {}
    n = threads() if has_gpu() else 1  # as in a run, where a unit that computes on a GPU has all cores
    with use_threads_within(n), without_downloads():
        for name in names:
            experiment = graph.experiments[name].of_seed(0).as_trained(sizes.rows["train"])
            for encoder in experiment.encoders:
                with suppress(Exception):  # the run itself says what is wrong
                    if encoder.slug not in few and time.monotonic() < until:
                        few[encoder.slug], seconds = encode(paths, encoder)
                        rates[encoder.slug] = n * seconds
                        rough[encoder.slug] = encoded(encoder, 1).rough
            work = trained_fold(name, experiment, sizes)
            if work.key in known or experiment.kind in UNPROBED or time.monotonic() > until:
                continue
            with suppress(Exception):
                seconds = fit(paths, located_code(experiment, paths.root), few, sizes)
                rates[work.key] = seconds * (1 if experiment.kind in NO_NETWORK else n)
                rough[work.key] = work.rough
    if rates:
        rates[SPEED] = median(rate / rough[key] for key, rate in rates.items())
    return {key: rate for key, rate in rates.items() if key not in known}


@contextmanager
def without_downloads() -> Iterator[None]:
    """Within it, weights of a hub are taken from this machine alone; others raise an error at once."""
    from huggingface_hub import constants  # read at each request

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def encode(paths: Paths, encoder: Encoder) -> tuple[np.ndarray, float]:
    """(features of some rows, seconds for each: of blocks of rows the median, as the first ones take longer)."""
    items = encoded_items(paths, encoder, "train")
    items, network = items[: ENCODED[encoder.reads]], load_encoder(encoder)
    for _ in network(items[:WARM]):
        pass
    blocks, seconds, before = [], [], time.perf_counter()
    for block in network(items):
        now = time.perf_counter()
        blocks.append(block)
        seconds.append((now - before) / len(block))
        before = now
    return np.concatenate(blocks).astype(np.float16), median(seconds)


def fit(paths: Paths, experiment: Experiment, few: dict[str, np.ndarray], sizes: Sizes) -> float:
    """Seconds for one row in one epoch, of TF-IDF for one label of a row."""
    train = getattr(experiment, "train", None)
    frozen = isinstance(experiment, FusionExperiment) and not (experiment.trunk or experiment.tokens)
    n = min(FROZEN if frozen else FITTED.get(experiment.kind, getattr(train, "batch", 64)), sizes.rows["train"])
    if train:
        changed = train.model_copy(update={"epochs": EPOCHS, "min_steps": 0})
        experiment = experiment.model_copy(update={"train": changed})
    inputs = build_inputs(experiment, Few(paths, "train", n=n, encoded=few))
    y = read_labels(paths.labels)[2][:n].astype(np.uint8)
    y[0], y[1] = 1, 0  # a label that all rows have, or none, is not fitted
    ends: list[float] = []
    start = time.perf_counter()

    def on_epoch(entry: object) -> None:
        ends.append(time.perf_counter())
        if len(ends) > FEWEST and ends[-1] - start > ENOUGH:
            raise _Enough

    with suppress(_Enough):
        make_model(experiment, sizes.labels).fit(inputs, y, TrainingRun(0, on_epoch=on_epoch))
    if len(ends) < 2:
        return (time.perf_counter() - start) / (n * (sizes.labels if experiment.kind == "tfidf" else 1))
    networks = experiment.head.bags if isinstance(experiment, HeadExperiment) else 1
    return networks * float(np.median(np.diff(ends))) / n  # the first epoch includes what is computed once


class _Enough(Exception):
    """Enough epochs were timed."""

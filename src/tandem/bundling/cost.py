"""Costs of the parts of an ensemble: megabytes in the zip, milliseconds per image, measured on some images."""

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from tandem.bundling.bundle_writer import bundled_weights
from tandem.bundling.ensemble_choice import Cost, Costs, ExperimentCost
from tandem.config.experiments import Experiment
from tandem.data.image_loader import prefetch, squares
from tandem.features.extract import used_tensors
from tandem.features.int8 import pack
from tandem.graph.experiment_dir import ExperimentDir
from tandem.inference.fold_models import Encoders, Member, NewRows
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import device, single_thread

CODE_MB = 1.0  # code, licences, settings
WARM_UP = 8  # images: enough to load an encoder

T = TypeVar("T")


def measure_costs(
    experiments: Sequence[ExperimentDir],
    files: Sequence[Path] | None,
    captions: Sequence[str],
    stacks: Sequence[str] = (),
) -> Costs:
    """Costs of these experiments, at least one, measured on these images and captions, or captions alone, and the size
    of the largest of the stacks of these names."""
    members = {one.name: Member(one, folds=1) for one in experiments}
    sizes = sorted(set().union(*(m.experiment.image_sizes for m in members.values())), key=str)
    read = partial(squares, sizes=sizes)
    decode_ms, opened = time_rows(lambda: list(prefetch(read, files or (), threads())), len(captions))
    rows = NewRows(Encoders(), {size: [o[size] for o in opened] for size in sizes}, captions)
    encoders = {encoder.slug: encoder for m in members.values() for encoder in m.experiment.encoders}
    few = rows.take(range(min(WARM_UP, len(rows))))
    for encoder in encoders.values():
        few.features(encoder)  # loads it
    shared = {slug: Cost(ms=time_rows(partial(rows.features, e), len(rows))[0]) for slug, e in encoders.items()}
    costs, tensors = {}, dict[str, float]()
    for one in experiments:
        member = members[one.name]
        member.logits(rows)  # to warm up; the features of its encoders are computed by now
        ms, _ = time_rows(partial(member.logits, rows), len(rows))
        own = tensor_mb(member.experiment, tensors)
        tensors |= own
        fold = Cost(sum(zipped_mb(file.read_bytes()) for file in one.models(1)), ms)
        slugs = {encoder.slug for encoder in member.experiment.encoders}
        costs[one.name] = ExperimentCost(fold, len(one.folds), frozenset(slugs | set(own)))
    shared |= {key: Cost(mb=mb) for key, mb in tensors.items()}
    folders = (experiments[0].paths.models_dir(name) for name in stacks)
    sizes_mb = (sum(zipped_mb(file.read_bytes()) for file in one.rglob("*") if file.is_file()) for one in folders)
    return Costs(costs, shared, Cost(CODE_MB, decode_ms), Cost(max(sizes_mb, default=0.0)))


def time_rows(work: Callable[[], T], n: int) -> tuple[float, T]:
    """(milliseconds for each of n rows, result)."""
    # on a CPU: processor time of one thread / threads, as each thread labels its own images; ignores other processes
    clock, share = (time.perf_counter, 1) if device().type == "cuda" else (time.process_time, threads())
    with single_thread():
        start = clock()
        result = work()
        ms = 1000 * (clock() - start)
    return ms / n / share, result


def zipped_mb(data: bytes) -> float:
    return len(zlib.compress(data)) / 2**20


def tensor_mb(experiment: Experiment, known: Mapping[str, float]) -> dict[str, float]:
    """Megabytes in the zip of each pretrained tensor that it needs, by "file tensor"; `known` ones are not measured."""
    found = {}
    for encoder in experiment.pretrained:
        file = bundled_weights(encoder)
        for name, tensor in used_tensors(encoder).items():
            key = f"{file} {name}"
            found[key] = known[key] if key in known else _tensor_mb(tensor, encoder.bundled_int8)
    return found


def _tensor_mb(tensor: torch.Tensor, int8: bool) -> float:
    """Megabytes of the tensor in the precision in which a bundle stores it."""
    if int8:
        return sum(zipped_mb(t.numpy().tobytes()) for t in pack({"": tensor.half()}, set()).values())
    return zipped_mb((tensor.half() if tensor.ndim > 1 else tensor).cpu().numpy().tobytes())

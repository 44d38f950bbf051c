"""What each part of an ensemble costs: megabytes as zipped, milliseconds an image as measured on some real ones."""

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.bundling.bundle_writer import weights_name
from tandem.bundling.ensemble_choice import Cost, Part, Prices
from tandem.config.experiments import Experiment
from tandem.data.image_loader import ahead, squares
from tandem.features.extract import used_tensors
from tandem.features.int8 import pack
from tandem.inference.fold_models import Encoders, Member, NewRows
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import device, single_thread

CODE_MB = 1.0  # code, licences, settings
FEW = 8  # images: enough to load an encoder


def price(paths: Paths, names: Sequence[str], files: Sequence[Path], captions: Sequence[str]) -> Prices:
    """Prices of the experiments `names`, timed on these images and captions."""
    members = {name: Member(paths, name, folds=1) for name in names}
    wanted = sorted(set().union(*(m.experiment.image_sizes for m in members.values())))
    decode, opened = timed(lambda: list(ahead(lambda f: squares(f, wanted), files, threads())), len(files))
    rows = NewRows({size: [o[size] for o in opened] for size in wanted}, captions)
    encoders, shared, parts = Encoders(), {}, {}
    frozen = {e.slug: e for member in members.values() for e in member.experiment.encoders}
    few = rows.take(range(min(FEW, len(rows))))
    for encoder in frozen.values():
        encoders(encoder, few)  # loads it
    for slug, encoder in frozen.items():
        took, _ = timed(lambda e=encoder: encoders(e, rows), len(rows))
        shared[slug] = Cost(ms=took)
    tensors: dict[str, float] = {}
    for name, member in members.items():
        member.terms(rows, encoders)  # its encoders' features are there by now
        took, _ = timed(lambda m=member: m.terms(rows, encoders), len(rows))
        tensors |= (own := carried_mb(member.experiment, tensors))
        folds = len(read_json(paths.run(name))["seconds_per_fold"])
        mb = zipped_mb(paths.model(name, 0, ".safetensors").read_bytes())
        slugs = {e.slug for e in member.experiment.encoders}
        parts[name] = Part(Cost(mb, took), folds, frozenset(slugs | set(own)))
    shared |= {key: Cost(mb=mb) for key, mb in tensors.items()}
    stack = paths.stack("stack").parent
    stack_mb = sum(zipped_mb(file.read_bytes()) for file in stack.rglob("*") if file.is_file())
    return Prices(parts, shared, Cost(CODE_MB, decode), Cost(stack_mb))


def timed(work: Callable[[], object], n: int) -> tuple[float, object]:
    """(milliseconds for each of `n`, what it gives).

    Of the processor, shared by all threads as labelling shares it: what else runs here then does not count.
    """
    cuda = device().type == "cuda"
    clock, share = (time.perf_counter, 1) if cuda else (time.process_time, threads())
    with single_thread():
        start = clock()
        result = work()
    return 1000 * (clock() - start) / n / share, result


def zipped_mb(data: bytes) -> float:
    """Of a file, as it will be in the zip."""
    return len(zlib.compress(data)) / 2**20


def carried_mb(experiment: Experiment, known: Mapping[str, float]) -> dict[str, float]:
    """Megabytes of each pretrained tensor that it takes along, by file and name there; `known` ones as they are."""
    found = {}
    for encoder in experiment.pretrained:
        file = weights_name(encoder)
        for name, tensor in used_tensors(encoder).items():
            key = f"{file} {name}"
            found[key] = known[key] if key in known else _tensor_mb(tensor, encoder.reads)
    return found


def _tensor_mb(tensor: torch.Tensor, reads: str) -> float:
    """Of a pretrained tensor, as it will be in the zip."""
    if reads == "caption":
        return sum(zipped_mb(t.numpy().tobytes()) for t in pack({"": tensor.half()}, set()).values())
    return zipped_mb((tensor.half() if tensor.ndim > 1 else tensor).cpu().numpy().tobytes())

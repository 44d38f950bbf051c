"""What each part of an ensemble costs: megabytes as zipped, milliseconds an image as measured on some real ones."""

import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from tandem.budget import Cost, Part, Prices
from tandem.config import Encoder, Experiment, rewired
from tandem.encoders.weights import load_backbone, load_sentences
from tandem.files import read_json
from tandem.loading import ahead, squares
from tandem.machine import threads
from tandem.members import Encoders, Member, NewRows, sizes
from tandem.packing import weights_name
from tandem.paths import Paths
from tandem.runtime import alone, device

CODE_MB = 1.0  # code, licences, settings
FEW = 8  # images: enough to load an encoder


def price(paths: Paths, names: Sequence[str], files: Sequence[Path], captions: Sequence[str]) -> Prices:
    """Prices of the experiments `names`, timed on these images and captions."""
    members = {name: Member(paths, name, folds=1) for name in names}
    wanted = sorted(set().union(*(sizes(m.experiment) for m in members.values())))
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
    for name, member in members.items():
        member.terms(rows, encoders)  # its encoders' features are there by now
        took, _ = timed(lambda m=member: m.terms(rows, encoders), len(rows))
        weights = {weights_name(e): e for e in _pretrained(member.experiment)}
        shared |= {file: Cost(mb=_weights_mb(e)) for file, e in weights.items() if file not in shared}
        folds = len(read_json(paths.run(name))["seconds_per_fold"])
        mb = _megabytes(paths.model(name, 0, ".safetensors").read_bytes())
        slugs = {e.slug for e in member.experiment.encoders}
        parts[name] = Part(Cost(mb, took), folds, frozenset(slugs | set(weights)))
    stack = paths.stack("stack").parent
    stack_mb = sum(_megabytes(file.read_bytes()) for file in stack.glob("*"))
    return Prices(parts, shared, Cost(CODE_MB, decode), Cost(stack_mb))


def timed(work: Callable[[], object], n: int) -> tuple[float, object]:
    """(milliseconds for each of `n`, what it gives).

    Of the processor, shared by all threads as labelling shares it: what else runs here then does not count.
    """
    cuda = device().type == "cuda"
    alone()
    clock, share = (time.perf_counter, 1) if cuda else (time.process_time, threads())
    start = clock()
    result = work()
    return 1000 * (clock() - start) / n / share, result


def _pretrained(experiment: Experiment) -> list[Encoder]:
    """Each part that pretrained weights are packed for."""
    found: list[Encoder] = []
    rewired(experiment, lambda encoder: found.append(encoder) or encoder)
    return found


def _megabytes(data: bytes) -> float:
    """As they will be in the zip."""
    return len(zlib.compress(data)) / 2**20


def _weights_mb(encoder: Encoder) -> float:
    load = load_backbone if encoder.reads == "image" else lambda model, _: load_sentences(model)
    state = load(encoder.model, getattr(encoder, "weights", "")).state_dict()
    return sum(_megabytes(tensor.half().numpy().tobytes()) for tensor in state.values())

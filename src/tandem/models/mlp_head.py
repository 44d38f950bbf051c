"""A small network on standardised frozen features, several seeds averaged."""

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tandem.artifacts.atomic_io import write_with
from tandem.artifacts.contributions import BOTH, JOINT, TERMS
from tandem.artifacts.whole_files import MODEL, reading
from tandem.config.experiments import HeadExperiment
from tandem.config.training import Head
from tandem.logits import sigmoid
from tandem.models.base import TrainingRun
from tandem.models.batch_loader import to_device
from tandem.models.inputs import Inputs, row_slices
from tandem.models.losses import Targets, make_loss
from tandem.models.own_functions import Sampler, own_sampler
from tandem.models.parameter_groups import parameter_groups
from tandem.models.trainer import Batch, Task, fit, shuffled_batches
from tandem.runtime.torch_setup import autocast, device

# with few rows, smaller batches, so that an epoch has some steps: quicker, and a lower out-of-fold loss
FEW_STEPS, SMALL_BATCH = 10, 64
# of the training features in float32: up to here they are held whole. Larger ones are read from disk batch by batch:
# means and deviations are summed over parts of the rows, and rows are drawn in runs that lie side by side on disk
HELD = 2**30  # bytes
RUN, POOL = 64, 2**16  # rows of such a run; rows, of runs drawn at random, that are shuffled together


class HeadModel:
    """Reads the features of the experiment's encoders and those that the user added, concatenated.

    It takes memory for the features of a batch, or for those of all training rows where that is no more than HELD.
    """

    def __init__(self, cfg: HeadExperiment, n_labels: int) -> None:
        self.cfg, self.n_labels = cfg, n_labels
        self.mean, self.deviation = torch.zeros(0), torch.ones(0)  # (d,) of the training rows
        self.networks: list[nn.Module] = []

    def fit(self, inputs: Inputs, y: np.ndarray, run: TrainingRun) -> list[dict]:
        """Writes no checkpoint: it takes seconds, so a killed fold starts again."""
        on, train, log = device(), self.cfg.train, []
        rows = self._standardised(inputs, on)
        targets = _small_targets(y, run, on)
        sample = own_sampler(train.sampler, y, run.weights)
        if sample is None and rows.held is None:
            sample = partial(_rows_in_runs, len(y))
        loss = make_loss(train.loss, train.smoothing)
        steps = max(len(y) // train.batch, min(FEW_STEPS, len(y) // SMALL_BATCH), 1)
        for bag in range(self.cfg.head.bags):
            seed = run.seed * 101 + bag
            network = _network(self.cfg.head, len(self.mean), self.n_labels, seed).to(on)
            groups = parameter_groups(network, train, train.lr)
            batches = partial(_batches, rows, targets, steps, self.cfg.head.input_dropout, seed, sample=sample)
            alone = copy(self)
            alone.networks = [network]
            task = Task(
                network,
                batches,
                steps,
                groups,
                lambda logits, batch: loss(logits, *batch),
                predict_proba=alone.predict_proba,
            )
            about = {"bag": bag}
            follow = TrainingRun(seed, on_epoch=partial(_follow, run, about), watched=run.watched)
            log += [about | entry for entry in fit(task, train, follow)]
            self.networks.append(network.eval())
        return log

    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """(n, c): mean of the logits over bags and views, as probability."""
        out = np.zeros((len(inputs), self.n_labels))
        for rows in row_slices(len(inputs)):
            out[rows] = self._logits(inputs, rows)
        return sigmoid(out)

    def predict_terms(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """(n, c, 6) TERMS that add up to the logit f(image, caption), where m stands for the mean of the training rows:
        image f(i, m) - f(m, m), caption f(m, c) - f(m, m), fusion what remains, base f(m, m). Added features that
        were computed from both are at their mean there, and joint is what they change.

        The decomposition of a function around a reference point (cut-HDMR, Rabitz and Alis 1999).
        """
        widths = [inputs.features[block.slug].shape[-1] for block in self.cfg.blocks]
        of = {
            kind: torch.from_numpy(np.repeat([block.reads == kind for block in self.cfg.blocks], widths)).float()
            for kind in ("image", "caption")
        }
        out = np.zeros((len(inputs), self.n_labels, len(TERMS)))
        image, caption, fusion, joint, base = map(TERMS.index, ("image", "caption", "fusion", JOINT, "base"))
        for rows in row_slices(len(inputs)):
            kept = (None, of["image"] + of["caption"], of["image"], of["caption"], 0 * of["image"])
            whole, both, photo, text, mean = (self._logits(inputs, rows, keep) for keep in kept)
            out[rows, :, image], out[rows, :, caption], out[rows, :, base] = photo - mean, text - mean, mean
            out[rows, :, fusion], out[rows, :, joint] = both - photo - text + mean, whole - both
        return {BOTH: out}

    @torch.inference_mode()
    def _logits(self, inputs: Inputs, rows: slice, keep: torch.Tensor | None = None) -> np.ndarray:
        """(b, c), mean over bags and views; features where `keep` (d,) is 0 are replaced by their training mean."""
        on = next(self.networks[0].parameters()).device
        total = np.zeros((len(range(*rows.indices(len(inputs)))), self.n_labels))
        for v in range(inputs.views):
            x = self._view(inputs, v, rows)
            x = (x if keep is None else x * keep).to(on)  # 0 is the mean once standardised
            for network in self.networks:
                with autocast(on, self.cfg.train.bfloat16):
                    logits = network(x)
                total += logits.float().cpu().numpy()
        return total / (inputs.views * len(self.networks))

    def _standardised(self, inputs: Inputs, on: torch.device) -> "_Rows":
        """The training rows, after their means and deviations are taken."""
        width = sum(inputs.features[block.slug].shape[-1] for block in self.cfg.blocks)
        read = partial(self._view, inputs)
        if 4 * len(inputs) * inputs.views * width > HELD:
            parts = (torch.from_numpy(inputs.side_by_side(self.cfg.blocks, 0, at)) for at in row_slices(len(inputs)))
            self.mean, self.deviation = mean_and_deviation_of_parts(parts)
            return _Rows(len(inputs), inputs.views, on, read)
        first = torch.from_numpy(inputs.side_by_side(self.cfg.blocks, 0))
        self.mean, self.deviation = mean_and_deviation(first)
        del first
        held = torch.stack([self._view(inputs, v).to(on) for v in range(inputs.views)])
        return _Rows(len(inputs), inputs.views, on, read, held)

    def _view(self, inputs: Inputs, view: int | np.ndarray, rows: slice | np.ndarray = slice(None)) -> torch.Tensor:
        x = torch.from_numpy(inputs.side_by_side(self.cfg.blocks, view, rows))
        return x.sub_(self.mean).div_(self.deviation).clamp_(-6, 6)

    def save(self, path: Path) -> None:
        tensors = {"mean": self.mean, "deviation": self.deviation}
        for bag, network in enumerate(self.networks):
            tensors |= {f"{bag}.{k}": t.half().cpu().contiguous() for k, t in network.state_dict().items()}
        write_with(path, lambda partial: save_file(tensors, partial))

    def load(self, path: Path) -> Self:
        with reading(path, MODEL):
            tensors, self.networks = load_file(path), []
            self.mean, self.deviation = tensors.pop("mean"), tensors.pop("deviation")
            for bag in range(self.cfg.head.bags):
                network, prefix = _network(self.cfg.head, len(self.mean), self.n_labels, 0), f"{bag}."
                own = {k.removeprefix(prefix): t.float() for k, t in tensors.items() if k.startswith(prefix)}
                network.load_state_dict(own)
                self.networks.append(network.eval().to(device()))
        return self


@dataclass(frozen=True)
class _Rows:
    """The standardised features of n rows in some views."""

    n: int
    views: int
    on: torch.device
    read: Callable[[np.ndarray, np.ndarray], torch.Tensor]  # (view (b,), rows (b,)) -> (b, d)
    held: torch.Tensor | None = None  # (views, n, d) on the device; None: they are read

    def take(self, view: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        """(b, d), each row in its own view."""
        if self.held is None:
            return to_device(self.read(view, rows), self.on)
        return self.held[to_device(torch.from_numpy(view), self.on), to_device(torch.from_numpy(rows), self.on)]


def _rows_in_runs(n: int, epoch: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) all rows in nearly random order: runs of RUN rows in random order, shuffled within each POOL."""
    del epoch
    starts = RUN * rng.permutation(-(-n // RUN))
    order = (starts[:, None] + np.arange(RUN)).ravel()
    order = order[order < n]
    for start in range(0, n, POOL):
        rng.shuffle(order[start : start + POOL])
    return order


def _small_targets(y: np.ndarray, run: TrainingRun, on: torch.device) -> Targets:
    """The labels (n, c) of all rows, those of 0 and 1 as bytes; `_batches` makes float32 of them."""
    weights = run.weights
    if weights is not None and weights.dtype != bool:
        weights = weights.astype(np.float32)
    y = y if y.dtype == np.uint8 else y.astype(np.float32)
    return Targets(torch.from_numpy(y).to(on), None if weights is None else torch.from_numpy(weights).to(on))


def _follow(run: TrainingRun, about: dict, entry: dict) -> None:
    run.on_epoch(about | entry)


def _batches(
    rows: _Rows, targets: Targets, steps: int, dropout: float, seed: int, epoch: int, sample: Sampler | None = None
) -> Iterator[Batch]:
    """The rows with dropout, each in a random view."""
    drop = round(256 * dropout)
    for at, view, rng in shuffled_batches(rows.n, rows.views, steps, seed, epoch, sample):
        picked, wanted = rows.take(view, at), targets.take(to_device(torch.from_numpy(at), rows.on))
        # random bytes are several times quicker on a CPU than torch's own dropout
        keep = torch.from_numpy(rng.integers(0, 256, picked.shape, np.uint8) >= drop)
        weights = None if wanted.weights is None else wanted.weights.float()
        yield picked * (to_device(keep, rows.on).float() * (256 / (256 - drop))), Targets(wanted.y.float(), weights)


def _network(cfg: Head, width: int, n_labels: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden = hidden_layer(width, cfg.hidden, cfg.dropout) if cfg.hidden else ()
        return nn.Sequential(*hidden, nn.Linear(cfg.hidden or width, n_labels))


def mean_and_deviation(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(d,) each, of the rows of x (n, d); the deviation of a constant column, as of a single row, is 1."""
    mean, deviation = x.mean(0), x.std(0, correction=min(1, len(x) - 1))
    constant = deviation <= 1e-6 * mean.abs().clamp_min(1)
    return mean, deviation.masked_fill(constant, 1.0)


def mean_and_deviation_of_parts(parts: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """`mean_and_deviation` of the rows of all parts (b, d), of which one at a time is in memory.

    Means and squared deviations of two parts give those of both (Chan et al. 1983), in float64.
    """
    n, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for part in parts:
        own = part.double()
        b, own_mean = len(own), own.mean(0)
        shift = own_mean - mean
        squares = squares + ((own - own_mean) ** 2).sum(0) + shift**2 * (n * b / (n + b))
        mean, n = mean + shift * (b / (n + b)), n + b
    deviation = (squares / max(n - 1, 1)).sqrt()
    constant = deviation <= 1e-6 * mean.abs().clamp_min(1)
    return mean.float(), deviation.masked_fill(constant, 1.0).float()


def hidden_layer(width: int, hidden: int, dropout: float) -> tuple[nn.Module, ...]:
    return nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Dropout(dropout)

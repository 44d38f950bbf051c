"""A small network on standardised frozen features, several seeds averaged."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tandem.artifacts.atomic_io import write_with
from tandem.config.experiments import HeadExperiment
from tandem.config.training import Head
from tandem.logits import sigmoid
from tandem.models.inputs import Inputs, side_by_side
from tandem.models.trainer import Batch, fit
from tandem.runtime.torch_setup import autocast, device

# on few rows the batches are smaller, so that an epoch still has some steps: quicker, and a lower out-of-fold loss
FEW_STEPS, SMALL_BATCH = 10, 64


class HeadModel:
    """fit / predict_proba / save / load on `Inputs.blocks`."""

    def __init__(self, cfg: HeadExperiment, n_labels: int):
        self.cfg, self.n_labels = cfg, n_labels
        self.mean = self.deviation = None  # (d,) of the training rows
        self.networks: list[nn.Module] = []

    def fit(
        self,
        inputs: Inputs,
        y: np.ndarray,
        seed: int,
        checkpoint: Path | None,
        on_epoch: Callable = lambda e: None,
    ) -> list[dict]:
        """Trains on all rows of `inputs`; quick enough that a killed fold starts again, so no checkpoint."""
        del checkpoint
        on = device()
        first = torch.from_numpy(side_by_side(inputs.blocks, 0, slice(None)))
        self.mean, self.deviation = first.mean(0), first.std(0).clamp_min(1e-6)
        count = max((block.shape[1] for block in inputs.blocks), default=1)
        x = torch.stack(
            [self._standardise(side_by_side(inputs.blocks, v, slice(None))) for v in range(count)]
        ).to(on)
        targets = torch.from_numpy(y.astype(np.float32)).to(on)
        train, log = self.cfg.train, []
        steps = max(len(y) // train.batch, min(FEW_STEPS, len(y) // SMALL_BATCH), 1)

        def kept(rng: np.random.Generator, shape: tuple[int, int]) -> torch.Tensor:
            """Input dropout from random bytes: several times quicker on a CPU than torch's own."""
            drop = round(256 * self.cfg.head.input_dropout)
            keep = rng.integers(0, 256, shape, np.uint8) >= drop
            return torch.from_numpy(keep).float() * (256 / (256 - drop))

        for bag in range(self.cfg.head.bags):
            bag_seed = seed * 101 + bag
            network = _network(self.cfg.head, x.shape[2], self.n_labels, bag_seed).to(on)

            def batches(epoch: int, bag_seed: int = bag_seed) -> Iterator[Batch]:
                rng = np.random.default_rng([bag_seed, epoch])
                order = rng.permutation(len(y))
                view = rng.integers(0, count, len(y))
                for rows in np.array_split(order, steps):  # all rows, batches of nearly equal size
                    picked = x[torch.from_numpy(view[rows]).to(on), torch.from_numpy(rows).to(on)]
                    yield picked * kept(rng, picked.shape).to(on), targets[torch.from_numpy(rows).to(on)]

            groups = [{"params": list(network.parameters()), "lr": train.lr}]
            log += [{"bag": bag, **e} for e in fit(network, batches, steps, train, bag_seed, groups)]
            self.networks.append(network.eval())
        on_epoch(log[-1])
        return log

    @torch.inference_mode()
    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """(n, c): mean of the logits over bags and views, as probability."""
        count = max((block.shape[1] for block in inputs.blocks), default=1)
        on = next(self.networks[0].parameters()).device
        total = np.zeros((len(inputs), self.n_labels))
        for start in range(0, len(inputs), 4096):
            rows = slice(start, start + 4096)
            for v in range(count):
                x = self._standardise(side_by_side(inputs.blocks, v, rows)).to(on)
                for network in self.networks:
                    with autocast(on, self.cfg.train.bfloat16):
                        logits = network(x)
                    total[rows] += logits.float().cpu().numpy()
        return sigmoid(total / (count * len(self.networks)))

    def _standardise(self, x: np.ndarray) -> torch.Tensor:
        return ((torch.from_numpy(x) - self.mean) / self.deviation).clamp(-6, 6)

    def save(self, path: Path) -> None:
        tensors = {"mean": self.mean, "deviation": self.deviation}
        for bag, network in enumerate(self.networks):
            tensors |= {f"{bag}.{k}": t.half().contiguous() for k, t in network.cpu().state_dict().items()}
        write_with(path, lambda partial: save_file(tensors, partial))

    def load(self, path: Path) -> "HeadModel":
        """Reads what `save` wrote for the same configuration."""
        tensors = load_file(path)
        self.mean, self.deviation = tensors.pop("mean"), tensors.pop("deviation")
        self.networks = []
        for bag in range(self.cfg.head.bags):
            network = _network(self.cfg.head, len(self.mean), self.n_labels, 0)
            state = {
                k.split(".", 1)[1]: t.float() for k, t in tensors.items() if k.split(".", 1)[0] == str(bag)
            }
            network.load_state_dict(state)
            self.networks.append(network.eval().to(device()))
        return self


def _network(cfg: Head, width: int, n_labels: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if not cfg.hidden:
            return nn.Sequential(nn.Linear(width, n_labels))
        return nn.Sequential(
            nn.Linear(width, cfg.hidden),
            nn.LayerNorm(cfg.hidden),
            nn.GELU(),
            nn.Dropout(cfg.dropout),
            nn.Linear(cfg.hidden, n_labels),
        )

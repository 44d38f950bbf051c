"""What tests/test_data_parallel.py trains in one process and, as a script, in two: RANK FOLDER [kind]."""

import sys
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import distributed as dist
from torch.optim.optimizer import register_optimizer_step_pre_hook
from toy import tiny_backbone

from tandem.config.encoders import TokenEncoder, TrunkEncoder
from tandem.config.experiments import FinetuneExperiment, FusionExperiment
from tandem.config.training import FinetuneTraining, Fusion, FusionTraining
from tandem.models.base import TrainingRun
from tandem.models.data_parallel import together
from tandem.models.finetune import FinetunedModel
from tandem.models.fusion import FusionModel
from tandem.models.inputs import Inputs, Maps
from tandem.runtime import torch_setup

N, SIZE = 13, 32


def finetune(folder: Path) -> tuple[FinetunedModel, Inputs]:
    """Batch norms, dropout, stochastic depth, mixup and cutmix, accumulation, averaged weights."""
    train = {"drop_path": 0.2, "mixup": 0.8, "cutmix": 1.0, "loss": "asl", "accumulate": 2, "min_steps": 9}
    cfg = FinetuneExperiment(
        kind="finetune",
        model="test_efficientnet",
        weights=tiny_backbone(folder / "tiny.safetensors"),
        size=SIZE,
        dropout=0.3,
        train=FinetuneTraining(epochs=2, batch=4, lr=1e-3, backbone_lr=1e-4, bfloat16=False, **train),
    )
    return FinetunedModel(cfg, 2), Inputs(ids(), files=pixels())


def fusion(folder: Path) -> tuple[FusionModel, Inputs]:
    """A whole network from pixels, the last layer of a transformer, and heads, each with dropout."""
    trunk = TrunkEncoder(model="test_efficientnet", weights=str(folder / "tiny.safetensors"), size=SIZE, tune="")
    cfg = FusionExperiment(
        kind="fusion",
        trunk=trunk,
        tokens=(tokens := TokenEncoder(tune=1, max_tokens=16)),
        fusion=Fusion(hidden=16, rank=4, heads=2, learned_weights=True),
        train=FusionTraining(epochs=2, batch=4, min_steps=0, lr=1e-3, tune_from=0, bfloat16=False),
    )
    states = np.random.default_rng(1).normal(size=(N, 1, 16, 384)).astype(np.float16)
    for i in range(N):
        states[i, :, i + 2 :] = 0  # captions of different lengths
    return FusionModel(cfg, 2), Inputs(ids(), maps={tokens.slug: Maps((states,))}, files=pixels())


def ids() -> list[str]:
    return [str(i) for i in range(N)]


def pixels() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (N, SIZE, SIZE, 3), np.uint8))


def trained(folder: Path, kind: str) -> dict[str, torch.Tensor]:
    """Weights and the gradients of the first step, by name, and the last loss; some labels are unknown."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with patch.object(torch_setup, "has_bfloat16", lambda kind: False):
        found = _trained(folder, kind)
    torch.set_num_threads(before)
    return found


def _trained(folder: Path, kind: str) -> dict[str, torch.Tensor]:
    model, inputs = (finetune if kind == "finetune" else fusion)(folder)
    y = np.random.default_rng(2).integers(0, 2, (N, 2)).astype(np.uint8)
    weights = np.ones((N, 2))
    weights[:4, 0] = 0
    first: list[torch.Tensor] = []

    def record(optimiser, *_: object) -> None:
        if not first:
            first.extend(p.grad.clone() for group in optimiser.param_groups for p in group["params"])

    handle = register_optimizer_step_pre_hook(record)
    log = model.fit(inputs, y, TrainingRun(0, weights=weights))
    handle.remove()
    found = {f"gradient {i}": gradient for i, gradient in enumerate(first)}
    last = {"loss": torch.tensor(log[-1]["loss"]), "f1": torch.tensor(log[-1]["f1"])}
    return {**found, **model.network.state_dict(), **last}


if __name__ == "__main__":
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    dist.init_process_group("gloo", f"file://{folder}/meeting", timedelta(seconds=100), rank=rank, world_size=2)
    with together():
        torch.save({kind: trained(folder, kind) for kind in ("finetune", "fusion")}, folder / f"{rank}.pt")

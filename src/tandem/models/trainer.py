"""The one training loop: AdamW, warm-up and cosine, averaged weights, accumulation, bfloat16, checkpoints."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tandem.artifacts.atomic_io import write_with
from tandem.config.training import Training
from tandem.metrics import f1_samples
from tandem.models.losses import make_loss
from tandem.runtime.torch_setup import autocast

Batch = tuple[Any, Any]  # what the network takes, what the loss compares with: targets (b, c)


def fit(
    network: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    steps: int,
    cfg: Training,
    seed: int,
    groups: list[dict],
    checkpoint: Path | None = None,
    on_epoch: Callable[[dict], None] = lambda entry: None,
    loss_function: Callable[[Any, Any], torch.Tensor] | None = None,
    labelled: Callable[[Any, Any], Batch] = lambda outputs, targets: (outputs, targets),
) -> list[dict]:
    """Trains `network` in place and returns one entry an epoch: epoch, loss, lr, and f1, which is F1 per row at 0.5
    over the rows trained on, each as the network saw it then.

    batches     gives the batches of an epoch, `steps` of them; must depend on the epoch alone
    groups      AdamW parameter groups, each with its own peak lr
    checkpoint  written after each epoch; a killed run goes on from it and ends in the same weights
    loss_function  of the network's outputs and the targets; without one, that of `cfg.loss` on logits
    labelled    (logits (b, c), y (b, c)) of the network's outputs and the targets
    """
    on = next(network.parameters()).device
    loss_function = loss_function or make_loss(cfg.loss, cfg.smoothing)
    updates = math.ceil(steps / cfg.accumulate)
    epochs = max(cfg.epochs, math.ceil(cfg.min_steps / steps))
    optimiser = torch.optim.AdamW(groups, weight_decay=cfg.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warmup_cosine(updates * epochs, cfg.warmup))
    average = averaged(network, cfg.ema) if cfg.ema else None
    parts = {"network": network, "optimiser": optimiser, "schedule": schedule, "average": average}
    log = _restore(checkpoint, parts)
    for epoch in range(len(log), epochs):
        network.train()
        total, rows, y, pred = 0.0, 0, [], []
        with torch.random.fork_rng(devices=[on] if on.type == "cuda" else []):
            torch.manual_seed(seed * 1_000_003 + epoch)
            for step, (inputs, targets) in enumerate(batches(epoch), start=1):
                with autocast(on, cfg.bfloat16):
                    outputs = network(inputs)
                loss = loss_function(outputs, targets)
                (loss / cfg.accumulate).backward()
                if step % cfg.accumulate == 0 or step == steps:
                    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                    optimiser.step()
                    optimiser.zero_grad(set_to_none=True)
                    schedule.step()
                    if average:
                        average.update_parameters(network)
                total, rows = total + loss.item() * len(targets), rows + len(targets)
                for part, values, cut in zip((pred, y), labelled(outputs, targets), (0.0, 0.5), strict=True):
                    part.append((values.detach() > cut).cpu().numpy())
        if not math.isfinite(total):
            raise ValueError(f"the loss became {total} in epoch {epoch + 1}; lower train.lr in the config")
        f1 = f1_samples(np.concatenate(y), np.concatenate(pred))
        log.append({"epoch": epoch + 1, "loss": total / rows, "f1": f1, "lr": schedule.get_last_lr()[0]})
        on_epoch(log[-1])
        if checkpoint:
            _save(checkpoint, parts, log)
    if average:
        network.load_state_dict(average.module.state_dict())
    return log


def warmup_cosine(updates: int, warmup: float) -> Callable[[int], float]:
    """Factor of the peak lr at an update: linear over the first share `warmup`, then half a cosine to zero.

    >>> factor = warmup_cosine(100, 0.1)
    >>> [round(factor(u), 2) for u in (0, 9, 10, 55, 100)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    first = max(1, round(updates * warmup))

    def factor(update: int) -> float:
        if update < first:
            return (update + 1) / first
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (update - first) / max(1, updates - first))))

    return factor


def averaged(network: nn.Module, decay: float) -> torch.optim.swa_utils.AveragedModel:
    """Exponential moving average of weights and buffers; the decay is smaller at first, so short runs gain too."""

    def update(averages: list, current: list, number: torch.Tensor) -> None:
        weight = 1 - min(decay, (1 + int(number)) / (10 + int(number)))
        for a, c in zip(averages, current, strict=True):
            a.lerp_(c, weight) if a.is_floating_point() else a.copy_(c)

    return torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def _save(path: Path, parts: dict, log: list[dict]) -> None:
    state = {name: part.state_dict() for name, part in parts.items() if part is not None}
    write_with(path, lambda partial: torch.save({**state, "log": log}, partial))


def _restore(path: Path | None, parts: dict) -> list[dict]:
    if path is None or not path.exists():
        return []
    state = torch.load(path, weights_only=True)
    for name, part in parts.items():
        if part is not None:
            part.load_state_dict(state[name])
    return state["log"]

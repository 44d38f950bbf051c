"""The one training loop: AdamW, warm-up and cosine, averaged weights, accumulation, checkpoints."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tandem.artifacts.atomic_io import write_with
from tandem.config.training import Training
from tandem.metrics import f1_samples
from tandem.models.base import TrainingRun
from tandem.runtime.torch_setup import autocast

MAX_NORM = 5.0  # of the gradients of one step
Batch = tuple[Any, Any]  # (inputs of the network, targets of the loss)


@dataclass(frozen=True)
class Task:
    """What is trained, on which batches."""

    network: nn.Module
    batches: Callable[[int], Iterable[Batch]]  # those of an epoch, which depend on its number alone
    steps: int  # batches in an epoch
    groups: list[dict[str, Any]]  # AdamW parameter groups, each with its own peak lr
    loss: Callable[[Any, Any], torch.Tensor]  # of the network's outputs and the targets of a batch
    # (logits (b, c), y (b, c)) of outputs and targets, for F1 on the training rows
    metric_pair: Callable[[Any, Any], Batch] = lambda outputs, targets: (outputs, targets)


def fit(task: Task, cfg: Training, run: TrainingRun) -> list[dict[str, Any]]:
    """Trains `task.network` in place; an entry per epoch: epoch, loss, lr and F1 per row at 0.5 over the training rows,
    each predicted in its own step. Raises ValueError where the loss is not finite."""
    epochs = max(cfg.epochs, math.ceil(cfg.min_steps / task.steps))
    state = _State(task, cfg, epochs)
    log = state.restore(run.checkpoint)
    device = next(task.network.parameters()).device
    for epoch in range(len(log), epochs):
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(run.seed * 1_000_003 + epoch)
            loss, f1 = _train_epoch(task, cfg, state, epoch)
        log.append({"epoch": epoch + 1, "loss": loss, "f1": f1, "lr": state.schedule.get_last_lr()[0]})
        run.on_epoch(log[-1])
        if run.checkpoint:
            state.save(run.checkpoint, log)
    if state.average:
        task.network.load_state_dict(state.average.module.state_dict())
    return log


class _State:  # what changes in the course of training
    def __init__(self, task: Task, cfg: Training, epochs: int) -> None:
        self.network = task.network
        self.optimiser = torch.optim.AdamW(task.groups, weight_decay=cfg.weight_decay, fused=True)
        factor = warmup_cosine(math.ceil(task.steps / cfg.accumulate) * epochs, cfg.warmup)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, factor)
        self.average = averaged(task.network, cfg.ema) if cfg.ema else None

    def update(self) -> None:
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_NORM)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.schedule.step()
        if self.average:
            self.average.update_parameters(self.network)

    def save(self, path: Path, log: list[dict[str, Any]]) -> None:
        state = {name: part.state_dict() for name, part in vars(self).items() if part is not None}
        write_with(path, lambda partial: torch.save({**state, "log": log}, partial))

    def restore(self, path: Path | None) -> list[dict[str, Any]]:
        """The log of the epochs that are done."""
        if path is None or not path.exists():
            return []
        state = torch.load(path, weights_only=True)
        for name, part in vars(self).items():
            if part is not None:
                part.load_state_dict(state[name])
        return state["log"]


def _train_epoch(task: Task, cfg: Training, state: _State, epoch: int) -> tuple[float, float]:
    """(mean loss, F1 per row)."""
    task.network.train()
    device = next(task.network.parameters()).device
    total, rows, y, pred = 0.0, 0, [], []
    for step, (inputs, targets) in enumerate(task.batches(epoch), start=1):
        with autocast(device, cfg.bfloat16):
            outputs = task.network(inputs)
        loss = task.loss(outputs, targets)
        (loss / cfg.accumulate).backward()
        if step % cfg.accumulate == 0 or step == task.steps:
            state.update()
        size = len(targets)  # 2 for a fusion network's pair of tensors: its loss is the mean over batches
        total, rows = total + loss.item() * size, rows + size
        logits, truth = task.metric_pair(outputs, targets)
        pred.append((logits.detach() > 0).cpu().numpy())
        y.append((truth > 0.5).cpu().numpy())
    if not math.isfinite(total):
        raise ValueError(f"the loss became {total} in epoch {epoch + 1}; lower train.lr in the config")
    return total / rows, f1_samples(np.concatenate(y), np.concatenate(pred))


def shuffled_batches(
    n: int, views: int, steps: int, seed: int, epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.random.Generator]]:
    """All n rows in random order in batches of nearly equal size: (rows (b,), a random view of each, generator)."""
    rng = np.random.default_rng([seed, epoch])
    order, view = rng.permutation(n), rng.integers(0, views, n)
    for rows in np.array_split(order, steps):
        yield rows, view[rows], rng


def warmup_cosine(updates: int, warmup: float) -> Callable[[int], float]:
    """Factor of the peak lr at an update: linear over the share `warmup` of `updates`, then half a cosine to zero."""
    first = max(1, round(updates * warmup))

    def factor(update: int) -> float:
        if update < first:
            return (update + 1) / first
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (update - first) / max(1, updates - first))))

    return factor


def averaged(network: nn.Module, decay: float) -> torch.optim.swa_utils.AveragedModel:
    """Exponential moving average of weights and buffers; its decay grows from 0.1, so that short runs gain too."""

    def update(averages: Any, current: Any, number: Any) -> None:
        weight = 1 - min(decay, (1 + int(number)) / (10 + int(number)))
        for a, c in zip(averages, current, strict=True):
            a.lerp_(c, weight) if a.is_floating_point() else a.copy_(c)

    return torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=update, use_buffers=True)

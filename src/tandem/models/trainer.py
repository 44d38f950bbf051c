"""The one training loop: AdamW, warm-up and cosine, averaged weights, accumulation, checkpoints."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tandem.artifacts.atomic_io import write_with
from tandem.config.training import Training
from tandem.metrics import f1_samples
from tandem.models.base import TrainingRun
from tandem.models.inputs import Inputs
from tandem.models.losses import Targets
from tandem.models.own_functions import Sampler
from tandem.runtime.torch_setup import autocast

MAX_NORM = 5.0  # of the gradients of one step
WATCHED = 5  # epochs, at most, after which held-out rows are predicted: it costs time
CHECKPOINT_SECONDS = 30.0  # between two checkpoints: what a killed run computes again, at most, beside its last epoch
Batch = tuple[Any, Targets]  # (inputs of the network, targets of the loss)


@dataclass(frozen=True)
class Task:
    """What is trained, on which batches."""

    network: nn.Module
    batches: Callable[[int], Iterable[Batch]]  # those of an epoch, which depend on its number alone
    steps: int  # batches in an epoch
    groups: list[dict[str, Any]]  # AdamW parameter groups, each with its own peak lr and weight decay
    loss: Callable[[Any, Targets], torch.Tensor]  # of outputs and targets of a batch: the mean over its rows
    logits: Callable[[Any], torch.Tensor] = lambda outputs: outputs  # (b, c) of outputs, for F1 on the training rows
    predict_proba: Callable[[Inputs], np.ndarray] | None = None  # (n, c) by `network`; None: no rows are watched


def fit(task: Task, cfg: Training, run: TrainingRun) -> list[dict[str, Any]]:
    """Trains `task.network` in place; an entry per epoch: epoch, loss, the largest lr, and F1 per row at 0.5 over the
    training rows, each predicted in its own step; and, in up to WATCHED entries, `held_out_f1` of the watched rows, by
    the averaged weights where there are some. Raises ValueError where the loss is not finite."""
    epochs = max(cfg.epochs, math.ceil(cfg.min_steps / task.steps))
    state = _State(task, cfg, epochs)
    log = state.restore(run.checkpoint)
    device, saved = next(task.network.parameters()).device, run.clock()
    for epoch in range(len(log), epochs):
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(run.seed * 1_000_003 + epoch)
            loss, f1 = _train_epoch(task, cfg, state, epoch)
        log.append({"epoch": epoch + 1, "loss": loss, "f1": f1, "lr": max(state.schedule.get_last_lr())})
        if (epochs - 1 - epoch) % math.ceil(epochs / WATCHED) == 0:
            log[-1] |= _watch(task, state, run)
        run.on_epoch(log[-1])
        if run.checkpoint and run.clock() - saved >= CHECKPOINT_SECONDS:
            state.save(run.checkpoint, log)
            saved = run.clock()
    if state.average:
        task.network.load_state_dict(state.average.module.state_dict())
    return log


def _watch(task: Task, state: "_State", run: TrainingRun) -> dict[str, float]:
    """F1 per row at 0.5 of the watched rows; changes neither weights nor random numbers."""
    if run.watched is None or task.predict_proba is None:
        return {}
    network, rows = task.network, run.watched
    now = {name: value.clone() for name, value in network.state_dict().items()} if state.average else {}
    if state.average:
        network.load_state_dict(state.average.module.state_dict())
    network.eval()
    pred = task.predict_proba(rows.inputs) > 0.5
    if state.average:
        network.load_state_dict(now)
    return {"held_out_f1": f1_samples(rows.y, pred, known=rows.known)}


class _State:  # what changes in the course of training
    def __init__(self, task: Task, cfg: Training, epochs: int) -> None:
        self.network = task.network
        self.optimiser = torch.optim.AdamW(task.groups, fused=True)
        self.schedule = warmup_cosine(self.optimiser, math.ceil(task.steps / cfg.accumulate) * epochs, cfg.warmup)
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
    """(mean loss over the rows, F1 per row); what it sums stays on the device until the epoch is done."""
    task.network.train()
    device = next(task.network.parameters()).device
    losses, found, pred, known = [], [], [], []
    for step, (inputs, targets) in enumerate(task.batches(epoch)):
        with autocast(device, cfg.bfloat16):
            outputs = task.network(inputs)
        loss = task.loss(outputs, targets)
        first = step - step % cfg.accumulate
        after = min(first + cfg.accumulate, task.steps)  # the last group of an epoch may hold fewer batches
        (loss / (after - first)).backward()
        if step + 1 == after:
            state.update()
        losses.append(loss.detach().double() * len(targets.y))
        pred.append(task.logits(outputs).detach() > 0)
        found.append(targets.y > 0.5)
        known += [] if targets.weights is None else [targets.weights > 0]
    y, total = torch.cat(found).cpu().numpy(), float(torch.stack(losses).sum())
    if not math.isfinite(total):
        raise ValueError(f"the loss became {total} in epoch {epoch + 1}; lower train.lr in the config")
    mask = torch.cat(known).cpu().numpy() if known else None
    return total / len(y), f1_samples(y, torch.cat(pred).cpu().numpy(), known=mask)


def row_targets(y: np.ndarray, run: TrainingRun, on: torch.device) -> Targets:
    """The labels (n, c) of all rows of `run`, on a device."""
    weights = None if run.weights is None else torch.from_numpy(run.weights.astype(np.float32)).to(on)
    return Targets(torch.from_numpy(y.astype(np.float32)).to(on), weights)


def shuffled_batches(
    n: int, views: int, steps: int, seed: int, epoch: int, sample: Sampler | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.random.Generator]]:
    """All n rows in random order, or n rows by `sample`, in batches of nearly equal size: (rows (b,), a random view of
    each, generator)."""
    rng = np.random.default_rng([seed, epoch])
    order = np.zeros(2, int)  # a single row twice: batch norms need two
    if n > 1:
        order = sample(epoch, rng) if sample else rng.permutation(n)
    view = rng.integers(0, views, len(order))
    for rows in np.array_split(order, steps):
        yield rows, view[rows], rng


def warmup_cosine(optimiser: torch.optim.Optimizer, updates: int, warmup: float) -> SequentialLR:
    """Factor of each group's peak lr: linear over the share `warmup` of `updates`, then half a cosine to zero."""
    first = max(1, round(updates * warmup))
    rise = LinearLR(optimiser, 1 / first, total_iters=max(1, first - 1))
    fall = CosineAnnealingLR(optimiser, max(1, updates - first))
    return SequentialLR(optimiser, [rise, fall], [first])


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and buffers; its decay grows from 0.1, so that short runs gain too."""

    def update(averages: Any, current: Any, number: Any) -> None:
        now = min(decay, (1 + int(number)) / (10 + int(number)))
        get_ema_multi_avg_fn(now)(averages, current, number)

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)

"""The one training loop: epochs, the log, watched rows, checkpoints."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from tandem.config.training import Training
from tandem.metrics import f1_samples
from tandem.models.base import TrainingRun
from tandem.models.losses import Targets
from tandem.models.optimisation import Optimisation, on_cpu
from tandem.models.own_functions import Sampler
from tandem.models.training_steps import Batch, Steps, Task
from tandem.runtime.torch_setup import compiled, low_precision

__all__ = ["Batch", "Task", "fit", "row_targets", "shuffled_batches"]
WATCHED = 5  # epochs, at most, after which held-out rows are predicted: it costs time
CHECKPOINT_SECONDS = 30.0  # between two checkpoints: what a killed run computes again, at most, beside its last epoch


def fit(task: Task, cfg: Training, run: TrainingRun) -> list[dict[str, Any]]:
    """Trains `task.network` in place; an entry per epoch: epoch, loss, the largest lr, and F1 per row at 0.5 over the
    training rows, each predicted in its own step; in up to WATCHED entries, `held_out_f1` of the watched rows, by the
    averaged weights where there are some; where memory ran out, `batch` and `accumulate` as they were then; in float16
    `skipped_steps`. Raises ValueError where the loss is not finite."""
    epochs = max(cfg.epochs, math.ceil(cfg.min_steps / task.steps))
    device, saved = next(task.network.parameters()).device, run.clock()
    scaled = cfg.bfloat16 and low_precision(device.type) is torch.float16
    updates = math.ceil(task.steps / cfg.accumulate) * epochs
    state = Optimisation(task.network, task.groups, cfg, updates, scaled)
    log = state.restore(run.checkpoint)
    if task.split.world > 1:
        log, first_state = task.split.from_first((log, on_cpu(state.state())))
        state.load(first_state)
    alone = task.split.world == 1  # several processes don't compile
    left = task.steps * (epochs - len(log)) if alone and task.compiles else 0
    steps = Steps(task, cfg, state, compiled(task.network, device, left))
    if log and alone:
        steps.pieces = log[-1].get("accumulate", cfg.accumulate) // cfg.accumulate
    for epoch in range(first := len(log), epochs):
        # elsewhere than on a CPU, memory may run out in any epoch
        loss, f1 = steps.epoch(epoch, run.seed, epoch == first or device.type != "cpu")
        log.append({"epoch": epoch + 1, "loss": loss, "f1": f1, "lr": state.lr, **steps.unusual()})
        if (epochs - 1 - epoch) % math.ceil(epochs / WATCHED) == 0:
            log[-1] |= _watch(task, state, run)
        run.on_epoch(log[-1])
        if run.checkpoint and run.clock() - saved >= CHECKPOINT_SECONDS:
            state.save(run.checkpoint, log)
            saved = run.clock()
    if state.average:
        task.network.load_state_dict(state.average.module.state_dict())
    return log


def _watch(task: Task, state: Optimisation, run: TrainingRun) -> dict[str, float]:
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

"""The steps of an epoch: batches, whole or in pieces where memory is short, to gradients and updates."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from tandem.config.training import Training
from tandem.metrics import f1_samples
from tandem.models.data_parallel import ALONE, Split, batch_sizes
from tandem.models.inputs import Inputs
from tandem.models.losses import Targets
from tandem.models.optimisation import Optimisation, on_cpu
from tandem.runtime.progress import print_line
from tandem.runtime.torch_setup import autocast, device_name

Batch = tuple[Any, Targets]  # (inputs of the network, targets of the loss)
LEAST = 2  # rows of a piece: batch norms need two


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
    split: Split = ALONE  # where several processes train it: `batches` are of the own rows
    rows: int = 0  # of an epoch, in all processes; only for those
    compiles: bool = True  # False where batches differ in shape: torch.compile begins again for each new one


class Steps:
    """Runs the epochs of a task.

    forward  the network, perhaps compiled, from the inputs of a batch to its outputs
    pieces   that each batch is split into, whose gradients are added up: batch norms see one piece at a time
    """

    def __init__(
        self, task: Task, cfg: Training, state: Optimisation, forward: Callable[[Any], Any], pieces: int = 1
    ) -> None:
        self.task, self.cfg, self.state, self.forward, self.pieces = task, cfg, state, forward, pieces
        self.device = next(task.network.parameters()).device
        self.rows = 0  # of the last batch
        self.tried = forward is task.network  # whether it has run, so that it is not the compiler that fails

    def unusual(self) -> dict[str, int]:
        """What the log of an epoch says only where it applies."""
        found = {}
        if self.pieces > 1:
            found = {"batch": self.cfg.batch // self.pieces, "accumulate": self.cfg.accumulate * self.pieces}
        skipped = self.state.skipped
        return found if skipped is None else found | {"skipped_steps": skipped}

    def epoch(self, number: int, seed: int, again: bool) -> tuple[float, float]:
        """(mean loss over the rows, F1 per row) of an epoch, by its number and the run's seed.

        again  it can start again, with smaller pieces where the device's memory runs out, and without the compiler
               where that fails; raises OSError where the memory is too small for LEAST rows
        """
        start = on_cpu(self.state.state()) if again and self.task.split.world == 1 else None
        while True:
            try:
                with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                    torch.manual_seed(seed * 1_000_003 + number)
                    found = self._epoch(number)
                self.tried = True
                return found
            except torch.OutOfMemoryError as error:
                if start is None:
                    message = f"memory ran out ({_first_lines(error)}); lower train.batch, raise train.accumulate"
                    raise OSError(message) from error
                self._halve(number, error)
            except RuntimeError as error:
                if start is None or self.tried:
                    raise
                self.forward, self.tried = self.task.network, True
                print_line(f"torch.compile: {_first_lines(error, 2)}; the network is run without it")
            self.state.load(start)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()  # else pieces of another size don't fit between what is kept for the old ones

    def _halve(self, number: int, error: torch.OutOfMemoryError) -> None:
        name, rows = device_name(self.device), self.rows // (2 * self.pieces)
        if rows < LEAST:
            smaller = "choose a smaller image size or network, or DEVICE=cpu"
            raise OSError(f"the memory of {name} has no room for {LEAST} rows; {smaller} ({_first_lines(error)})")
        self.pieces *= 2
        size, accumulate = self.cfg.batch // self.pieces, self.cfg.accumulate * self.pieces
        print_line(
            f"the memory of {name} is too small: epoch {number + 1} starts again with batch = {size}, "
            f"accumulate = {accumulate}, which is the same number of rows a step"
        )

    def _epoch(self, number: int) -> tuple[float, float]:
        """What it sums stays on the device until the epoch is done."""
        self.task.network.train()
        sums, split = _Sums(), self.task.split
        sizes = batch_sizes(self.task.rows, self.task.steps) if split.world > 1 else []
        batches = iter(self.task.batches(number))
        try:
            for step, batch in enumerate(batches):
                first = step - step % self.cfg.accumulate
                after = min(first + self.cfg.accumulate, self.task.steps)  # the last group may hold fewer batches
                self.rows = sizes[step] if sizes else len(batch[1].y)
                for (inputs, targets), share in pieces_of(batch, self.pieces):
                    with autocast(self.device, self.cfg.bfloat16), split.of_batch(self.rows):
                        outputs = self.forward(inputs)
                    outputs, targets = split.joined(outputs, targets, self.rows)
                    loss = self.task.loss(outputs, targets)
                    self.state.backward((loss if share is None else loss * share) / (after - first))
                    sums.add(loss, self.task.logits(outputs), targets)
                if step + 1 == after:
                    self.state.update(split.add_gradients)
        finally:
            cast(Any, getattr(batches, "close", lambda: None))()  # what was loaded ahead is not of the next try
        return sums.found(number)


class _Sums:
    """Of an epoch: losses, predictions and labels, on the device."""

    def __init__(self) -> None:
        self.losses: list[torch.Tensor] = []
        self.pred: list[torch.Tensor] = []
        self.labels: list[torch.Tensor] = []
        self.known: list[torch.Tensor] = []

    def add(self, loss: torch.Tensor, logits: torch.Tensor, targets: Targets) -> None:
        exact = torch.float32 if loss.device.type == "mps" else torch.float64  # MPS has no float64
        self.losses.append(loss.detach().to(exact) * len(targets.y))
        self.pred.append(logits.detach() > 0)
        self.labels.append(targets.y > 0.5)
        self.known += [] if targets.weights is None else [targets.weights > 0]

    def found(self, epoch: int) -> tuple[float, float]:
        """(mean loss, F1 per row); raises ValueError where the loss is not finite."""
        y, total = torch.cat(self.labels).cpu().numpy(), float(torch.stack(self.losses).sum())
        if not math.isfinite(total):
            raise ValueError(f"the loss became {total} in epoch {epoch + 1}; lower train.lr in the config")
        mask = torch.cat(self.known).cpu().numpy() if self.known else None
        return total / len(y), f1_samples(y, torch.cat(self.pred).cpu().numpy(), known=mask)


def pieces_of(batch: Batch, pieces: int) -> Iterator[tuple[Batch, torch.Tensor | float | None]]:
    """(piece, its share of the loss), pieces of nearly equal numbers of rows, at least LEAST; the whole batch: None."""
    inputs, targets = batch
    n = len(targets.y)
    if (pieces := min(pieces, n // LEAST)) <= 1:
        yield batch, None
        return
    for rows in np.array_split(np.arange(n), pieces):
        at = slice(int(rows[0]), int(rows[-1]) + 1)
        piece = Targets(targets.y[at], None if targets.weights is None else targets.weights[at])
        share: torch.Tensor | float = len(rows) / n
        if targets.weights is not None and piece.weights is not None:  # a mean over cells, by their weights
            share = piece.weights.sum() / targets.weights.sum().clamp_min(1e-6)
        yield (_rows(inputs, at), piece), share


def _rows(inputs: Any, at: slice) -> Any:
    """Those rows of a tensor, of each tensor in a dict, or of those in a dataclass."""
    if inputs is None or isinstance(inputs, torch.Tensor):
        return None if inputs is None else inputs[at]
    if isinstance(inputs, dict):
        return {name: _rows(part, at) for name, part in inputs.items()}
    return replace(inputs, **{name: _rows(part, at) for name, part in vars(inputs).items()})


def _first_lines(error: Exception, n: int = 1) -> str:
    return " ".join(str(error).strip().split("\n")[:n]) or type(error).__name__

"""What changes in the course of training: weights, AdamW, its learning rates, averaged weights, the scale of gradients.

On a GPU nothing here waits for it: what a step depends on, such as whether it was skipped, stays on the device.
"""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tandem.artifacts.atomic_io import write_with
from tandem.config.training import Training
from tandem.runtime.progress import log_line

MAX_NORM = 5.0  # of the gradients of one step


class Optimisation:
    """AdamW of the parameter groups with what belongs to it; `updates` steps in all.

    scaled  gradients are multiplied by a factor that float16 can hold them with; steps whose gradients became infinite
            or NaN change no weight, and the learning rates do not go on in them
    """

    def __init__(
        self, network: nn.Module, groups: list[dict[str, Any]], cfg: Training, updates: int, scaled: bool = False
    ) -> None:
        on = next(network.parameters()).device
        self.network = network
        self.optimiser = torch.optim.AdamW(groups, fused=True)
        self.scaler = torch.GradScaler(on.type) if scaled else None
        self.schedule: Any = warmup_cosine(self.optimiser, updates, cfg.warmup)
        if scaled:
            self.schedule = _ScheduleOnDevice(self.optimiser, updates, cfg.warmup, on)
        self.average = averaged(network, cfg.ema) if cfg.ema else None

    def backward(self, loss: torch.Tensor) -> None:
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def update(self, before: Callable[[nn.Module], object] = lambda network: None) -> None:
        """One step by the gradients that were added up; `before` may change these."""
        before(self.network)
        if self.scaler:
            self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), MAX_NORM)
        if self.scaler:
            self.scaler.step(self.optimiser)
            self.scaler.update()
            self.schedule.count(norm)
        else:
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.schedule.step()
        if self.average:
            self.average.update_parameters(self.network)

    @property
    def lr(self) -> float:
        """The largest learning rate of the next step."""
        return max(float(lr) for lr in self.schedule.get_last_lr())

    @property
    def skipped(self) -> int | None:
        """Steps that were skipped so far; None where gradients are not scaled."""
        return self.schedule.skipped if self.scaler else None

    def state(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in vars(self).items() if part is not None}

    def load(self, state: dict[str, Any]) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        if self.scaler:  # a new one: the old one would go on with a step in which memory ran out
            self.scaler = torch.GradScaler(next(self.network.parameters()).device.type)
        for name, part in vars(self).items():
            if part is not None:
                part.load_state_dict(state[name])

    def save(self, path: Path, log: list[dict[str, Any]]) -> None:
        write_with(path, lambda partial: torch.save({**self.state(), "log": log}, partial))

    def restore(self, path: Path | None) -> list[dict[str, Any]]:
        """The log of the epochs that are done; none where another kind of device has scaled gradients, or has not."""
        state = _saved(path) if path and path.exists() else {}
        if ("scaler" in state) != (self.scaler is not None) or not state:
            return []
        self.load(state)
        return state["log"]


def _saved(path: Path) -> dict[str, Any]:
    """Empty where the checkpoint is damaged: the training then begins anew."""
    try:
        with ZipFile(path) as archive:
            if archive.testzip() is None:  # torch itself compares no checksums
                return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds
        log_line(f"{path}: damaged ({type(error).__name__}); the training begins anew")
        return {}
    log_line(f"{path}: damaged; the training begins anew")
    return {}


def on_cpu(value: Any) -> Any:
    """A copy of a state, which takes no memory of a GPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: on_cpu(one) for key, one in value.items()}
    return [on_cpu(one) for one in value] if isinstance(value, list) else value


class _ScheduleOnDevice:
    """The factors of `warmup_cosine`, by the number of steps that were not skipped, which the device alone knows."""

    def __init__(self, optimiser: torch.optim.Optimizer, updates: int, warmup: float, on: torch.device) -> None:
        dummy = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        schedule, factors = warmup_cosine(dummy, updates, warmup), []
        for _ in range(updates + 1):
            factors.append(dummy.param_groups[0]["lr"])
            dummy.step()
            schedule.step()
        self.optimiser, self.factors = optimiser, torch.tensor(factors, device=on)
        self.peaks = [float(group["initial_lr"]) for group in optimiser.param_groups]
        self.counted, self.done = 0, torch.zeros(1, dtype=torch.long, device=on)
        self.step()

    def count(self, norm: torch.Tensor) -> None:
        """`norm` of the gradients of a step, which was skipped where it is not finite."""
        self.counted += 1
        self.done += norm.isfinite()

    def step(self) -> None:
        factor = self.factors.index_select(0, self.done)[0]  # an index that is a tensor would be waited for
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = factor * peak

    @property
    def skipped(self) -> int:
        return self.counted - int(self.done)

    def get_last_lr(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimiser.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {"counted": self.counted, "done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.counted = state["counted"]
        self.done.copy_(state["done"])
        self.step()


def warmup_cosine(optimiser: torch.optim.Optimizer, updates: int, warmup: float) -> SequentialLR:
    """Factor of each group's peak lr: linear over the share `warmup` of `updates`, then half a cosine to zero."""
    first = max(1, round(updates * warmup))
    rise = LinearLR(optimiser, 1 / first, total_iters=max(1, first - 1))
    fall = CosineAnnealingLR(optimiser, max(1, updates - first))
    return SequentialLR(optimiser, [rise, fall], [first])


class _Averaged(AveragedModel):
    """Moving average of weights and buffers; torch's own waits for a GPU in every step."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        done = int(self.n_averaged)  # on the CPU
        decay = min(self.decay, (1 + done) / (10 + done)) if done else 0.0
        averages = [*chain(self.module.parameters(), self.module.buffers())]
        current = [*chain(model.parameters(), model.buffers())]
        for wanted in (True, False):  # integers, as numbers of batches, are averaged one by one
            pairs = [p for p in zip(averages, current, strict=True) if p[0].is_floating_point() == wanted]
            if pairs and not done:
                for average, now in pairs:
                    average.copy_(now)
            elif pairs:
                get_ema_multi_avg_fn(decay)(*map(list, zip(*pairs, strict=True)), done)
        self.n_averaged += 1


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and buffers; its decay grows from 0.1, so that short runs gain too."""
    return _Averaged(network, decay)

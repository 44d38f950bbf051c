"""One network trained by several processes, each on its own rows of every batch (torchrun).

The loss is that of the whole batch: outputs are exchanged, so that each process knows all of them, and the gradients of
all processes are added up. Batch norms use the mean and deviation over the rows of all processes; dropout and
stochastic depth draw for the whole batch and use the own rows' part. So the weights are those that one process trains,
to rounding; on CUDA, where torch draws dropout within its kernels, with other random numbers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from tandem.models.losses import Targets

BY_SEVERAL = ("finetune", "fusion")  # kinds of experiments that can be trained so


@dataclass(frozen=True)
class Split:
    """Which rows of a batch a process has: with the first row the last one, which mixing pairs it with, and so on."""

    rank: int = 0
    world: int = 1

    def positions(self, n: int) -> np.ndarray:
        """Those of the own rows in a batch of n.

        >>> Split(0, 2).positions(5).tolist(), Split(1, 2).positions(5).tolist()
        ([0, 1, 3, 4], [2])
        """
        first = np.array_split(np.arange((n + 1) // 2), self.world)[self.rank]
        return np.union1d(first, n - 1 - first)

    def own(self, values: np.ndarray) -> np.ndarray:
        """The own rows of those of a batch."""
        return values if self.world == 1 else values[self.positions(len(values))]

    @contextmanager
    def of_batch(self, n: int) -> Iterator[None]:
        """Within it, layers that draw random numbers or average over rows do so for the whole batch of n."""
        if self.world == 1:
            yield
            return
        if n < 2 * self.world - 1:
            raise ValueError(f"a batch of {n} rows is too small for {self.world} processes; raise train.batch")
        with _WholeBatch(n, self.positions(n)):
            yield

    def joined(self, outputs: Any, targets: Targets, n: int) -> tuple[Any, Targets]:
        """Outputs and targets of the whole batch of n rows; of the outputs, the own rows alone have a gradient."""
        if self.world == 1:
            return outputs, targets
        at = torch.from_numpy(self.positions(n)).to(targets.y.device, non_blocking=True)

        def rows(part: torch.Tensor, dim: int) -> torch.Tensor:
            whole = torch.zeros(*part.shape[:dim], n, *part.shape[dim + 1 :], device=part.device)
            dist.all_reduce(whole.index_copy_(dim, at, part.detach().float()))
            return whole.index_copy(dim, at, part.float())

        def shared(part: torch.Tensor) -> torch.Tensor:  # used by the loss in each process: its gradient is added up
            return part.detach() + (part - part.detach()) / self.world

        found = rows(outputs, 0) if isinstance(outputs, torch.Tensor) else outputs.mapped(rows, shared)
        return found, Targets(rows(targets.y, 0), None if targets.weights is None else rows(targets.weights, 0))

    def add_gradients(self, network: nn.Module) -> None:
        """Every gradient becomes the sum over the processes."""
        if self.world == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))

    def from_first(self, value: Any) -> Any:
        """What the first process has."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]


ALONE = Split()
_together = False


def processes() -> Split:
    """This process among those of torchrun; `ALONE` where torch.distributed was not set up."""
    if not dist.is_available() or not dist.is_initialized():
        return ALONE
    return Split(dist.get_rank(), dist.get_world_size())


@contextmanager
def together() -> Iterator[None]:
    """Within it, in each of `processes`, they train the same network."""
    global _together
    _together = True
    try:
        yield
    finally:
        _together = False


def split() -> Split:
    """The rows of a batch that this process trains on: all of them but within `together`."""
    return processes() if _together else ALONE


def batch_sizes(rows: int, steps: int) -> list[int]:
    """As `shuffled_batches` makes them.

    >>> batch_sizes(5, 2)
    [3, 2]
    """
    return [len(part) for part in np.array_split(np.arange(max(2, rows)), steps)]


class _Sum(torch.autograd.Function):
    """The sum over the processes; so is that of its gradients."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        dist.all_reduce(total := x.clone())
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        dist.all_reduce(total := gradients[0].contiguous().clone())
        return total


class _WholeBatch(TorchFunctionMode):
    """Replaces the functions of torch whose result for a row depends on the other rows of its batch."""

    def __init__(self, n: int, at: np.ndarray) -> None:
        super().__init__()
        self.n, self.at = n, at

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return _batch_norm(func, *args, **kwargs)
        if func is F.dropout:
            return self._dropout(*args, **kwargs)
        # timm's stochastic depth, and the bytes of `ByteDropout`
        if func in (torch.Tensor.bernoulli_, torch.Tensor.random_) and self._rows(args[0]):
            return args[0].copy_(self._draw(args[0], func, *args[1:], **kwargs))
        if func is F.scaled_dot_product_attention and not kwargs.get("enable_gqa"):
            return self._attention(func, *args, **kwargs)
        return func(*args, **kwargs)

    def _rows(self, x: torch.Tensor) -> int:
        """How many rows of a tensor one of the batch has: more than one where an image is cut into windows; 0: it is
        none of rows."""
        return 0 if not x.ndim or len(x) % len(self.at) else len(x) // len(self.at)

    def _draw(self, like: torch.Tensor, draw: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Random numbers drawn in place for all rows in the order of their memory; the own rows."""
        own, each = torch.empty_like(like), self._rows(like)
        shape = (self.n * each, *own.shape[1:])
        outermost = own.stride(0) * len(own) == own.numel()
        whole = own.new_empty_strided(shape, own.stride()) if outermost else own.new_empty(shape)
        at = (torch.from_numpy(self.at)[:, None] * each + torch.arange(each)).flatten()
        return draw(whole, *args, **kwargs).index_select(0, at.to(like.device, non_blocking=True))

    def _dropout(self, x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
        if not training or not p or not self._rows(x):
            return F.dropout(x, p, training, inplace)
        return x * self._draw(x, torch.Tensor.bernoulli_, 1 - p).div_(1 - p)

    def _attention(
        self,
        func: Callable[..., torch.Tensor],
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        **more: Any,
    ) -> torch.Tensor:
        if not dropout_p or is_causal:
            return func(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **more)
        scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        if attn_mask is not None:
            far = torch.finfo(scores.dtype).min
            scores = scores.masked_fill(~attn_mask, far) if attn_mask.dtype == torch.bool else scores + attn_mask
        return self._dropout(scores.softmax(-1), dropout_p) @ value


def _batch_norm(
    func: Callable[..., torch.Tensor],
    x: torch.Tensor,
    mean: torch.Tensor | None,
    variance: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Over the rows of all processes; torch's own such layer needs CUDA."""
    if not training:
        return func(x, mean, variance, weight, bias, training, momentum, eps)
    dims, shape = [d for d in range(x.ndim) if d != 1], [1, -1] + [1] * (x.ndim - 2)
    wide = x.float()
    sums = _Sum.apply(torch.cat([wide.sum(dims), wide.new_full((1,), x.numel() / x.shape[1])]))
    count = sums[-1].detach()
    now = sums[:-1] / count
    centred = wide - now.view(shape)
    spread = _Sum.apply(centred.square().sum(dims)) / count
    if mean is not None and variance is not None:
        with torch.no_grad():
            mean.lerp_(now.detach(), momentum)
            variance.lerp_((spread * count / (count - 1)).detach(), momentum)
    out = centred * (spread + eps).rsqrt().view(shape)
    if weight is not None and bias is not None:
        out = out * weight.view(shape) + bias.view(shape)
    return out.to(x.dtype)

"""The form of a timm network's states, a map or tokens, how they are pooled, and the image sizes that it takes."""

import copy
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

MULTIPLES = (32, 16, 14, 28, 64)  # tried in the search for sizes that a network takes
TRIED, NAMED = 12, 3  # sizes that are tried, and named


@dataclass(frozen=True)
class Layout:
    """Of states (b, d, h, w), (b, h, w, d), or tokens (b, prefix + h * w, d)."""

    kind: Literal["channels first", "channels last", "tokens"]
    prefix: int = 0  # class, distillation and register tokens before the image's positions
    class_token: bool = False  # whether the first of them is a class token

    @classmethod
    def of(cls, states: torch.Tensor, network: nn.Module, model: str) -> "Layout":
        """Of what a network computes from square images; raises ValueError where the positions form no square."""
        if not isinstance(states, torch.Tensor) or states.ndim not in (3, 4):
            raise ValueError(f"model = {model!r}: its features are {_about(states)}; expected one map or tokens")
        if states.ndim == 4:
            _, first, middle, last = states.shape
            as_timm_says = getattr(network, "output_fmt", "") == "NHWC"
            channels_last = as_timm_says if first == middle == last else first == middle
            return cls("channels last" if channels_last else "channels first")
        n, told = states.shape[1], getattr(network, "num_prefix_tokens", 0)
        prefix = next((p for p in (told, 0, 1) if n > p and _is_square(n - p)), None)
        if prefix is None:
            raise ValueError(f"model = {model!r}: its {n} tokens are no square of positions after {told} others")
        known = isinstance(getattr(network, "cls_token", None), torch.Tensor)
        return cls("tokens", prefix, prefix > 0 and (known or not hasattr(network, "cls_token")))

    def positions(self, states: torch.Tensor) -> torch.Tensor:
        """(b, h * w, d)."""
        if self.kind == "channels first":
            return states.flatten(2).transpose(1, 2)
        return states.flatten(1, 2) if self.kind == "channels last" else states[:, self.prefix :]

    def as_map(self, states: torch.Tensor) -> torch.Tensor:
        """(b, d, h, w)."""
        if self.kind == "channels first":
            return states
        if self.kind == "channels last":
            return states.permute(0, 3, 1, 2)
        side = math.isqrt(states.shape[1] - self.prefix)
        return self.positions(states).transpose(1, 2).unflatten(2, (side, side))

    def first_token(self, states: torch.Tensor) -> list[torch.Tensor]:
        """[the class token (b, d)], or [] where there is none."""
        return [states[:, 0]] if self.class_token else []

    def stored(self, states: torch.Tensor) -> torch.Tensor:
        """As they are on disk: a map with channels last, or tokens."""
        return states.permute(0, 2, 3, 1) if self.kind == "channels first" else states


def pool(states: torch.Tensor, layout: Layout, how: str, model: str = "") -> torch.Tensor:
    """(b, d), (b, 2d) or (b, 3d): the class token where there is one, the mean over positions, and with "avgmax" their
    maximum; with "token" the class token alone. Raises ValueError where "token" is asked for and there is none."""
    token = layout.first_token(states)
    if how == "token":
        if not token:
            raise ValueError(f'pool = "token": {model} has no class token; use "avg" or "avgmax"')
        return token[0]
    positions = layout.positions(states)
    parts = [*token, positions.mean(1), *([positions.amax(1)] if how == "avgmax" else [])]
    return torch.cat(parts, 1)


def set_image_size(network: Any, model: str, size: int) -> nn.Module:
    """The network for images of `size` x `size` pixels, position embeddings interpolated; raises ValueError where it
    takes no images of this size, with sizes that it takes."""
    if not hasattr(network, "set_input_size"):
        if problem := _problem(network, size):
            raise ValueError(f"size = {size}: {model} takes {_other_sizes(network, size)} ({problem})")
        return network
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", (1,))[0]
    if size % patch:
        near = max(1, round(size / patch)) * patch
        raise ValueError(f"size = {size}: {model} takes multiples of {patch}, such as {near}")
    resized, problem = _resized(network, size)
    if problem:
        raise ValueError(f"size = {size}: {model} takes {_other_sizes(network, size)} ({problem})")
    return resized


def _resized(network: Any, size: int) -> tuple[nn.Module, str]:
    """(the network for this size, why it does not take it or "")."""
    try:
        network = copy.deepcopy(network)
        network.set_input_size(img_size=(size, size))
    except (AssertionError, RuntimeError, ValueError, TypeError, ZeroDivisionError) as error:
        return network, _first_line(error)
    return network, _problem(network, size)


@torch.no_grad()
def _problem(network: Any, size: int) -> str:
    """Why the network does not take square images of this size, or ""."""
    was_training = network.training
    try:
        network.eval().forward_features(torch.zeros(1, 3, size, size))
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        return _first_line(error)
    finally:
        network.train(was_training)
    return ""


def _other_sizes(network: Any, size: int) -> str:
    own = network.pretrained_cfg["input_size"][-1]
    near = {n * m for m in MULTIPLES for n in (size // m - 1, size // m, size // m + 1, size // m + 2) if n > 0}
    candidates = sorted({own, *near} - {size}, key=lambda n: abs(n - size))[:TRIED]
    can_resize = hasattr(network, "set_input_size")
    fits = (n for n in [*candidates, own] if not (_resized(network, n)[1] if can_resize else _problem(network, n)))
    found: list[int] = []
    for n in fits:
        if n not in found:
            found.append(n)
        if len(found) == NAMED:
            break
    return " or ".join(map(str, found or [own]))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _about(states: Any) -> str:
    return f"of shape {tuple(states.shape)}" if isinstance(states, torch.Tensor) else f"a {type(states).__name__}"


def _is_square(n: int) -> bool:
    return math.isqrt(n) ** 2 == n

"""The modules that a network calls one after another, found by running it once."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

Fixed = tuple[tuple, dict[str, Any]]  # arguments of a module behind its first one
DEPTH = 2  # levels of containers that are opened: blocks.5.2, layer3.0


@dataclass(eq=False)
class Call:
    """A module's call in a run of the network."""

    name: str
    module: nn.Module
    given: Any  # its first argument
    fixed: Fixed  # the others
    returned: Any = None


@torch.no_grad()
def run_calls(network: nn.Module, pixels: torch.Tensor) -> tuple[list[Call], Any]:
    """(the calls of its parts in order, the features) of one run."""
    calls: list[Call] = []
    handles = []
    for top, child in network.named_children():
        for name, part in _open(top, child, DEPTH).items():

            def before(module: nn.Module, args: tuple, settings: dict[str, Any], name: str = name) -> None:
                calls.append(Call(name, module, args[0] if args else None, (args[1:], settings)))

            def after(module: nn.Module, args: tuple, settings: dict[str, Any], returned: Any) -> None:
                next(call for call in reversed(calls) if call.module is module).returned = returned

            handles.append(part.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(part.register_forward_hook(after, with_kwargs=True))
    try:
        return calls, cast(Any, network).forward_features(pixels)
    finally:
        for handle in handles:
            handle.remove()


def last_chain(network: nn.Module, calls: list[Call], features: Any, pixels: torch.Tensor) -> list[Call]:
    """The last calls, each on what the one before it returned, whose other arguments are the same for any image."""
    others = calls
    if any(isinstance(value, torch.Tensor) for call in calls for value in _values(call.fixed)):
        others, _ = run_calls(network, pixels.flip(2).repeat(2, 1, 1, 1))
    chain: list[Call] = []
    wanted = features
    for call, other in zip(reversed(calls), reversed(others), strict=True):
        again = any(call.module is later.module for later in chain)
        if call.returned is not wanted or again or not _same_values(call.fixed, other.fixed):
            break
        chain.insert(0, call)
        wanted = call.given
    return chain


def _same_values(one: Fixed, other: Fixed) -> bool:
    for a, b in zip(_values(one), _values(other), strict=True):
        if isinstance(a, torch.Tensor):
            if not isinstance(b, torch.Tensor) or not torch.equal(a, b):
                return False
        elif not isinstance(a, int | float | str | tuple | None) or a != b:
            return False
    return True


def _values(fixed: Fixed) -> list[Any]:
    return [*fixed[0], *fixed[1].values()]


def _open(name: str, module: nn.Module, depth: int) -> dict[str, nn.Module]:
    """The modules in order by name, containers opened up to `depth` levels deep: blocks.5.2, layer3.0."""
    if not isinstance(module, nn.Sequential | nn.ModuleList) or not len(module) or not depth:
        return {name: module}
    inner = (_open(f"{name}.{key}", child, depth - 1) for key, child in module.named_children())
    return {key: part for parts in inner for key, part in parts.items()}

"""A timm backbone split in two: frozen early stages, whose states are computed once, and trained late stages.

Where it can be split is found by running it once: the modules that it calls one after another, each on what the one
before it returned.
"""

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tandem.config.encoders import ImageEncoder, TrunkEncoder
from tandem.features.fused_convolution import fused
from tandem.features.image_layout import Layout, set_image_size
from tandem.features.module_calls import Call, last_chain, run_calls
from tandem.features.pretrained_weights import load_backbone

PROBE = 64  # pixels of the image by which two networks are compared


class Normalise(nn.Module):
    """uint8 (b, h, w, 3) -> float (b, 3, h, w), channels last in memory, by the network's mean and deviation."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        for key in ("mean", "std"):
            values = torch.tensor(cast(Any, network).pretrained_cfg[key])
            self.register_buffer(key, values.mul(255).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        # permuted, (b, h, w, 3) is channels last
        return (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std


def prepare(network: nn.Module, size: int = PROBE) -> nn.Module:
    """For inference: eval, batch norms folded into their convolutions if outputs stay the same, channels last."""
    folded = copy.deepcopy(network.eval())
    for parent in list(folded.modules()):
        children = list(parent.named_children())
        for (first, conv), (second, norm) in zip(children, children[1:], strict=False):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, first, fuse_conv_bn_eval(conv, norm))
                act = getattr(norm, "act", nn.Identity())  # timm's BatchNormAct2d holds its activation
                setattr(parent, second, act)
    return channels_last(folded if _same_features(network, cast(Any, folded).forward_features, size) else network)


@torch.inference_mode()
def _same_features(network: nn.Module, other: Callable[[torch.Tensor], torch.Tensor], size: int) -> bool:
    probe = torch.linspace(-1, 1, 3 * size**2).view(1, 3, size, size)
    try:
        expected, output = cast(Any, network).forward_features(probe), other(probe)
    except (AssertionError, RuntimeError, TypeError):  # a network of a fixed size does not take the probe
        return False
    return output.shape == expected.shape and torch.allclose(expected, output, rtol=1e-3, atol=1e-3)


def channels_last(network: Any) -> nn.Module:  # the annotations of Module.to lack memory_format
    return network.to(memory_format=torch.channels_last)


def load_resized(cfg: ImageEncoder | TrunkEncoder) -> nn.Module:
    """The pretrained network for images of the encoder's size."""
    return set_image_size(load_backbone(cfg.model, cfg.weights), cfg.model, cfg.size)


def prepare_resized(network: nn.Module, size: int) -> nn.Module:
    """`prepare` of a network that may take images of its own size alone."""
    return prepare(network, size if hasattr(network, "set_input_size") else PROBE)


class EarlyStages(nn.Module):
    """uint8 pixels (b, size, size, 3) -> the states that the late stages start from, as the network has them."""

    def __init__(self, normalise: nn.Module, network: nn.Module, late: Sequence[str], layout: Layout) -> None:
        super().__init__()
        self.normalise, self.network, self.layout = normalise, network, layout
        for name in late:
            network.set_submodule(name, _Stop())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        try:
            cast(Any, self.network).forward_features(self.normalise(pixels))
        except Stopped as stopped:
            return stopped.states
        raise AssertionError("the network ran past the place where it is split")


class Stopped(Exception):
    def __init__(self, states: torch.Tensor) -> None:
        super().__init__()
        self.states = states


class _Stop(nn.Module):  # in place of the first trained module
    def forward(self, states: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        raise Stopped(states)


class LateStages(nn.Sequential):
    """States as on disk, (b, h, w, d) or (b, t, d), or uint8 pixels (b, h, w, 3) -> the last map (b, d', h', w')."""

    def __init__(self, first: nn.Module, calls: "Sequence[Call]", layout: Layout) -> None:
        super().__init__(first, *(call.module for call in calls), AsMap(layout))
        self.layout, self._fixed = layout, [call.fixed for call in calls]
        for i, (args, settings) in enumerate(self._fixed):
            for key, value in [*enumerate(args), *settings.items()]:
                if isinstance(value, torch.Tensor):  # rotary embeddings of the positions
                    self.register_buffer(f"fixed_{i}_{key}", value.clone(), persistent=False)

    @property
    def in_order(self) -> list[nn.Module]:
        """Its layers, from the first to the last."""
        modules = list(self)[1:-1]
        return modules[0].in_order if isinstance(modules[0], Whole) else modules

    @property
    def as_map(self) -> nn.Module:
        """The part whose output is the map."""
        return self[-1]

    def states(self, states: torch.Tensor) -> torch.Tensor:
        """The last states, as the network has them."""
        first, *modules, _ = self
        states = first(states)
        for i, (module, (args, settings)) in enumerate(zip(modules, self._fixed, strict=True)):
            here = {key: getattr(self, f"fixed_{i}_{key}", value) for key, value in settings.items()}
            states = module(states, *(getattr(self, f"fixed_{i}_{k}", a) for k, a in enumerate(args)), **here)
        return states

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.as_map(self.states(states))


class AsMap(nn.Module):
    """Last states -> (b, d, h, w)."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.layout.as_map(states)


class Whole(nn.Module):
    """`forward_features` of a network that is no plain sequence of modules."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def in_order(self) -> list[nn.Module]:
        """The parameters of its layers, from the first to the last, as timm groups them."""
        from timm.models import group_parameters

        parameters = dict(self.network.named_parameters())
        groups = group_parameters(self.network, cast(Any, self.network).group_matcher(coarse=False))
        return [nn.ParameterList(parameters[name] for name in groups[i]) for i in sorted(groups)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(Any, self.network).forward_features(x)


def early_stages(cfg: TrunkEncoder) -> EarlyStages:
    """The frozen part; raises ValueError where the backbone can't be split before `cfg.tune`."""
    found = split_backbone(cfg)
    network = fused(found.network, cfg.size) if cfg.tune else found.network
    return EarlyStages(found.normalise, network, [call.name for call in found.calls], found.cut).eval()


def late_stages(cfg: TrunkEncoder, drop_path: float = 0.0) -> LateStages:
    """The trained part; with `tune = ""` the whole backbone, from uint8 pixels (b, h, w, 3).

    Of a split network, batch norms are folded into their convolutions, and depthwise ones are not trained: they are a
    twentieth of the parameters of Lite0's last stages, but a quarter of an epoch's time on a CPU.
    """
    found = split_backbone(cfg, drop_path)
    start = found.normalise
    if cfg.tune:
        start = ChannelsLast() if found.cut.kind == "channels first" else Float()
    late = LateStages(start, found.calls, found.last).requires_grad_()
    for parent in list(late.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and child.groups == child.in_channels > 1:
                setattr(parent, name, Depthwise(child, trained=not cfg.tune))
    return late


def early_tensors(cfg: TrunkEncoder) -> dict[str, torch.Tensor]:
    """The tensors of `early_stages`, by their names in the backbone."""
    if not cfg.tune:
        return {}
    late = tuple(f"{call.name}." for call in split_backbone(cfg).calls)
    state = load_backbone(cfg.model, cfg.weights).state_dict()
    return {name: tensor for name, tensor in state.items() if not name.startswith(late)}


class ChannelsLast(nn.Module):
    """(b, h, w, d) -> float (b, d, h, w), without a copy of float maps."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.permute(0, 3, 1, 2).float()


class Depthwise(nn.Module):
    """A depthwise convolution; one that is trained is computed in float32 on a CPU even under autocast: there the
    gradient of its weights takes oneDNN three to six times as long in bfloat16."""

    def __init__(self, convolution: nn.Module, trained: bool) -> None:
        super().__init__()
        self.convolution, self.trained = convolution.requires_grad_(trained), trained

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type != "cpu" or not self.trained:
            return self.convolution(x)
        with torch.autocast("cpu", enabled=False):
            return self.convolution(x.float())


class Float(nn.Module):
    """To float32, without a copy of what is."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return states.float()


@dataclass(frozen=True)
class Split:
    normalise: nn.Module
    network: nn.Module
    calls: list[Call]  # of the trained modules, in order
    cut: Layout  # of the states that they start from
    last: Layout  # of the last states


def split_backbone(cfg: TrunkEncoder, drop_path: float = 0.0) -> Split:
    """Raises ValueError where the backbone can't be split before a module named `cfg.tune`."""
    network = load_backbone(cfg.model, cfg.weights, drop_path=drop_path)
    network = set_image_size(network, cfg.model, cfg.size)
    normalise = Normalise(network)
    probe = cfg.size if hasattr(network, "set_input_size") else PROBE
    network = prepare(network, probe) if cfg.tune else channels_last(network.eval())
    pixels = torch.linspace(-1, 1, 3 * cfg.size**2).view(1, 3, cfg.size, cfg.size)
    calls, features = run_calls(network, pixels)
    chain, last = last_chain(network, calls, features, pixels), Layout.of(features, network, cfg.model)
    if not cfg.tune:
        if not chain or chain[0].given is not pixels:
            chain = [Call("", Whole(network), pixels, ((), {}))]
        return Split(normalise, network, chain, last, last)
    possible = [call for call in chain if call.given is not pixels]
    first = next((call for call in calls if f"{call.name}.".startswith(f"{cfg.tune}.")), None)
    if first is None or first not in possible:
        names = sorted((call.name for call in possible), key=lambda name: _distance(name, cfg.tune))
        what = f"can be split before one of {names}, nearest first" if names else "can't be split"
        raise ValueError(f'tune = {cfg.tune!r}: {cfg.model} {what}; with tune = "" all of it is trained from pixels')
    return Split(normalise, network, chain[chain.index(first) :], Layout.of(first.given, network, cfg.model), last)


def _distance(name: str, asked: str) -> list[float]:
    """How far a module's name is from the one that was asked for, number by number.

    >>> sorted(["blocks.2", "norm", "blocks.11"], key=lambda name: _distance(name, "blocks.12"))
    ['blocks.11', 'blocks.2', 'norm']
    """
    pairs = zip_longest(*(re.findall(r"\d+|[^\d.]+", text) for text in (name, asked)), fillvalue="")
    return [
        abs(int(a) - int(b)) if a.isdigit() and b.isdigit() else 1e6 * (1 - SequenceMatcher(None, a, b).ratio())
        for a, b in pairs
    ]

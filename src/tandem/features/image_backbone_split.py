"""A timm backbone split in two: frozen early stages, whose maps are computed once, and trained late stages."""

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tandem.config.encoders import TrunkEncoder
from tandem.features.pretrained_weights import load_backbone

HEAD = ("global_pool", "head_drop", "classifier", "head", "fc")  # modules after the last feature map


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


def prepare(network: nn.Module) -> nn.Module:
    """For inference: eval, batch norms folded into their convolutions if outputs stay the same, channels last."""
    fused = copy.deepcopy(network.eval())
    for parent in list(fused.modules()):
        children = list(parent.named_children())
        for (first, conv), (second, norm) in zip(children, children[1:], strict=False):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, first, fuse_conv_bn_eval(conv, norm))
                act = getattr(norm, "act", nn.Identity())  # timm's BatchNormAct2d holds its activation
                setattr(parent, second, act)
    return channels_last(fused if _same_features(network, cast(Any, fused).forward_features) else network)


@torch.inference_mode()
def _same_features(network: nn.Module, other: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    probe = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    try:
        expected, output = cast(Any, network).forward_features(probe), other(probe)
    except (AssertionError, RuntimeError, TypeError):  # a network of a fixed size does not take the probe
        return False
    return output.shape == expected.shape and torch.allclose(expected, output, rtol=1e-3, atol=1e-3)


def channels_last(network: Any) -> nn.Module:  # the annotations of Module.to lack memory_format
    return network.to(memory_format=torch.channels_last)


def early_stages(cfg: TrunkEncoder) -> nn.Module:
    """uint8 pixels (b, size, size, 3) -> maps (b, d, h, w), the input of the late stages."""
    normalise, modules, at = _split(cfg)
    return nn.Sequential(normalise, *list(modules.values())[:at]).eval()


def late_stages(cfg: TrunkEncoder) -> nn.Module:
    """Maps (b, h, w, d) -> the last feature map (b, d', h', w'); with `tune = ""` from uint8 pixels (b, h, w, 3).

    Of a split network, batch norms are folded into their convolutions, and depthwise ones are not trained: they are a
    twentieth of the parameters of Lite0's last stages, but a quarter of an epoch's time on a CPU.
    """
    normalise, modules, at = _split(cfg)
    late = nn.Sequential(ChannelsLast() if at else normalise, *list(modules.values())[at:]).requires_grad_()
    for parent in list(late.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and child.groups == child.in_channels > 1:
                setattr(parent, name, Float32(child.requires_grad_(not at)))
    return late


def early_tensors(cfg: TrunkEncoder) -> dict[str, torch.Tensor]:
    """The tensors of `early_stages`, by their names in the backbone."""
    _, modules, at = _split(cfg)
    late = tuple(f"{name}." for name in list(modules)[at:])
    state = load_backbone(cfg.model, cfg.weights).state_dict()
    return {name: tensor for name, tensor in state.items() if not name.startswith(late)}


class ChannelsLast(nn.Module):
    """(b, h, w, d) -> float (b, d, h, w), without a copy of float maps."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.permute(0, 3, 1, 2).float()


class Float32(nn.Module):
    """A convolution that a CPU computes in float32 even under autocast: the backward pass of a depthwise one takes
    oneDNN three to six times as long in bfloat16."""

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type != "cpu":
            return self.convolution(x)
        with torch.autocast("cpu", enabled=False):
            return self.convolution(x.float())


def _split(cfg: TrunkEncoder) -> tuple[nn.Module, dict[str, nn.Module], int]:
    """(normalisation, modules in order by name, the number of the first that is trained); raises ValueError where the
    backbone is no plain sequence of modules or has none named `cfg.tune`."""
    network = load_backbone(cfg.model, cfg.weights)
    normalise = Normalise(network)
    network = prepare(network) if cfg.tune else channels_last(network.eval())
    modules: dict[str, nn.Module] = {}
    for name, child in network.named_children():
        if name in HEAD:
            break
        modules |= _open(name, child, 2)
    if not _same_features(network, nn.Sequential(*modules.values())):
        raise ValueError(f"model = {cfg.model!r}: not a plain sequence of modules, so it can't be split in two")
    at = next((i for i, name in enumerate(modules) if f"{name}.".startswith(f"{cfg.tune}.")), 0)
    if cfg.tune and not at:
        raise ValueError(f"tune = {cfg.tune!r}: {cfg.model} can be split before one of {list(modules)[1:]}")
    return normalise, modules, at


def _open(name: str, module: nn.Module, depth: int) -> dict[str, nn.Module]:
    """The modules in order by name, containers opened up to `depth` levels deep: blocks.5.2, layer3.0."""
    if not isinstance(module, nn.Sequential) or not len(module) or not depth:
        return {name: module}
    inner = (_open(f"{name}.{key}", child, depth - 1) for key, child in module.named_children())
    return {key: part for parts in inner for key, part in parts.items()}

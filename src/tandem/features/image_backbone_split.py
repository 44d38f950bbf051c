"""A timm backbone split in two: frozen early stages, computed once for each image, and trained late stages."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from tandem.config.encoders import TrunkEncoder
from tandem.data.image_loader import Image, image_batches
from tandem.features.image_encoder import BATCH, Normalise, channels_last, prepare
from tandem.features.pretrained_weights import load_backbone
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import autocast, device

HEAD = ("global_pool", "head_drop", "classifier", "head", "fc")  # modules after the last feature map


def load_encoder(cfg: TrunkEncoder) -> Callable[[Sequence[Image]], Iterator[np.ndarray]]:
    """Images in order -> (b, views, h, w, d) float32 maps of the early stages; view 1 is the mirrored one."""
    on = device()
    early = early_stages(cfg).to(on)

    @torch.inference_mode()
    def encode(files: Sequence[Image]) -> Iterator[np.ndarray]:
        for batch in image_batches(files, cfg.size, BATCH[on.type], threads()):
            pixels = torch.from_numpy(batch).to(on)
            views = [pixels, pixels.flip(2)] if cfg.mirror else [pixels]
            with autocast(on):
                maps = [early(view) for view in views]
            yield torch.stack(maps, 1).float().permute(0, 1, 3, 4, 2).cpu().numpy()

    return encode


def early_stages(cfg: TrunkEncoder) -> nn.Module:
    """uint8 pixels (b, size, size, 3) -> maps (b, d, h, w), the input of the late stages."""
    normalise, modules, at = _split(cfg)
    return nn.Sequential(normalise, *list(modules.values())[:at]).eval()


def late_stages(cfg: TrunkEncoder) -> nn.Module:
    """Maps (b, h, w, d) -> the last feature map (b, d', h', w'); with `tune = ""` from uint8 pixels (b, h, w, 3).

    Batch norms are folded into their convolutions and trained with them, except in a network that is trained whole.
    After a split, depthwise convolutions are not trained: they are a twentieth of the parameters of Lite0's last
    stages, but their gradients take a quarter of an epoch's time on a CPU.
    """
    normalise, modules, at = _split(cfg)
    late = nn.Sequential(ChannelsLast() if at else normalise, *list(modules.values())[at:]).requires_grad_()
    _keep_depthwise_exact(late)
    if at:
        for module in late.modules():
            if isinstance(module, Float32):
                module.requires_grad_(False)
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
    """A convolution that a CPU computes in float32 even under autocast.

    The backward pass of a depthwise convolution takes oneDNN three to six times as long in bfloat16.
    """

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type != "cpu":
            return self.convolution(x)
        with torch.autocast("cpu", enabled=False):
            return self.convolution(x.float())


def _keep_depthwise_exact(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and child.groups == child.in_channels > 1:
            setattr(module, name, Float32(child))
        else:
            _keep_depthwise_exact(child)


def _split(cfg: TrunkEncoder) -> tuple[nn.Module, dict[str, nn.Module], int]:
    """(normalisation, modules in order by name, the number of the first that is trained).

    Raises ValueError where the backbone is no plain sequence of modules or has none named `cfg.tune`.
    """
    network = load_backbone(cfg.model, cfg.weights)
    normalise = Normalise(network)
    network = prepare(network) if cfg.tune else channels_last(network)
    modules = dict(_modules(network))
    names = list(modules)
    if not _equals_sequence(network, list(modules.values())):
        raise ValueError(f"model = {cfg.model!r}: not a plain sequence of modules, so it can't be split in two")
    at = next((i for i, name in enumerate(names) if f"{name}.".startswith(f"{cfg.tune}.")), 0)
    if cfg.tune and not at:
        raise ValueError(f"tune = {cfg.tune!r}: {cfg.model} can be split before one of {names[1:]}")
    return normalise, modules, at


def _modules(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules in order, containers opened up to two levels deep: blocks.5.2, layer3.0."""
    found: list[tuple[str, nn.Module]] = []
    for name, child in network.named_children():
        if name in HEAD:
            break
        found += _open(name, child, 2)
    return found


def _open(name: str, module: nn.Module, depth: int) -> list[tuple[str, nn.Module]]:
    if not isinstance(module, nn.Sequential) or not len(module) or not depth:
        return [(name, module)]
    return [part for key, child in module.named_children() for part in _open(f"{name}.{key}", child, depth - 1)]


@torch.inference_mode()
def _equals_sequence(network: nn.Module, modules: Sequence[nn.Module]) -> bool:
    probe, training = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64), network.training
    network.eval()
    try:
        expected, output = cast(Any, network).forward_features(probe), probe
        for module in modules:
            output = module(output)
    except (AssertionError, RuntimeError, TypeError):
        return False
    finally:
        network.train(training)
    return output.shape == expected.shape and torch.allclose(expected, output, rtol=1e-3, atol=1e-3)

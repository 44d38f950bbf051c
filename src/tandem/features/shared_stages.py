"""One timm backbone for several frozen encoders: its early stages are computed once for all of them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from tandem.config.encoders import ImageEncoder, TrunkEncoder
from tandem.features.fused_convolution import fused
from tandem.features.image_backbone_split import Normalise, Stopped, load_resized, prepare_resized, split_backbone
from tandem.features.image_layout import Layout


class SharedStages(nn.Module):
    """A whole network, and the states that come before some of its modules.

    cuts  {name of an encoder: (the module before which it is split, the form of the states there)}, the last one last
    """

    def __init__(self, normalise: nn.Module, network: nn.Module, cuts: Mapping[str, tuple[str, Layout]]) -> None:
        super().__init__()
        self.normalise, self.network, self.cuts = normalise, network, dict(cuts)

    def forward(
        self, pixels: torch.Tensor, cuts: Collection[str], whole: bool
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """({name: its states}, the features or None); the network runs no further than it must."""
        found: dict[str, torch.Tensor] = {}
        names = [name for name in self.cuts if name in cuts]
        handles = []
        for name in names:

            def before(module: nn.Module, args: tuple, name: str = name) -> None:
                found[name] = args[0]
                if not whole and name == names[-1]:
                    raise Stopped(args[0])

            handles.append(self.network.get_submodule(self.cuts[name][0]).register_forward_pre_hook(before))
        try:
            return found, cast(Any, self.network).forward_features(self.normalise(pixels))
        except Stopped:
            return found, None
        finally:
            for handle in handles:
                handle.remove()


def shared_stages(trunks: Sequence[TrunkEncoder]) -> SharedStages:
    """The frozen parts of encoders of the same model, weights and size."""
    found = [split_backbone(cfg) for cfg in trunks]
    network = fused(found[0].network, trunks[0].size)
    deepest_last = sorted(zip(trunks, found, strict=True), key=lambda pair: -len(pair[1].calls))
    cuts = {cfg.slug: (split.calls[0].name, split.cut) for cfg, split in deepest_last}
    return SharedStages(found[0].normalise, network, cuts).eval()


def whole_network(cfg: ImageEncoder | TrunkEncoder) -> SharedStages:
    """The network of an encoder that uses all of it."""
    plain = load_resized(cfg)
    return SharedStages(Normalise(plain), fused(prepare_resized(plain, cfg.size), cfg.size), {}).eval()

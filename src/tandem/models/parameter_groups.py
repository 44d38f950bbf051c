"""The AdamW groups of a network: which learning rate and weight decay each parameter has."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from tandem.config.training import Training
from tandem.runtime.torch_setup import import_timm


def layer_rates(part: Any, rate: float, decay: float) -> list[tuple[nn.Module, float]]:
    """The layers of a pretrained part, `in_order`, with the peak rate of each: `rate` for the last one and for what is
    in no layer, and `decay` times as much for each layer before."""
    layers = part.in_order if decay < 1 else []
    return [(part, rate), *((layer, rate * decay**i) for i, layer in enumerate(reversed(layers)))]


def parameter_groups(
    network: nn.Module,
    cfg: Training,
    lr: float,
    parts: Sequence[tuple[nn.Module, float]] = (),
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Groups of all trained parameters, by timm: norms, biases and what the network names (position embeddings) have no
    weight decay.

    Peak learning rates: those of `parts` for their parameters, elsewhere `lr`, times `layer_decay` for each layer
    between it and the last one (Howard and Ruder 2018, arXiv 1801.06146; Bao et al. 2021, arXiv 2106.08254).
    """
    import_timm()
    from timm.optim import param_groups_layer_decay, param_groups_weight_decay

    named = getattr(network, "no_weight_decay", set[str])()
    if layer_decay < 1:
        by_decay = param_groups_layer_decay(network, cfg.weight_decay, named, layer_decay=layer_decay)
    else:
        by_decay = param_groups_weight_decay(network, cfg.weight_decay, no_weight_decay_list=named)
    own = {id(p): rate for part, rate in parts for p in part.parameters()}
    groups = []
    for group in by_decay:
        by_rate: dict[float, list[nn.Parameter]] = {}
        for p in group["params"]:
            by_rate.setdefault(own.get(id(p), lr * group.get("lr_scale", 1.0)), []).append(p)
        groups += [{"params": ps, "lr": rate, "weight_decay": group["weight_decay"]} for rate, ps in by_rate.items()]
    return groups

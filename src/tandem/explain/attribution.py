"""Heat maps and word occlusion for one row of a trained experiment's inputs."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
import torch

from tandem.artifacts.contributions import BOTH, NO_CAPTION
from tandem.data.split_tables import has_caption
from tandem.explain.grad_cam import grad_cam
from tandem.features.extract import load_encoder
from tandem.models.fold_ensemble import FoldEnsemble, in_setting
from tandem.models.fusion import FusionModel
from tandem.models.fusion_network import Batch, FusionNetwork
from tandem.models.inputs import Inputs, Maps


def heat_maps(ensemble: FoldEnsemble, row: Inputs, labels: Sequence[int], without_caption: bool) -> np.ndarray:
    """(len(labels), h, w), at least 0: evidence for each label on the trunk's last map, mean over models and views.

    Of a network that pools the map for each label: what each position adds to the logit; of others: Grad-CAM.
    `row` is one image; `without_caption`: of the logits in the setting no_caption.
    """
    setting, found = NO_CAPTION if without_caption else BOTH, []
    for model in cast(list[FusionModel], ensemble.models):
        for view, batch in enumerate(model.each_view(row)):
            network = model.network
            if network.positions is not None:
                heat = pooled_map(network, batch, labels)
            else:
                assert network.trunks.late is not None, "a model without a trunk has no map"
                (heat,) = grad_cam(network.trunks.late.as_map, partial(_logits, network, batch, setting), labels)
            found.append(heat[:, :, ::-1] if view and model.cfg.mirrors else heat)
    return np.mean(found, axis=0)


@torch.inference_mode()
def pooled_map(network: FusionNetwork, batch: Batch, labels: Sequence[int]) -> np.ndarray:
    """(len(labels), h, w), at least 0: what the positions of a square map add to the logits; mean over the heads."""
    positions = network.trunks(batch).positions
    assert positions is not None and network.positions is not None
    (found,) = network.positions.contributions(positions.float()).mean(0)
    side = math.isqrt(positions.shape[1])
    return found[list(labels)].relu().unflatten(1, (side, side)).cpu().numpy()


def _logits(network: FusionNetwork, batch: Batch, setting: str) -> torch.Tensor:
    """(b, c), mean over the heads."""
    outputs = network(batch)
    return outputs.terms.get(setting, outputs.terms[BOTH]).float().sum(-1).mean(0) + outputs.bias


def logits_with(ensemble: FoldEnsemble, row: Inputs, captions: Sequence[str]) -> np.ndarray:
    """(n, c) mean logits of the one image in `row` with each of `captions`; a blank caption is a missing one."""
    repeated = row.take(np.zeros(len(captions), int))
    features, maps = dict(repeated.features), dict(repeated.maps)
    for cfg in ensemble.experiment.encoders:
        if cfg.reads == "caption":
            values = np.concatenate(list(load_encoder(cfg)(captions))).astype(np.float16)  # as on disk
            if cfg.cached_map:
                maps[cfg.slug] = Maps((values,))
            else:
                features[cfg.slug] = values
    texts = None if row.captions is None else list(captions)
    lists = None if row.caption_lists is None else [[caption] for caption in captions]
    changed = replace(repeated, features=features, maps=maps, captions=texts, caption_lists=lists)
    terms = ensemble.terms(changed)
    blank = np.array([not has_caption(caption) for caption in captions])[:, None]
    return np.where(blank, in_setting(terms, NO_CAPTION).sum(-1), terms[BOTH].sum(-1))

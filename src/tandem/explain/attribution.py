"""Grad-CAM and word occlusion for one row of a trained experiment's inputs."""

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
    """(len(labels), h, w), at least 0: Grad-CAM of the trunk's last map, mean over fusion models and views.

    `row` is one image; `without_caption`: of the logits in the setting no_caption.
    """
    setting, found = NO_CAPTION if without_caption else BOTH, []
    for model in cast(list[FusionModel], ensemble.models):
        for view, batch in enumerate(model.each_view(row)):
            logits, stages = partial(_logits, model.network, batch, setting), model.network.trunks.late
            assert stages is not None and model.cfg.trunk, "a model without a trunk has no map"
            (heat,) = grad_cam(stages, logits, labels)
            found.append(heat[:, :, ::-1] if view and model.cfg.trunk.mirror else heat)
    return np.mean(found, axis=0)


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
    terms = ensemble.terms(replace(repeated, features=features, maps=maps, captions=texts))
    blank = np.array([not has_caption(caption) for caption in captions])[:, None]
    return np.where(blank, in_setting(terms, NO_CAPTION).sum(-1), terms[BOTH].sum(-1))

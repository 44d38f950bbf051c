"""Where trained models looked and which words they went by, for one row of what they read."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from tandem.artifacts.contributions import BOTH, NO_CAPTION
from tandem.config.encoders import Encoder
from tandem.config.experiments import Experiment
from tandem.explain.grad_cam import grad_cam
from tandem.logits import logit
from tandem.models.fusion import FusionModel
from tandem.models.fusion_network import Batch, FusionNetwork
from tandem.models.inputs import Inputs, Maps

Encode = Callable[[Encoder, Sequence[str]], np.ndarray]  # captions -> (n, views, ...)


def heat_maps(models: Sequence[FusionModel], row: Inputs, labels: Sequence[int], blank: bool) -> np.ndarray:
    """(len(labels), h, w), at least 0: Grad-CAM of the trunk's last map, mean over models and views.

    `row` is one image; `blank` says that it has no caption, so that the logits without one are explained.
    """
    found = []
    for model in models:
        for view, batch in enumerate(model.views(row)):
            logits = partial(_logits, model.network, batch, blank)
            (seen,) = grad_cam(model.network.trunks.late, logits, labels)
            found.append(seen[:, :, ::-1] if view and model.cfg.trunk.mirror else seen)
    return np.mean(found, axis=0)


def _logits(network: FusionNetwork, batch: Batch, blank: bool) -> torch.Tensor:
    """(b, c), the heads' mean; without the captions if they are blank."""
    outputs = network(batch)
    terms = outputs.terms.get(NO_CAPTION, outputs.terms[BOTH]) if blank else outputs.terms[BOTH]
    return terms.float().sum(-1).mean(0) + outputs.bias


def logits_with(
    models: Sequence, experiment: Experiment, row: Inputs, captions: Sequence[str], encode: Encode
):
    """(n, c): the models' mean logits, were each of `captions` the caption of the one image in `row`."""
    inputs = with_captions(experiment, row, captions, encode)
    blank = np.array([not caption.strip() for caption in captions])[:, None]
    total = 0.0
    for model in models:
        if experiment.explains:
            terms = model.predict_terms(inputs)
            alone = terms.get(NO_CAPTION, terms[BOTH]).sum(-1)
            total = total + np.where(blank, alone, terms[BOTH].sum(-1))
        else:
            total = total + logit(model.predict_proba(inputs))
    return total / len(models)


def with_captions(experiment: Experiment, row: Inputs, captions: Sequence[str], encode: Encode) -> Inputs:
    """One row a caption, all with the photo of the one row."""
    n, same = len(captions), [0] * len(captions)
    blocks, maps = iter(row.blocks), iter(row.maps)
    number = np.zeros(1, int) if row.rows is None else row.rows
    new_blocks, new_maps = [], []
    for cfg in experiment.encoders:
        on_disk = cfg.kind in ("trunk", "tokens")
        old = next(maps if on_disk else blocks)
        if cfg.reads == "caption":
            values = encode(cfg, captions).astype(np.float16)  # as they are kept on disk
        elif on_disk:
            one = np.stack([old.read(number, view) for view in range(old.shape[1])], 1)
            values = np.broadcast_to(one, (n, *one.shape[1:]))
        else:
            values = old[same]
        if on_disk:
            new_maps.append(Maps((values,)))
        else:
            new_blocks.append(values)
    files = None if row.files is None else [row.files[0]] * n
    texts = None if row.captions is None else list(captions)
    return Inputs(n, tuple(new_blocks), texts, files, tuple(new_maps))

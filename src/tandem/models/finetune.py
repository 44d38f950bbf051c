"""A timm network trained end to end on augmented images."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tandem.artifacts.atomic_io import write_with
from tandem.config.experiments import FinetuneExperiment
from tandem.data.image_loader import Image, image_batches, prefetch
from tandem.features.image_backbone_split import Normalise, channels_last
from tandem.features.pretrained_weights import load_backbone
from tandem.logits import sigmoid
from tandem.models.augmenter import Augmenter, one_cv2_thread
from tandem.models.base import TrainingRun
from tandem.models.inputs import Inputs
from tandem.models.losses import make_loss
from tandem.models.trainer import Batch, Task, fit, shuffled_batches
from tandem.runtime.progress import progress
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import autocast, device, import_timm


class FinetunedModel:
    """Trains on and predicts `Inputs.files`."""

    network: nn.Sequential  # (normalisation, timm network)

    def __init__(self, cfg: FinetuneExperiment, n_labels: int) -> None:
        self.cfg, self.n_labels = cfg, n_labels

    def fit(self, inputs: Inputs, y: np.ndarray, run: TrainingRun) -> list[dict]:
        cfg, on = self.cfg, device()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)  # of the new classifier
            network = load_backbone(cfg.model, cfg.weights, self.n_labels, cfg.dropout)
        self.network = nn.Sequential(Normalise(network), channels_last(network)).to(on)
        targets, steps = torch.from_numpy(y.astype(np.float32)).to(on), max(1, len(y) // cfg.train.batch)
        augment = Augmenter(cfg.augment, cfg.size, run.seed)
        batches = partial(self._batches, inputs.files or (), targets, steps, augment)
        new = {id(p) for p in cast(Any, network).get_classifier().parameters()}
        groups = [
            {"params": [p for p in network.parameters() if id(p) not in new], "lr": cfg.train.backbone_lr},
            {"params": [p for p in network.parameters() if id(p) in new], "lr": cfg.train.lr},
        ]
        task = Task(self.network, batches, steps, groups, make_loss(cfg.train.loss, cfg.train.smoothing))
        log = fit(task, cfg.train, run)
        self.network.eval()
        return log

    def _batches(
        self, files: Sequence[Image], targets: torch.Tensor, steps: int, augment: Augmenter, epoch: int
    ) -> Iterator[Batch]:
        chunks = [rows for rows, _, _ in shuffled_batches(len(targets), 1, steps, augment.seed, epoch)]
        loaded = prefetch(lambda rows: augment.batch(files, rows, epoch), chunks, threads())
        title = f"epoch {epoch + 1}/{self.cfg.train.epochs}"
        with one_cv2_thread(), progress(len(targets), title, "img") as bar:
            for rows, pixels in zip(chunks, loaded, strict=True):
                at = torch.from_numpy(rows).to(targets.device)
                yield torch.from_numpy(pixels).to(targets.device), targets[at]
                bar.update(len(rows))

    @torch.inference_mode()
    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """(n, c): mean of the logits of the image and its mirror, as probability."""
        on = next(self.network.parameters()).device
        logits = []
        for batch in image_batches(inputs.files or (), self.cfg.size, self.cfg.train.batch, threads()):
            pixels = torch.from_numpy(batch).to(on)
            with autocast(on, self.cfg.train.bfloat16):
                both = self.network(pixels).float() + self.network(pixels.flip(2)).float()
            logits.append(both.cpu().numpy() / 2)
        return sigmoid(np.concatenate(logits))

    def save(self, path: Path) -> None:
        tensors = self.network[1].cpu().state_dict().items()
        state = {k: (t.half() if t.is_floating_point() else t).contiguous() for k, t in tensors}
        write_with(path, lambda partial: save_file(state, partial))

    def load(self, path: Path) -> Self:
        about = {"num_classes": self.n_labels, "drop_rate": self.cfg.dropout}
        network = import_timm().create_model(self.cfg.model, pretrained=False, **about)
        network.load_state_dict(load_file(path))
        self.network = nn.Sequential(Normalise(network), channels_last(network)).eval().to(device())
        return self

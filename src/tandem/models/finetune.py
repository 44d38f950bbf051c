"""A timm network trained end to end on augmented images."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tandem.artifacts.atomic_io import write_with
from tandem.config.experiments import FinetuneExperiment
from tandem.config.training import Augment
from tandem.data.image_io import load_rgb
from tandem.data.image_loader import ahead, image_batches
from tandem.features.image_encoder import Normalise
from tandem.features.pretrained_weights import load_backbone
from tandem.logits import sigmoid
from tandem.models.inputs import Inputs
from tandem.models.trainer import Batch, fit
from tandem.runtime.progress import progress
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import autocast, device, import_timm


class ImageModel:
    """fit / predict_proba / save / load on `Inputs.files`."""

    def __init__(self, cfg: FinetuneExperiment, n_labels: int):
        self.cfg, self.n_labels = cfg, n_labels
        self.network: nn.Module | None = None

    def fit(
        self,
        inputs: Inputs,
        y: np.ndarray,
        seed: int,
        checkpoint: Path | None,
        on_epoch: Callable = lambda e: None,
    ) -> list[dict]:
        """Trains from pretrained weights; goes on from `checkpoint` where it exists."""
        cfg, on = self.cfg, device()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # of the new classifier
            network = load_backbone(cfg.model, cfg.weights, self.n_labels, cfg.dropout)
        network = nn.Sequential(Normalise(network), network.to(memory_format=torch.channels_last)).to(on)
        targets = torch.from_numpy(y.astype(np.float32)).to(on)
        steps = max(1, len(y) // cfg.train.batch)
        augment = Augmenter(cfg.augment, cfg.size, seed)

        def batches(epoch: int) -> Iterator[Batch]:
            order = np.random.default_rng([seed, epoch]).permutation(len(y))
            chunks = np.array_split(order, steps)
            made = ahead(lambda rows: augment.batch(inputs.files, rows, epoch), chunks, threads())
            with progress(len(y), f"epoch {epoch + 1}/{cfg.train.epochs}", "img") as bar:
                for rows, pixels in zip(chunks, made, strict=True):
                    yield torch.from_numpy(pixels).to(on), targets[torch.from_numpy(rows).to(on)]
                    bar.update(len(rows))

        head = {id(p) for p in network[1].get_classifier().parameters()}
        parameters = list(network.parameters())
        groups = [
            {"params": [p for p in parameters if id(p) not in head], "lr": cfg.train.backbone_lr},
            {"params": [p for p in parameters if id(p) in head], "lr": cfg.train.lr},
        ]
        log = fit(network, batches, steps, cfg.train, seed, groups, checkpoint, on_epoch)
        self.network = network.eval()
        return log

    @torch.inference_mode()
    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """(n, c): mean of the logits of the image and its mirror, as probability."""
        on = next(self.network.parameters()).device
        logits = []
        for batch in image_batches(inputs.files, self.cfg.size, self.cfg.train.batch, threads()):
            pixels = torch.from_numpy(batch).to(on)
            with autocast(on, self.cfg.train.bfloat16):
                both = self.network(pixels).float() + self.network(pixels.flip(2)).float()
            logits.append(both.cpu().numpy() / 2)
        return sigmoid(np.concatenate(logits))

    def save(self, path: Path) -> None:
        state = {
            k: (t.half() if t.is_floating_point() else t).contiguous()
            for k, t in self.network[1].cpu().state_dict().items()
        }
        write_with(path, lambda partial: save_file(state, partial))

    def load(self, path: Path) -> "ImageModel":
        """Reads what `save` wrote for the same configuration."""
        network = import_timm().create_model(
            self.cfg.model, pretrained=False, num_classes=self.n_labels, drop_rate=self.cfg.dropout
        )
        network.load_state_dict(load_file(path))
        network = nn.Sequential(Normalise(network), network.to(memory_format=torch.channels_last))
        self.network = network.eval().to(device())
        return self


class Augmenter:
    """Random crops and colours by albumentations; an image's draw depends on seed, epoch and row alone."""

    def __init__(self, cfg: Augment, size: int, seed: int):
        self.cfg, self.size, self.seed = cfg, size, seed
        self._local = threading.local()  # a Compose holds its random state: one a thread

    def batch(self, files: list[Path], rows: np.ndarray, epoch: int) -> np.ndarray:
        """(b, size, size, 3) uint8."""
        return np.stack([self._one(files[i], epoch, int(i)) for i in rows])

    def _one(self, path: Path, epoch: int, row: int) -> np.ndarray:
        if not hasattr(self._local, "compose"):
            self._local.compose = self._compose()
        draw = np.random.default_rng([self.seed, epoch, row]).integers(2**31)
        self._local.compose.set_random_seed(int(draw))
        return self._local.compose(image=np.asarray(load_rgb(path)))["image"]

    def _compose(self):
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for news
        import albumentations as A
        import cv2

        cv2.setNumThreads(0)  # our threads are enough
        cfg, size = self.cfg, (self.size, self.size)
        return A.Compose(
            [
                A.RandomResizedCrop(size, scale=(cfg.scale, 1.0), ratio=(0.7, 1.4), p=1.0)
                if cfg.scale < 1
                else A.Resize(*size),
                A.HorizontalFlip(p=0.5 if cfg.flip else 0.0),
                A.ColorJitter(
                    cfg.colour, cfg.colour, cfg.colour, cfg.colour / 10, p=0.8 if cfg.colour else 0.0
                ),
                A.CoarseDropout((1, 1), (0.1, 0.35), (0.1, 0.35), p=cfg.erase),
            ]
        )

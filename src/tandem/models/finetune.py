"""A timm network trained end to end on augmented images."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tandem.artifacts.atomic_io import write_with
from tandem.artifacts.whole_files import MODEL, reading
from tandem.config.experiments import FinetuneExperiment
from tandem.data.image_loader import Image, image_batches
from tandem.features.image_backbone_split import Normalise, channels_last
from tandem.features.image_layout import set_image_size
from tandem.features.pretrained_weights import input_record, load_backbone
from tandem.features.weight_files import own_input
from tandem.logits import sigmoid
from tandem.models.augmenter import Augmenter
from tandem.models.base import TrainingRun
from tandem.models.batch_loader import BatchLoader, Chunk, Pace, to_device
from tandem.models.data_parallel import split
from tandem.models.inputs import Inputs
from tandem.models.losses import Targets, make_loss
from tandem.models.mixing import mixed
from tandem.models.own_functions import own_sampler
from tandem.models.parameter_groups import parameter_groups
from tandem.models.trainer import Batch, Task, fit, row_targets, shuffled_batches
from tandem.runtime.progress import progress
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import autocast, device, import_timm


class FinetunedModel:
    """Trains on and predicts `Inputs.files`."""

    network: nn.Sequential  # (normalisation, timm network)
    pace: Pace | None = None  # of the last epoch

    def __init__(self, cfg: FinetuneExperiment, n_labels: int) -> None:
        self.cfg, self.n_labels = cfg, n_labels

    def fit(self, inputs: Inputs, y: np.ndarray, run: TrainingRun) -> list[dict]:
        cfg, on = self.cfg, device()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)  # of the new classifier
            network = load_backbone(cfg.model, cfg.weights, self.n_labels, cfg.dropout, cfg.train.drop_path)
        network = set_image_size(network, cfg.model, cfg.size)
        self.network = nn.Sequential(Normalise(network), channels_last(network)).to(on)
        targets, steps = row_targets(y, run, on), max(1, len(y) // cfg.train.batch)
        loader = self._loader(inputs.files or (), y, run, steps, on)
        batches = partial(self._batches, loader, targets)
        new = [(cast(Any, network).get_classifier(), cfg.train.lr)]
        groups = parameter_groups(network, cfg.train, cfg.train.backbone_lr, new, cfg.train.layer_decay)
        loss = make_loss(cfg.train.loss, cfg.train.smoothing)
        task = Task(
            self.network,
            batches,
            steps,
            groups,
            lambda logits, batch: loss(logits, *batch),
            predict_proba=self.predict_proba,
            split=split(),
            rows=len(y),
        )
        with closing(loader):
            log = fit(task, cfg.train, run)
        self.network.eval()
        self.pace = loader.pace
        return log

    def _loader(
        self, files: Sequence[Image], y: np.ndarray, run: TrainingRun, steps: int, on: torch.device
    ) -> BatchLoader:
        augment = Augmenter(self.cfg.augment, self.cfg.size, run.seed)
        sample = own_sampler(self.cfg.train.sampler, y, run.weights)

        def make(epoch: int, rows: np.ndarray, views: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(augment.batch(files, split().own(rows), epoch))

        def chunks(epoch: int) -> list[Chunk]:
            return list(shuffled_batches(len(y), 1, steps, run.seed, epoch, sample))

        return BatchLoader(chunks, make, on, 3 * self.cfg.size**2 * self.cfg.train.batch)

    def _batches(self, loader: BatchLoader, targets: Targets, epoch: int) -> Iterator[Batch]:
        train, on = self.cfg.train, targets.y.device
        with progress(len(targets.y), f"epoch {epoch + 1}", "img") as bar:
            for (rows, _, rng), pixels in loader.epoch(epoch):
                batch = pixels, targets.take(to_device(torch.from_numpy(split().own(rows)), on))
                yield mixed(*batch, train.mixup, train.cutmix, rng)
                bar.update(len(rows))

    @torch.inference_mode()
    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """(n, c) probabilities; where training mirrors images, from the mean logit of an image and its mirror image."""
        on = next(self.network.parameters()).device
        logits = []
        for batch in image_batches(inputs.files or (), self.cfg.size, self.cfg.train.batch, threads()):
            pixels = to_device(torch.from_numpy(batch), on)
            views = [pixels, pixels.flip(2)] if self.cfg.mirrors else [pixels]
            with autocast(on, self.cfg.train.bfloat16):
                mean = torch.stack([self.network(view).float() for view in views]).mean(0)
            logits.append(mean)
        return sigmoid(torch.cat(logits).cpu().numpy())

    def save(self, path: Path) -> None:
        network: Any = self.network[1]
        state = {k: (t.half() if t.is_floating_point() else t).cpu() for k, t in network.state_dict().items()}
        state = {k: t.contiguous() for k, t in state.items()}
        about = input_record(network, self.cfg.model, self.cfg.weights)
        write_with(path, lambda partial: save_file(state, partial, about))

    def load(self, path: Path) -> Self:
        about = {"num_classes": self.n_labels, "drop_rate": self.cfg.dropout}
        network = import_timm().create_model(self.cfg.model, pretrained=False, **about)
        network = cast(Any, set_image_size(network, self.cfg.model, self.cfg.size))
        with reading(path, MODEL):
            network.load_state_dict(load_file(path))
        network.pretrained_cfg = {**network.pretrained_cfg, **own_input(str(path))}
        self.network = nn.Sequential(Normalise(network), channels_last(network)).eval().to(device())
        return self

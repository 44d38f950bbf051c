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
from tandem.features.image_layout import set_image_size
from tandem.features.pretrained_weights import input_record, load_backbone
from tandem.features.weight_files import own_input
from tandem.logits import sigmoid
from tandem.models.augmenter import Augmenter, one_cv2_thread
from tandem.models.base import TrainingRun
from tandem.models.inputs import Inputs
from tandem.models.losses import Targets, make_loss
from tandem.models.mixing import mixed
from tandem.models.own_functions import Sampler, own_sampler
from tandem.models.parameter_groups import parameter_groups
from tandem.models.trainer import Batch, Task, fit, row_targets, shuffled_batches
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
            network = load_backbone(cfg.model, cfg.weights, self.n_labels, cfg.dropout, cfg.train.drop_path)
        network = set_image_size(network, cfg.model, cfg.size)
        self.network = nn.Sequential(Normalise(network), channels_last(network)).to(on)
        targets, steps = row_targets(y, run, on), max(1, len(y) // cfg.train.batch)
        augment = Augmenter(cfg.augment, cfg.size, run.seed)
        sample = own_sampler(cfg.train.sampler, y, run.weights)
        batches = partial(self._batches, inputs.files or (), targets, steps, augment, sample)
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
        )
        log = fit(task, cfg.train, run)
        self.network.eval()
        return log

    def _batches(
        self,
        files: Sequence[Image],
        targets: Targets,
        steps: int,
        augment: Augmenter,
        sample: Sampler | None,
        epoch: int,
    ) -> Iterator[Batch]:
        chunks = list(shuffled_batches(len(targets.y), 1, steps, augment.seed, epoch, sample))
        loaded = prefetch(lambda chunk: augment.batch(files, chunk[0], epoch), chunks, threads())
        train, on = self.cfg.train, targets.y.device
        with one_cv2_thread(), progress(len(targets.y), f"epoch {epoch + 1}", "img") as bar:
            for (rows, _, rng), pixels in zip(chunks, loaded, strict=True):
                batch = torch.from_numpy(pixels).to(on), targets.take(torch.from_numpy(rows).to(on))
                yield mixed(*batch, train.mixup, train.cutmix, rng)
                bar.update(len(rows))

    @torch.inference_mode()
    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """(n, c) probabilities; where training mirrors images, from the mean logit of an image and its mirror image."""
        on = next(self.network.parameters()).device
        logits = []
        for batch in image_batches(inputs.files or (), self.cfg.size, self.cfg.train.batch, threads()):
            pixels = torch.from_numpy(batch).to(on)
            views = [pixels, pixels.flip(2)] if self.cfg.mirrors else [pixels]
            with autocast(on, self.cfg.train.bfloat16):
                mean = torch.stack([self.network(view).float() for view in views]).mean(0)
            logits.append(mean.cpu().numpy())
        return sigmoid(np.concatenate(logits))

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
        network.load_state_dict(load_file(path))
        network.pretrained_cfg = {**network.pretrained_cfg, **own_input(str(path))}
        self.network = nn.Sequential(Normalise(network), channels_last(network)).eval().to(device())
        return self

"""The fusion model: image and caption features, pretrained late stages trained with the heads, terms for each logit."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from tandem.artifacts.atomic_io import write_with
from tandem.artifacts.contributions import BOTH, TERMS
from tandem.artifacts.whole_files import MODEL, reading
from tandem.config.experiments import FusionExperiment
from tandem.data.image_loader import load_square, prefetch
from tandem.features.image_backbone_split import late_stages
from tandem.features.int8 import pack, unpack
from tandem.features.text_backbone_split import late_layers
from tandem.logits import sigmoid, smoothed_log_odds
from tandem.models.augmenter import Augmenter
from tandem.models.base import TrainingRun
from tandem.models.batch_loader import BatchLoader, Chunk, Pace, to_device
from tandem.models.data_parallel import split
from tandem.models.dropout import use_byte_dropout
from tandem.models.fusion_network import Batch, Features, FusionNetwork, Outputs, Trunks, fusion_loss
from tandem.models.inputs import Inputs
from tandem.models.losses import Targets
from tandem.models.own_functions import own_sampler
from tandem.models.parameter_groups import layer_rates, parameter_groups
from tandem.models.trainer import Task, fit, row_targets, shuffled_batches
from tandem.runtime.progress import progress
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import autocast, device

FEW_STEPS, SMALL_BATCH = 20, 8  # with few rows: smaller batches rather than fewer than 20 steps an epoch
MEASURED_POSITIONS = 8  # of each of these rows
MEASURED = 1024  # rows from which means and deviations are computed
MASKS = ("token_mask", "captioned")  # parts of Features that have no width
Load = Callable[[int, np.ndarray, np.ndarray], Batch | Features]  # (epoch, rows (b,), view of each (b,))


class FusionModel:
    """Reads the features and maps of the experiment's encoders, and `Inputs.files` where it trains from pixels."""

    network: FusionNetwork
    pace: Pace | None = None  # of the last epoch, where it trains from pixels

    def __init__(self, cfg: FusionExperiment, n_labels: int) -> None:
        self.cfg, self.n_labels = cfg, n_labels

    def fit(self, inputs: Inputs, y: np.ndarray, run: TrainingRun) -> list[dict]:
        cfg, train, on = self.cfg, self.cfg.train, device()
        trunks = _trunks(cfg).to(on).eval()
        rates = [rate for _, rate in self._late_parts(trunks)]
        sample = np.linspace(0, len(y) - 1, min(len(y), MEASURED)).astype(int)
        rows, few = FusionBatches(cfg, inputs), FusionBatches(cfg, inputs.take(sample))
        load: Load
        if rates and not any(rates) and not cfg.pixel_network and not cfg.fusion.uses_positions:
            # the inputs of the heads are the same in every epoch
            features, widths = self._compute_features(trunks, rows, rows.views, train.bfloat16)
            measured = {name: values[sample] for name, values in features.items()}
            load = partial(_pick, features)
        else:
            measured, widths = self._compute_features(trunks, few, 1, train.bfloat16)
            load = rows.loader(run.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)  # of the new layers
            network = FusionNetwork(cfg.fusion, self.n_labels, trunks, widths)
        network.bias.data = torch.from_numpy(smoothed_log_odds(y, run.known).astype(np.float32))
        has_caption = measured.pop("captioned", torch.ones(len(sample), 1, dtype=torch.bool))[:, 0]
        for name, values in measured.items():
            if name == "caption" and has_caption.sum() > 1:
                values = values[has_caption]
            if part := getattr(network, name):
                part.fit(values.flatten(0, 1) if name == "positions" else values[:, 0])
        self.network = network.to(on)
        steps = max(len(y) // train.batch, min(FEW_STEPS, len(y) // SMALL_BATCH), 1)
        drawn = own_sampler(train.sampler, y, run.weights)

        def chunks(epoch: int) -> list[Chunk]:
            return list(shuffled_batches(len(y), rows.views, steps, run.seed, epoch, drawn))

        pixels = 3 * cfg.pixel_network.size**2 * (len(y) // steps + 1) if cfg.pixel_network else 0
        loader = BatchLoader(chunks, load, on, pixels)
        batches = partial(_batches, loader, row_targets(y, run, on))
        task = Task(
            self.network,
            batches,
            steps,
            self._groups(),
            fusion_loss(cfg),
            _mean_logits,
            predict_proba=self.predict_proba,
            split=split(),
            rows=len(y),
            compiles=cfg.tokens is None,  # captions have another length in every batch
        )
        with closing(loader):
            log = fit(task, train, run)
        self.network.eval()
        self.pace = loader.pace if cfg.pixel_network else None
        self.network.center.copy_(torch.from_numpy(self._raw_terms(few)[BOTH].mean(0)))
        return log

    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """(n, c): mean of the logits over heads and views, as probability."""
        return sigmoid(self.predict_terms(inputs)[BOTH].sum(-1))

    def predict_terms(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """(n, c, 6) TERMS that add up to the logit, by setting; the base holds their means over training rows."""
        center, bias = self.network.center.cpu().numpy(), self.network.bias.detach().cpu().numpy()
        out = {}
        for setting, terms in self._raw_terms(FusionBatches(self.cfg, inputs)).items():
            out[setting] = np.zeros((len(terms), self.n_labels, len(TERMS)), np.float32)
            out[setting][:, :, :3], out[setting][:, :, TERMS.index("base")] = terms - center, bias + center.sum(1)
        return out

    def each_view(self, inputs: Inputs) -> Iterator[Batch]:
        """All rows as one batch, once for each view."""
        rows, on = FusionBatches(self.cfg, inputs), next(self.network.parameters()).device
        for batch in rows.each_view(np.arange(len(inputs)), rows.views):
            yield to_device(batch, on)

    def save(self, path: Path) -> None:
        """Writes weights in int8; the means and deviations of features, and the terms' means, stay exact."""
        state = self.network.state_dict()
        exact = {name for name in state if name.endswith((".mean", ".deviation")) or name == "center"}
        tensors, about = pack(state, exact), {"widths": json.dumps(self.network.widths)}
        write_with(path, lambda partial: save_file(tensors, partial, about))

    def load(self, path: Path) -> Self:
        with reading(path, MODEL), safe_open(path, "pt") as file:
            widths = json.loads(file.metadata()["widths"])
            # few rows pool no map for each label, nor did versions before this setting existed
            pooled = any(name.startswith("positions.") for name in file.keys())  # noqa: SIM118
        fusion = self.cfg.fusion.model_copy(update={"label_pooling": pooled})
        network = FusionNetwork(fusion, self.n_labels, _trunks(self.cfg), widths)
        with reading(path, MODEL):
            network.load_state_dict(unpack(load_file(path)))
        self.network = network.eval().to(device())
        return self

    def _late_parts(self, trunks: Trunks) -> list[tuple[nn.Module, float]]:
        """The pretrained parts with their peak lr."""
        parts = ((trunks.late, self.cfg.train.backbone_lr), (trunks.layers, self.cfg.train.caption_lr))
        return [(part, rate) for part, rate in parts if part is not None]

    def _groups(self) -> list[dict[str, Any]]:
        """AdamW groups; pretrained parts whose lr is 0 are frozen here."""
        parts = self._late_parts(self.network.trunks)
        for part, rate in parts:
            if not rate:
                part.requires_grad_(False)
        train = self.cfg.train
        layers = [one for part, rate in parts for one in layer_rates(part, rate, train.layer_decay)]
        return parameter_groups(self.network, train, train.lr, layers)

    @torch.inference_mode()
    def _raw_terms(self, rows: "FusionBatches") -> dict[str, np.ndarray]:
        """(n, c, 3) by setting: mean of the terms over heads and views."""
        on = next(self.network.parameters()).device
        n, views, batch = len(rows.inputs), rows.views, self.cfg.train.batch
        found: dict[str, list[np.ndarray]] = {}
        chunks = [np.arange(i, min(i + batch, n)) for i in range(0, n, batch)]
        for loaded in prefetch(lambda chunk: list(rows.each_view(chunk, views)), chunks, threads()):
            total: dict[str, torch.Tensor] = {}
            for part in loaded:
                with autocast(on, self.cfg.train.bfloat16):
                    outputs = self.network(to_device(part, on))
                for setting, terms in outputs.terms.items():
                    total[setting] = total.get(setting, 0) + terms.float().mean(0) / views
            for setting, terms in total.items():
                found.setdefault(setting, []).append(terms.cpu().numpy())
        return {setting: np.concatenate(parts) for setting, parts in found.items()}

    @torch.no_grad()
    def _compute_features(
        self, trunks: Trunks, rows: "FusionBatches", views: int, bfloat16: bool
    ) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
        """(image, caption features (n, views, f) and captioned (n, views), where there are any; widths of all inputs of
        the heads)."""
        on, n = next(trunks.parameters(), torch.zeros(0)).device, len(rows.inputs)
        found: dict[str, list[torch.Tensor]] = {}
        widths: dict[str, int] = {}
        with progress(n, "computing backbone features", "rows") as bar:
            for chunk in np.array_split(np.arange(n), max(1, n // self.cfg.train.batch)):
                with autocast(on, bfloat16):
                    each = [trunks(to_device(batch, on)) for batch in rows.each_view(chunk, views)]
                here = {name: part for name, part in vars(each[0]).items() if part is not None}
                widths = {name: part.shape[-1] for name, part in here.items() if name not in MASKS}
                for name in here.keys() & {"image", "caption", "joint", "captioned"}:
                    found.setdefault(name, []).append(torch.stack([getattr(one, name) for one in each], 1))
                if self.cfg.fusion.label_pooling and each[0].positions is not None:
                    apart = max(1, each[0].positions.shape[1] // MEASURED_POSITIONS)
                    found.setdefault("positions", []).append(each[0].positions[:, ::apart].float())
                bar.update(len(chunk))
        return {name: torch.cat(values) for name, values in found.items()}, widths


def _batches(loader: BatchLoader, targets: Targets, epoch: int) -> Iterator[tuple]:
    on = targets.y.device
    with progress(len(targets.y), f"epoch {epoch + 1}", "rows") as bar:
        for (rows, _, _), batch in loader.epoch(epoch):
            yield batch, targets.take(to_device(torch.from_numpy(split().own(rows)), on))
            bar.update(len(rows))


def _pick(features: dict[str, torch.Tensor], epoch: int, rows: np.ndarray, view: np.ndarray) -> Features:
    own = split().own
    return Features(**{name: values[own(rows), own(view)] for name, values in features.items()})


def _mean_logits(outputs: Outputs) -> torch.Tensor:
    """(b, c) from both modalities, mean over the heads."""
    return outputs.terms[BOTH].float().sum(-1).mean(0) + outputs.bias


def _trunks(cfg: FusionExperiment) -> Trunks:
    late = late_stages(cfg.trunk, cfg.train.drop_path) if cfg.trunk else None
    return Trunks(late, use_byte_dropout(late_layers(cfg.tokens)) if cfg.tokens else None)


@dataclass(frozen=True)
class FusionBatches:
    """Rows of `inputs`, from features, maps and image files, as the network of `cfg` takes them."""

    cfg: FusionExperiment
    inputs: Inputs

    @property
    def views(self) -> int:
        """How many views of a row it predicts from: 2 where an encoder or the network sees the mirror image too."""
        return max(self.inputs.views, 2 if self.cfg.pixel_network and self.cfg.mirrors else 1)

    def each_view(self, rows: np.ndarray, views: int) -> Iterator[Batch]:
        """The same rows (b,) in one view after another."""
        pixels, network = None, self.cfg.pixel_network
        if network and self.inputs.files:
            pixels = np.stack([load_square(self.inputs.files[i], network.size) for i in rows])
        for v in range(views):
            flipped = pixels[:, :, ::-1].copy() if pixels is not None and v and self.cfg.mirrors else pixels
            yield self._batch(rows, np.full(len(rows), v), flipped)

    def loader(self, seed: int) -> Load:
        """For training: pixels are augmented."""
        network = self.cfg.pixel_network
        augment = self.cfg.augment.model_copy(update={"flip": self.cfg.mirrors})
        augmenter = Augmenter(augment, network.size, seed) if network else None

        def load(epoch: int, rows: np.ndarray, view: np.ndarray) -> Batch:
            own = split().own(rows)
            pixels = augmenter.batch(self.inputs.files or (), own, epoch) if augmenter else None
            return self._batch(own, split().own(view), pixels, rows)

        return load

    def _batch(
        self, rows: np.ndarray, view: np.ndarray, pixels: np.ndarray | None, whole: np.ndarray | None = None
    ) -> Batch:
        """`whole`: the rows of the batch, where other processes have some of them; captions are as long in each."""
        cfg, inputs, batch = self.cfg, self.inputs, {}
        if pixels is not None:
            batch["maps"] = pixels
        elif cfg.trunk:
            batch["maps"] = inputs.maps[cfg.trunk.slug].read(rows, view)
        if cfg.tokens:
            tokens = inputs.maps[cfg.tokens.slug].read(rows, 0)
            every = tokens if whole is None or len(whole) == len(rows) else inputs.maps[cfg.tokens.slug].read(whole, 0)
            longest = max(1, (every != 0).any(-1).sum(1).max())  # the rest is padding for every row
            batch["tokens"] = tokens[:, :longest]
        for name, parts in cfg.frozen_parts.items():
            batch[name] = inputs.side_by_side(parts, 0 if name == "caption" else view, rows)
        if inputs.captioned is not None and not inputs.captioned.all():
            batch["captioned"] = inputs.captioned[rows]
        return {name: torch.from_numpy(values) for name, values in batch.items()}

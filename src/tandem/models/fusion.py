"""The fusion model: image and caption features, pretrained late stages trained with the heads, terms for each logit."""

import json
from collections.abc import Callable, Iterator
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
from tandem.config.experiments import FusionExperiment
from tandem.data.image_loader import ahead
from tandem.features.int8 import pack, unpack
from tandem.logits import sigmoid, smoothed_log_odds
from tandem.models.base import TrainingRun
from tandem.models.fusion_batches import FusionBatches, to_device
from tandem.models.fusion_network import Batch, Features, FusionNetwork, Outputs, Targets, Trunks, fusion_loss
from tandem.models.inputs import Inputs
from tandem.models.trainer import Batch as TrainingBatch
from tandem.models.trainer import Task, fit
from tandem.runtime.progress import progress
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import autocast, device

FEW_STEPS, SMALL_BATCH = 20, 8  # with few rows: smaller batches rather than fewer than 20 steps an epoch
MEASURED = 1024  # rows from which means and deviations are computed
Load = Callable[[int, np.ndarray, np.ndarray], Batch | Features]  # (epoch, rows (b,), view of each (b,))


class FusionModel:
    """On the features and maps of the experiment's encoders, and on `Inputs.files` where it trains from pixels."""

    network: FusionNetwork

    def __init__(self, cfg: FusionExperiment, n_labels: int) -> None:
        self.cfg, self.n_labels = cfg, n_labels

    def fit(self, inputs: Inputs, y: np.ndarray, run: TrainingRun) -> list[dict]:
        """Trains heads and pretrained late stages."""
        cfg, train, on = self.cfg, self.cfg.train, device()
        trunks = _trunks(cfg).to(on).eval()
        sample = np.linspace(0, len(y) - 1, min(len(y), MEASURED)).astype(int)
        rows, few = FusionBatches(cfg, inputs), FusionBatches(cfg, inputs.take(sample))
        load: Load
        if self._features_stay_constant(trunks):
            features, widths = self._compute_features(trunks, rows, rows.views, train.bfloat16)
            measured = {name: values[sample] for name, values in features.items()}
            load = partial(_pick, features)
        else:
            measured, widths = self._compute_features(trunks, few, 1, False)
            load = partial(rows.augmented, rows.augmenter(run.seed))
        self.network = self._new_network(trunks, widths, measured, y, run.seed).to(on)
        steps = max(len(y) // train.batch, min(FEW_STEPS, len(y) // SMALL_BATCH), 1)
        targets = _targets(y, run.weights, on)
        batches = partial(_batches, load, rows.views, steps, targets, run.seed)
        task = Task(self.network, batches, steps, self._groups(), fusion_loss(cfg), _metric_pair)
        log = fit(task, train, run)
        self.network.eval()
        terms = self._raw_terms(few)[BOTH]
        self.network.center.copy_(torch.from_numpy(terms.mean(0)))
        return log

    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """(n, c): mean of the logits over heads and views, as probability."""
        return sigmoid(self.predict_terms(inputs)[BOTH].sum(-1))

    def predict_terms(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """(n, c, 5) TERMS that add up to the logit, by setting.

        Each term is relative to its mean over training rows; the means are part of the base.
        """
        center, bias = self.network.center.cpu().numpy(), self.network.bias.detach().cpu().numpy()
        out = {}
        for setting, terms in self._raw_terms(FusionBatches(self.cfg, inputs)).items():
            out[setting] = np.zeros((len(terms), self.n_labels, len(TERMS)), np.float32)
            for i, term in enumerate(("image", "caption", "fusion")):
                out[setting][:, :, TERMS.index(term)] = terms[:, :, i] - center[:, i]
            out[setting][:, :, TERMS.index("base")] = bias + center.sum(1)
        return out

    def each_view(self, inputs: Inputs) -> Iterator[Batch]:
        """All rows as one batch, once for each view."""
        on = next(self.network.parameters()).device
        rows = FusionBatches(self.cfg, inputs)
        for batch in rows.each_view(np.arange(len(inputs)), rows.views):
            yield to_device(batch, on)

    @property
    def mirrors(self) -> bool:
        """Whether views after the first are mirrored images."""
        return self.cfg.trunk is not None and self.cfg.trunk.mirror

    def save(self, path: Path) -> None:
        """In int8, but the numbers that features are standardised with are exact."""
        state = self.network.state_dict()
        exact = {name for name in state if name.endswith((".mean", ".deviation")) or name == "center"}
        tensors, about = pack(state, exact), {"widths": json.dumps(self.network.widths)}
        write_with(path, lambda partial: save_file(tensors, partial, about))

    def load(self, path: Path) -> Self:
        with safe_open(path, "pt") as file:
            widths = json.loads(file.metadata()["widths"])
        network = FusionNetwork(self.cfg.fusion, self.n_labels, _trunks(self.cfg), widths)
        network.load_state_dict(unpack(load_file(path)))
        self.network = network.eval().to(device())
        return self

    def _features_stay_constant(self, trunks: Trunks) -> bool:
        """Whether the heads' inputs are the same in every epoch: no late part is trained, and no image augmented."""
        rates = [rate for _, rate in self._late_parts(trunks)]
        augmented, attends = self.cfg.pixel_network, self.cfg.fusion.how == "attention"
        return bool(rates) and not any(rates) and not augmented and not attends

    def _late_parts(self, trunks: Trunks) -> list[tuple[nn.Module, float]]:
        """The pretrained parts with their peak lr."""
        train = self.cfg.train
        parts = ((trunks.late, train.backbone_lr), (trunks.layers, train.caption_lr))
        return [(part, rate) for part, rate in parts if part is not None]

    def _groups(self) -> list[dict[str, Any]]:
        """AdamW groups; pretrained parts whose lr is 0 are frozen here."""
        groups: list[dict[str, Any]] = []
        for part, rate in self._late_parts(self.network.trunks):
            if not rate:
                part.requires_grad_(False)
            groups.append({"params": [p for p in part.parameters() if p.requires_grad], "lr": rate})
        pretrained = {id(p) for p in self.network.trunks.parameters()}
        new = [p for p in self.network.parameters() if id(p) not in pretrained]
        return [*groups, {"params": new, "lr": self.cfg.train.lr}]

    def _new_network(
        self, trunks: Trunks, widths: dict[str, int], measured: dict[str, torch.Tensor], y: np.ndarray, seed: int
    ) -> FusionNetwork:
        """Standardised by the `measured` features (rows, views, f), its bias the log odds of the labels."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # of the new layers
            network = FusionNetwork(self.cfg.fusion, self.n_labels, trunks, widths)
        network.bias.data = torch.from_numpy(smoothed_log_odds(y).astype(np.float32))
        for name, features in measured.items():
            getattr(network, name).fit(features[:, 0])
        return network

    @torch.inference_mode()
    def _raw_terms(self, rows: FusionBatches) -> dict[str, np.ndarray]:
        """(n, c, 3) by setting: mean of the terms over heads and views."""
        on = next(self.network.parameters()).device
        n, views, batch = len(rows.inputs), rows.views, self.cfg.train.batch
        found: dict[str, list[np.ndarray]] = {}
        chunks = [np.arange(i, min(i + batch, n)) for i in range(0, n, batch)]
        for loaded in ahead(lambda chunk: list(rows.each_view(chunk, views)), chunks, threads()):
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
        self, trunks: Trunks, rows: FusionBatches, views: int, bfloat16: bool
    ) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
        """(image and caption features (n, views, f), where there are any; widths of all inputs of the heads)."""
        on = next(trunks.parameters(), torch.zeros(0)).device
        found: dict[str, list[torch.Tensor]] = {}
        widths: dict[str, int] = {}
        n = len(rows.inputs)
        with progress(n, "computing backbone features", "rows") as bar:
            for chunk in np.array_split(np.arange(n), max(1, n // self.cfg.train.batch)):
                with autocast(on, bfloat16):
                    each = [trunks(to_device(batch, on)) for batch in rows.each_view(chunk, views)]
                parts = [{k: v for k, v in vars(one).items() if v is not None and k != "there"} for one in each]
                widths = {name: values.shape[-1] for name, values in parts[0].items()}
                for name in [name for name in ("image", "caption") if name in widths]:
                    found.setdefault(name, []).append(torch.stack([part[name] for part in parts], 1))
                bar.update(len(chunk))
        return {name: torch.cat(values) for name, values in found.items()}, widths


def _batches(load: Load, views: int, steps: int, targets: Targets, seed: int, epoch: int) -> Iterator[TrainingBatch]:
    """All rows in random order, each in a random view, in batches of nearly equal size."""
    y, weights = targets
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(y))
    view = rng.integers(0, views, len(y))
    chunks = np.array_split(order, steps)
    loaded = ahead(lambda rows: load(epoch, rows, view[rows]), chunks, 1)
    with progress(len(y), f"epoch {epoch + 1}", "rows") as bar:
        for rows, batch in zip(chunks, loaded, strict=True):
            at = torch.from_numpy(rows).to(y.device)
            if not isinstance(batch, Features):  # those are on the device
                batch = to_device(batch, y.device)
            yield batch, (y[at], None if weights is None else weights[at])
            bar.update(len(rows))


def _pick(features: dict[str, torch.Tensor], epoch: int, rows: np.ndarray, view: np.ndarray) -> Features:
    del epoch  # the same in every epoch
    return Features(**{name: values[rows, view] for name, values in features.items()})


def _targets(y: np.ndarray, weights: np.ndarray | None, on: torch.device) -> Targets:
    """Float32 (n, c) each."""
    targets = torch.from_numpy(y.astype(np.float32)).to(on)
    return targets, None if weights is None else torch.from_numpy(weights.astype(np.float32)).to(on)


def _metric_pair(outputs: Outputs, targets: Targets) -> TrainingBatch:
    """(logits (b, c) from both modalities, mean over the heads; y (b, c))."""
    return outputs.terms[BOTH].float().sum(-1).mean(0) + outputs.bias, targets[0]


def _trunks(cfg: FusionExperiment) -> Trunks:
    """The pretrained late parts."""
    late = layers = None
    if cfg.trunk:
        from tandem.features.image_backbone_split import late_stages

        late = late_stages(cfg.trunk)
    if cfg.tokens:
        from tandem.features.text_backbone_split import late_layers

        layers = late_layers(cfg.tokens)
    return Trunks(late, layers)

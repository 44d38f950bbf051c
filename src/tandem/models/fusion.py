"""The fusion model: photo and caption, each with the late stages of its own trunk, joined in terms that add up."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from tandem.artifacts.atomic_io import write_with
from tandem.artifacts.contributions import BOTH, TERMS
from tandem.config.experiments import FusionExperiment
from tandem.data.image_loader import ahead, squeeze
from tandem.features.int8 import pack, unpack
from tandem.logits import sigmoid, smoothed_log_odds
from tandem.models import trainer as engine
from tandem.models.finetune import Augmenter
from tandem.models.fusion_network import Batch, Features, FusionNetwork, Outputs, Targets, Trunks, fusion_loss
from tandem.models.inputs import Inputs, side_by_side
from tandem.runtime.progress import progress
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import autocast, device

FEW_STEPS, SMALL_BATCH = 20, 8  # few rows: smaller batches rather than fewer than 20 steps an epoch
MEASURED = 1024  # rows from which means and deviations are taken


class FusionModel:
    """fit / predict_proba / save / load; `predict_terms` says why."""

    def __init__(self, cfg: FusionExperiment, n_labels: int):
        self.cfg, self.n_labels = cfg, n_labels
        self.network: FusionNetwork | None = None

    def fit(
        self,
        inputs: Inputs,
        y: np.ndarray,
        seed: int,
        checkpoint: Path | None,
        on_epoch: Callable = lambda e: None,
        weights: np.ndarray | None = None,
    ) -> list[dict]:
        """Trains heads and late stages; goes on from `checkpoint` where it exists.

        y (n, c) may be soft; `weights` (n, c) says how much each counts.
        """
        cfg, on = self.cfg, device()
        trunks, train = _trunks(cfg), cfg.train
        rates = {trunks.late: train.backbone_lr, trunks.layers: train.caption_lr}
        rates.pop(None, None)
        augmenter = Augmenter(cfg.augment, cfg.trunk.size, seed) if self._reads_pixels else None
        frozen = bool(rates) and not any(rates.values()) and not augmenter and cfg.fusion.how != "attention"
        sample = np.linspace(0, len(y) - 1, min(len(y), MEASURED)).astype(int)
        trunks.to(on).eval()
        if frozen:  # what the heads see of a row is the same in every epoch
            known, widths = self._computed(trunks, inputs, self._views(inputs), train.bfloat16)
            measured = {name: features[sample] for name, features in known.items()}
        else:
            measured, widths = self._computed(trunks, inputs.take(sample), 1, False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # of the new layers
            network = FusionNetwork(cfg.fusion, self.n_labels, trunks, widths)
        # biases of the labels' rates: no step is spent on how rare labels are (Lin et al. 2017, arXiv 1708.02002, 3.3)
        network.bias.data = torch.from_numpy(smoothed_log_odds(y).astype(np.float32))
        for name, features in measured.items():
            getattr(network, name).fit(features[:, 0])
        network.to(on)
        targets = torch.from_numpy(y.astype(np.float32)).to(on)
        counts = None if weights is None else torch.from_numpy(weights.astype(np.float32)).to(on)
        steps = max(len(y) // train.batch, min(FEW_STEPS, len(y) // SMALL_BATCH), 1)

        def batches(epoch: int) -> Iterator[engine.Batch]:
            rng = np.random.default_rng([seed, epoch])
            order = rng.permutation(len(y))
            view = rng.integers(0, self._views(inputs), len(y))

            def load(rows: np.ndarray) -> Batch | Features:
                if frozen:
                    return Features(**{name: features[rows, view[rows]] for name, features in known.items()})
                pixels = augmenter.batch(inputs.files, rows, epoch) if augmenter else None
                return self._batch(inputs, rows, view[rows], pixels)

            chunks = np.array_split(order, steps)
            with progress(len(y), f"epoch {epoch + 1}", "rows") as bar:
                for rows, batch in zip(chunks, ahead(load, chunks, 1), strict=True):
                    at = torch.from_numpy(rows).to(on)
                    yield _to(batch, on), (targets[at], None if counts is None else counts[at])
                    bar.update(len(rows))

        groups = [{"params": _trained(part, lr), "lr": lr} for part, lr in rates.items()]
        pretrained = {id(p) for p in trunks.parameters()}
        groups.append(
            {"params": [p for p in network.parameters() if id(p) not in pretrained], "lr": train.lr}
        )
        log = engine.fit(
            network, batches, steps, train, seed, groups, checkpoint, on_epoch, fusion_loss(cfg), _labelled
        )
        self.network = network.eval()
        terms = self._raw_terms(inputs.take(sample))[BOTH]
        network.center.copy_(torch.from_numpy(terms.mean(0)))
        return log

    def predict_proba(self, inputs: Inputs) -> np.ndarray:
        """(n, c): mean of the logits over heads and views, as probability."""
        return sigmoid(self.predict_terms(inputs)[BOTH].sum(-1))

    def predict_terms(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """(n, c, 5) TERMS that add up to the logit, with both parts, and as if the caption or the photo were missing.

        Each term is what it is above its mean over training rows; the means are in the base.
        """
        center, bias = self.network.center.cpu().numpy(), self.network.bias.detach().cpu().numpy()
        out = {}
        for name, terms in self._raw_terms(inputs).items():
            out[name] = np.zeros((len(terms), self.n_labels, len(TERMS)), np.float32)
            for i, term in enumerate(("image", "caption", "fusion")):
                out[name][:, :, TERMS.index(term)] = terms[:, :, i] - center[:, i]
            out[name][:, :, TERMS.index("base")] = bias + center.sum(1)
        return out

    @torch.inference_mode()
    def _raw_terms(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """(n, c, 3) a setting: mean of the terms over heads and views."""
        on = next(self.network.parameters()).device
        views, batch = self._views(inputs), self.cfg.train.batch
        found: dict[str, list[np.ndarray]] = {}
        chunks = [np.arange(i, min(i + batch, len(inputs))) for i in range(0, len(inputs), batch)]

        def load(rows: np.ndarray) -> list[Batch]:
            return list(self._load_views(inputs, rows, views))

        for loaded in ahead(load, chunks, threads()):
            total: dict[str, torch.Tensor] = {}
            for part in loaded:
                with autocast(on, self.cfg.train.bfloat16):
                    outputs = self.network(_to(part, on))
                for name, terms in outputs.terms.items():
                    total[name] = total.get(name, 0) + terms.float().mean(0) / views
            for name, terms in total.items():
                found.setdefault(name, []).append(terms.cpu().numpy())
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def views(self, inputs: Inputs) -> Iterator[Batch]:
        """All rows as one batch, once a view; after the first, a mirroring trunk's are mirrored."""
        on = next(self.network.parameters()).device
        for batch in self._load_views(inputs, np.arange(len(inputs)), self._views(inputs)):
            yield _to(batch, on)

    def _load_views(self, inputs: Inputs, rows: np.ndarray, views: int) -> Iterator[Batch]:
        pixels = None
        if self._reads_pixels:
            pixels = np.stack([squeeze(inputs.files[i], self.cfg.trunk.size) for i in rows])
        for v in range(views):
            flipped = pixels[:, :, ::-1].copy() if pixels is not None and v else pixels
            yield self._batch(inputs, rows, np.full(len(rows), v), flipped)

    @torch.no_grad()
    def _computed(
        self, trunks: Trunks, inputs: Inputs, views: int, bfloat16: bool
    ) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
        """(image and caption, (n, views, f) as they come, those that there are; widths of all that the heads see)."""
        on, found, widths = next(trunks.parameters(), torch.zeros(0)).device, {}, {}
        chunks = np.array_split(np.arange(len(inputs)), max(1, len(inputs) // self.cfg.train.batch))
        with progress(len(inputs), "what the trunks say", "rows") as bar:
            for rows in chunks:
                with autocast(on, bfloat16):
                    seen = [trunks(_to(batch, on)) for batch in self._load_views(inputs, rows, views)]
                there = {k: part for k, part in vars(seen[0]).items() if part is not None and k != "there"}
                widths = {name: part.shape[-1] for name, part in there.items()}
                for name in ("image", "caption"):
                    if name in there:
                        parts = [getattr(view, name) for view in seen]
                        found.setdefault(name, []).append(torch.stack(parts, 1))
                bar.update(len(rows))
        return {name: torch.cat(parts) for name, parts in found.items()}, widths

    @property
    def _reads_pixels(self) -> bool:
        return self.cfg.trunk is not None and not self.cfg.cached

    def _views(self, inputs: Inputs) -> int:
        if self._reads_pixels:
            return 2 if self.cfg.trunk.mirror else 1
        arrays = [*inputs.blocks, *inputs.maps]
        return max(a.shape[1] for a in arrays)

    def _batch(self, inputs: Inputs, rows: np.ndarray, view: np.ndarray, pixels: np.ndarray | None) -> Batch:
        """What the network takes of some rows, each in the view of its own number."""
        cfg, batch = self.cfg, {}
        maps = list(inputs.maps)
        numbers = rows if inputs.rows is None else inputs.rows[rows]
        if pixels is not None:
            batch["maps"] = torch.from_numpy(pixels)
        elif cfg.trunk:
            trunk = maps.pop(0)
            batch["maps"] = torch.from_numpy(trunk.read(numbers, view))
        if cfg.tokens:
            batch["tokens"] = torch.from_numpy(maps[0].read(numbers, 0))
        if cfg.frozen:
            batch["frozen"] = torch.from_numpy(side_by_side(inputs.blocks[: len(cfg.frozen)], view, rows))
        if cfg.caption:
            batch["caption"] = torch.from_numpy(side_by_side(inputs.blocks[-1:], 0, rows))
        return batch

    def save(self, path: Path) -> None:
        """Rounded, but for the numbers that features are standardised with."""
        state = self.network.state_dict()
        exact = {name for name in state if name.endswith((".mean", ".deviation")) or name == "center"}
        tensors, about = pack(state, exact), {"widths": json.dumps(self.network.widths)}
        write_with(path, lambda partial: save_file(tensors, partial, about))

    def load(self, path: Path) -> "FusionModel":
        """Reads what `save` wrote for the same configuration."""
        with safe_open(path, "pt") as file:
            widths = json.loads(file.metadata()["widths"])
        network = FusionNetwork(self.cfg.fusion, self.n_labels, _trunks(self.cfg), widths)
        network.load_state_dict(unpack(load_file(path)))
        self.network = network.eval().to(device())
        return self


def _labelled(outputs: Outputs, targets: Targets) -> engine.Batch:
    """(logits (b, c) with both parts, the heads' mean; targets (b, c))."""
    return outputs.terms[BOTH].float().sum(-1).mean(0) + outputs.bias, targets[0]


def _trained(part: nn.Module, lr: float) -> list[nn.Parameter]:
    """Its parameters that learn; at a rate of 0 none does."""
    if not lr:
        part.requires_grad_(False)
    return [p for p in part.parameters() if p.requires_grad]


def _trunks(cfg: FusionExperiment) -> Trunks:
    late = layers = None
    if cfg.trunk:
        from tandem.features.image_backbone_split import late_stages

        late = late_stages(cfg.trunk)
    if cfg.tokens:
        from tandem.features.text_backbone_split import late_layers

        layers = late_layers(cfg.tokens)
    return Trunks(late, layers)


def _to(batch: Batch | Features, on: torch.device) -> Batch | Features:
    if isinstance(batch, Features):  # computed there
        return batch
    return {name: tensor.to(on) for name, tensor in batch.items()}

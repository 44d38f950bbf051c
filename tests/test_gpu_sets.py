"""The experiments for a GPU, trained for some steps on a CPU: each network small, or by its name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import text_folder

from tandem.config.experiments import Experiment, make_experiment
from tandem.config.toml_files import read_toml
from tandem.features import pretrained_weights
from tandem.features.pretrained_weights import SHIPPED, shipped
from tandem.features.text_backbone_split import LateLayers, early_layers, token_states
from tandem.models.base import Model, TrainingRun
from tandem.models.fusion import FusionModel
from tandem.models.inputs import Inputs, Maps
from tandem.models.parameter_groups import layer_rates
from tandem.models.registry import make_model
from tandem.runtime.torch_setup import import_timm

# the sizes of a small network of the same code, by the start of timm's name
SMALL = {
    "convnextv2": {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)},
    "tf": {},  # small as it is
    "eva02": {"depth": 2, "embed_dim": 48, "num_heads": 3},
}
N = 8


def named(name: str) -> Experiment:
    file = Path(__file__).parents[1] / "configs" / f"{name}.toml"
    return make_experiment(read_toml(file), file)


def small(cfg: Experiment, words: str | None = None) -> Experiment:
    """The same experiment on small images, in one epoch of two steps; `words`: a folder in place of the hub's."""
    size = 112 if "eva02" in cfg.pixel_network.model else 32
    train = cfg.train.model_copy(update={"epochs": 1, "batch": 4, "min_steps": 0, "accumulate": 1, "bfloat16": False})
    changed = {"train": train, "augment": cfg.augment.model_copy(update={"resized": size + 16})}
    if cfg.kind == "finetune":
        return cfg.model_copy(update={**changed, "size": size})
    tokens = cfg.tokens.model_copy(update={"model": words, "tune": 3} if words else {})
    changed["train"] = train.model_copy(update={"tune_from": 0})
    changed["fusion"] = cfg.fusion.model_copy(update={"hidden": 16})
    return cfg.model_copy(update={**changed, "trunk": cfg.trunk.model_copy(update={"size": size}), "tokens": tokens})


def drawn(cfg: Experiment) -> tuple[Inputs, np.ndarray]:
    rng = np.random.default_rng(0)
    side, y = cfg.image_size, np.arange(2 * N).reshape(N, 2) // 2 % 2
    files = list(rng.integers(0, 255, (N, side, side, 3), np.uint8))
    maps, captioned = {}, None
    if cfg.encoders:
        states = token_states(early_layers(cfg.tokens), [f"a {'cat' if row[0] else 'dog'}" for row in y])
        maps, captioned = {cfg.tokens.slug: Maps((states.astype(np.float16)[:, None],))}, np.ones(N, bool)
    return Inputs([str(i) for i in range(N)], maps=maps, files=files, captioned=captioned), y.astype(np.uint8)


def trained(cfg: Experiment) -> tuple[Model, Inputs]:
    """After two steps."""
    inputs, y = drawn(cfg)
    model = make_model(cfg, 2)
    log = model.fit(inputs, y, TrainingRun(0))
    assert len(log) == 1 and np.isfinite(log[0]["loss"])
    assert model.pace.record()["training"] > 0
    return model, inputs


def rates(model: Model, inputs: Inputs) -> tuple[float, float]:
    """The peak learning rates of the trunk's first and last layers."""
    assert isinstance(model, FusionModel)
    rate = {id(p): group["lr"] for group in model._groups() for p in group["params"]}
    layers = model.network.trunks.late.in_order
    return rate[id(next(layers[0].parameters()))], rate[id(next(layers[-1].parameters()))]


def test_gpu_fusion_trains_with_the_weights_that_ship_to_a_file_that_predicts_the_same(tmp_path):
    cfg = named("gpu_fusion")
    assert all(part.model in SHIPPED and shipped(part.model) for part in (cfg.trunk, cfg.tokens))
    assert cfg.tokens.tune == 6 and cfg.trunk.tune == "" and cfg.image_size > cfg.trunk.size >= 384
    model, inputs = trained(small(cfg))
    assert any(type(part).__name__ == "DropPath" for part in model.network.trunks.late.modules())
    first, last = rates(model, inputs)
    assert last == cfg.train.backbone_lr and first == pytest.approx(last * 0.9**24)  # of 25 layers
    model.save(tmp_path / "model.safetensors")
    again = make_model(model.cfg, 2).load(tmp_path / "model.safetensors")
    assert np.abs(again.predict_proba(inputs) - model.predict_proba(inputs)).max() < 0.05  # weights are saved in int8


@pytest.mark.parametrize("name", ["gpu_finetune", "gpu_convnextv2_finetune", "gpu_eva02_finetune", "gpu_fusion_eva02"])
def test_each_network_trains_by_its_name_with_random_weights(name, tmp_path, monkeypatch):
    timm = import_timm()
    create = timm.create_model

    def small_and_random(model, pretrained=False, **settings):
        return create(model, pretrained=False, **SMALL[model.split("_")[0]], **settings)

    monkeypatch.setattr(timm, "create_model", small_and_random)
    monkeypatch.setattr(pretrained_weights, "shipped", lambda model: None)
    torch.manual_seed(0)
    cfg = named(name)
    assert cfg.pixel_network.model in {*timm.list_pretrained(), *SHIPPED}
    model, inputs = trained(small(cfg, text_folder("bert", tmp_path / "bert")))
    assert np.isfinite(model.predict_proba(inputs)).all()
    if isinstance(model, FusionModel):  # its trunk is no chain of layers, so timm says which there are
        first, last = rates(model, inputs)
        assert first < last == cfg.train.backbone_lr


def test_each_layer_of_a_caption_model_learns_more_slowly_than_the_one_behind_it():
    layers = LateLayers([torch.nn.Linear(1, 1) for _ in range(3)])
    found = layer_rates(layers, 1.0, 0.5)
    assert [rate for _, rate in found] == [1.0, 1.0, 0.5, 0.25]
    assert found[1][0] is layers.layers[2] and found[-1][0] is layers.layers[0]
    assert layer_rates(layers, 1.0, 1.0) == [(layers, 1.0)]

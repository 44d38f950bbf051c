"""Any timm backbone and any transformer: frozen, as trunk or tuned tail, and end to end; files that do not fit."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import fusion_toy
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import FAMILIES, text_folder, timm_weights

from tandem import Labeler
from tandem.artifacts.paths import Paths
from tandem.bundling.bundle_writer import write_bundle
from tandem.config.encoders import CaptionEncoder, ImageEncoder, TokenEncoder, TrunkEncoder
from tandem.config.experiments import FinetuneExperiment, FusionExperiment, HeadExperiment
from tandem.config.training import FinetuneTraining, Fusion, FusionTraining, HeadTraining
from tandem.explain.explain_image import explain_image
from tandem.features import image_encoder, text_encoder
from tandem.features.image_backbone_split import Normalise, early_tensors, late_stages
from tandem.features.image_layout import set_image_size
from tandem.features.pretrained_weights import load_backbone, load_sentences, save_backbone
from tandem.features.text_backbone_split import late_layers, load_model
from tandem.features.weights_identity import weights_identity
from tandem.graph.experiment_dir import Experiments
from tandem.models.base import TrainingRun
from tandem.models.finetune import FinetunedModel
from tandem.models.inputs import Inputs
from tandem.models.parameter_groups import parameter_groups
from tandem.runtime import torch_setup as runtime

CAPTIONS = ["a cat two dog a cat a dog cat dog a a", "two dog", "", "a"]


@pytest.fixture(autouse=True)
def one_thread_and_full_precision(monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "1")
    monkeypatch.setattr(runtime, "has_bfloat16", lambda kind: False)


def pixels(size: int, n: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (n, size, size, 3), np.uint8)


def encoded(cfg, items) -> np.ndarray:
    return np.concatenate(list((text_encoder if cfg.reads == "caption" else image_encoder).load_encoder(cfg)(items)))


def whole_features(cfg: TrunkEncoder | ImageEncoder, images: np.ndarray) -> torch.Tensor:
    network = set_image_size(load_backbone(cfg.model, cfg.weights), cfg.model, cfg.size).eval()
    with torch.inference_mode():
        return network.forward_features(Normalise(network)(torch.from_numpy(images)))


# ---- images


@pytest.mark.parametrize(
    ("name", "size", "tune", "states", "last"),
    [
        ("test_vit", 64, "blocks.4", (17, 64), (64, 4, 4)),  # a class token
        ("test_vit4", 64, "blocks.2", (17, 96), (96, 4, 4)),  # a register token, no class token
        ("vit_tiny_patch16_dinov3_qkvb", 32, "blocks.11", (9, 192), (192, 2, 2)),  # EVA: rotary embeddings
        ("test_mambaout", 64, "stages.2", (8, 8, 32), (64, 2, 2)),  # channels last
        pytest.param("swin_tiny_patch4_window7_224", 64, "layers.3", (4, 4, 384), (768, 2, 2), marks=pytest.mark.slow),
        # patches of a convolutional network
        pytest.param("vit_tiny_r_s16_p8_224", 64, "blocks.11", (5, 192), (192, 2, 2), marks=pytest.mark.slow),
        ("test_convnext", 64, "stages.2", (8, 8, 32), (64, 2, 2)),
        ("test_maxvit", 64, "stages.2", (8, 8, 64), (128, 2, 2)),
    ],
)
def test_early_and_late_stages_are_the_whole_network_in_every_layout(tmp_path, name, size, tune, states, last):
    weights = timm_weights(name, tmp_path / "w.safetensors")
    cfg = TrunkEncoder(model=name, weights=weights, size=size, tune=tune, mirror=False)
    maps = encoded(cfg, list(pixels(size)))
    assert maps.shape[2:] == states
    late = late_stages(cfg).eval()
    with torch.inference_mode():
        own, found = late.states(torch.from_numpy(maps[:, 0])), late(torch.from_numpy(maps[:, 0]))
    assert torch.allclose(own, whole_features(cfg, pixels(size)), atol=1e-3)
    assert found.shape[1:] == last
    kept = early_tensors(cfg)
    assert kept and not any(key.startswith(f"{tune}.") for key in kept)


def test_a_transformer_is_trained_from_pixels_where_nothing_is_frozen(tmp_path):
    cfg = TrunkEncoder(model="test_vit", weights=timm_weights("test_vit", tmp_path / "w.safetensors"), size=64, tune="")
    with torch.inference_mode():
        found = late_stages(cfg).eval()(torch.from_numpy(pixels(64)))
    expected = whole_features(cfg, pixels(64))[:, 1:].mT.unflatten(2, (4, 4))
    assert torch.allclose(found, expected, atol=1e-4) and early_tensors(cfg) == {}


def test_a_cut_that_does_not_exist_names_those_that_do_the_nearest_first(tmp_path):
    weights = timm_weights("test_vit", tmp_path / "w.safetensors")
    with pytest.raises(
        ValueError, match=r"tune = 'blocks.9': test_vit can be split before one of \['blocks.5', 'blocks.4'"
    ):
        late_stages(TrunkEncoder(model="test_vit", weights=weights, size=64, tune="blocks.9"))


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("test_vit", 70, "test_vit takes multiples of 16, such as 64"),
        ("test_maxvit", 100, "test_maxvit takes 96 or 128"),
        ("levit_128s", 200, "levit_128s takes .*224"),
    ],
)
def test_a_size_that_a_network_does_not_take_is_an_error_that_names_some_that_it_takes(tmp_path, name, size, message):
    cfg = ImageEncoder(model=name, weights=timm_weights(name, tmp_path / "w.safetensors"), size=size)
    with pytest.raises(ValueError, match=f"size = {size}: {message}"):
        image_encoder.load_encoder(cfg)


def test_frozen_features_are_pooled_over_positions_alone_beside_the_class_token(tmp_path):
    cfg = ImageEncoder(
        model="test_vit", weights=timm_weights("test_vit", tmp_path / "w.safetensors"), size=32, pool="avg"
    )
    states = whole_features(cfg, pixels(32)).numpy()  # a class token, then 2 x 2 positions
    assert states.shape == (2, 5, 64)
    token, mean, largest = states[:, 0], states[:, 1:].mean(1), states[:, 1:].max(1)
    for pool, parts in (("token", [token]), ("avg", [token, mean]), ("avgmax", [token, mean, largest])):
        found = encoded(cfg.model_copy(update={"pool": pool}), list(pixels(32)))
        assert np.allclose(found[:, 0], np.concatenate(parts, 1), atol=1e-4)


def test_a_register_token_is_no_class_token(tmp_path):
    weights = timm_weights("test_vit4", tmp_path / "w.safetensors")
    cfg = ImageEncoder(model="test_vit4", weights=weights, size=32, pool="avg")
    states = whole_features(cfg, pixels(32)).numpy()
    assert np.allclose(encoded(cfg, list(pixels(32)))[:, 0], states[:, 1:].mean(1), atol=1e-4)
    with pytest.raises(ValueError, match="test_vit4 has no class token"):
        encoded(cfg.model_copy(update={"pool": "token"}), list(pixels(32)))


def test_a_map_with_channels_last_is_pooled_over_its_positions(tmp_path):
    name = "test_mambaout"
    cfg = ImageEncoder(model=name, weights=timm_weights(name, tmp_path / "w.safetensors"), size=64, pool="avg")
    states = whole_features(cfg, pixels(64))
    assert states.shape == (2, 2, 2, 64)
    assert np.allclose(encoded(cfg, list(pixels(64)))[:, 0], states.mean((1, 2)), atol=1e-4)


def test_a_transformer_of_another_size_is_trained_end_to_end_and_saved(tmp_path):
    weights = timm_weights("test_vit", tmp_path / "w.safetensors")
    train = FinetuneTraining(epochs=1, batch=2, layer_decay=0.5)
    cfg = FinetuneExperiment(kind="finetune", model="test_vit", weights=weights, size=32, train=train)
    model, inputs = FinetunedModel(cfg, 2), Inputs(list("abcd"), files=list(pixels(32, 4)))
    model.fit(inputs, np.eye(2, dtype=np.uint8)[[0, 1, 0, 1]], TrainingRun(0))
    model.save(tmp_path / "fold0.safetensors")
    found = FinetunedModel(cfg, 2).load(tmp_path / "fold0.safetensors").predict_proba(inputs)
    assert np.abs(found - model.predict_proba(inputs)).max() < 0.01


def test_each_block_of_a_transformer_has_the_rate_of_its_depth():
    network = runtime.import_timm().create_model("test_vit", num_classes=2)
    groups = parameter_groups(network, FinetuneTraining(), 1.0, [(network.head, 7.0)], layer_decay=0.5)
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rate[id(network.head.weight)] == 7.0
    block = [rate[id(b.mlp.fc1.weight)] for b in network.blocks]
    assert block == sorted(block) and all(b == 2 * a for a, b in zip(block, block[1:], strict=False))
    assert rate[id(network.patch_embed.proj.weight)] == block[0] / 2


# ---- captions


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_states_and_the_tuned_tail_are_the_whole_model(tmp_path, family, capsys):
    model = text_folder(family, tmp_path / family)
    expected = load_sentences(model).encode(CAPTIONS, output_value="token_embeddings")
    for tune in (0, 1, 2) if family == "deberta-v2" else (0, 1, 2, 3):
        cfg = TokenEncoder(model=model, tune=tune, max_tokens=16)
        states = encoded(cfg, CAPTIONS)
        assert states.shape == (4, 1, 16, 16)
        with torch.inference_mode():
            found = late_layers(cfg).eval()(torch.from_numpy(states[:, 0].astype(np.float16)).float())
        for row, own in zip(found, expected, strict=True):
            assert torch.allclose(row[: len(own)], own, atol=0.02)
            assert (row[len(own) :] == 0).all()
    assert "no modules.json, so its token states are pooled by their mean" in capsys.readouterr().err


def test_a_tail_is_trained_with_its_own_relative_positions(tmp_path):
    late = late_layers(TokenEncoder(model=text_folder("t5", tmp_path / "t5"), tune=1))
    names = [name for name, _ in late.named_parameters()]
    assert any("relative_attention_bias" in name for name in names)
    assert not any("embed" in name for name in names)


def test_what_can_not_be_split_says_so(tmp_path):
    model = text_folder("deberta-v2", tmp_path / "d")
    with pytest.raises(ValueError, match="can't be split with tune = 3"):
        text_encoder.load_encoder(TokenEncoder(model=model, tune=3))
    with pytest.raises(ValueError, match="3 layers, but tune = 4"):
        late_layers(TokenEncoder(model=model, tune=4))


def test_a_prompt_is_put_before_each_caption_by_name_or_as_text(tmp_path):
    model = text_folder("bert", tmp_path / "bert")
    sentences = load_sentences(model)
    sentences.prompts = {"query": "query : "}
    sentences.save(str(tmp_path / "named"), create_model_card=False)
    plain = CaptionEncoder(model=str(tmp_path / "named"), max_tokens=16)
    expected = encoded(plain, ["query : a cat"])
    for prompt in ("query", "query : "):
        assert np.allclose(encoded(plain.model_copy(update={"prompt": prompt}), ["a cat"]), expected, atol=1e-5)
    assert not np.allclose(encoded(plain, ["a cat"]), expected, atol=1e-2)
    with pytest.raises(ValueError, match=r"prompt = 'qury': .* has the prompts \['query'\]"):
        load_model(plain.model_copy(update={"prompt": "qury"}))
    assert plain.slug == CaptionEncoder(model=str(tmp_path / "named"), max_tokens=16, prompt="").slug


def test_captions_are_cut_at_the_models_own_limit(tmp_path):
    cfg = CaptionEncoder(model=text_folder("roberta", tmp_path / "r"), max_tokens=500)
    assert load_model(cfg).max_seq_length == 39  # 40 positions, of which one is for padding
    assert encoded(cfg, ["a cat " * 100]).shape == (1, 1, 48)


# ---- files


def test_a_folder_with_one_safetensors_file_and_its_normalisation_are_used_and_bundled(tmp_path):
    folder = tmp_path / "net"
    described_folder(folder)
    network = load_backbone("test_vit", str(folder))
    assert network.pretrained_cfg["mean"] == [0.1, 0.2, 0.3]
    save_backbone("test_vit", str(folder), tmp_path / "packed.safetensors", network.state_dict())
    assert load_backbone("test_vit", str(tmp_path / "packed.safetensors")).pretrained_cfg["mean"] == [0.1, 0.2, 0.3]
    before = weights_identity(ImageEncoder(weights=str(folder)))
    (folder / "config.json").write_text("{}")
    assert weights_identity(ImageEncoder(weights=str(folder))) != before


def test_weights_that_do_not_fit_name_the_first_tensors_with_both_shapes(tmp_path):
    file = timm_weights("test_vit", tmp_path / "w.safetensors")
    state = {k: t for k, t in load_file(file).items() if k != "blocks.0.norm1.bias"}
    save_file(state | {"blocks.0.norm1.weight": torch.zeros(3), "extra": torch.zeros(1)}, file)
    message = (
        r"2 of \d+ tensors differ, first blocks.0.norm1.weight: got \(3,\), expected \(64,\); "
        r"blocks.0.norm1.bias: got nothing, expected \(64,\); unknown there: extra"
    )
    with pytest.raises(ValueError, match=message):
        load_backbone("test_vit", file)


@pytest.mark.parametrize("change", ["shape", "missing"])
def test_a_text_folder_whose_weights_do_not_fit_names_the_tensor(tmp_path, change):
    model = text_folder("distilbert", tmp_path / "d")
    file, name = tmp_path / "d" / "model.safetensors", "transformer.layer.1.ffn.lin1.bias"
    state = load_file(file)
    given = state | {name: torch.zeros(5)} if change == "shape" else {k: t for k, t in state.items() if k != name}
    save_file(given, file, {"format": "pt"})
    with pytest.raises(ValueError, match=rf"1 of \d+ tensors differ, first {name}: got .*, expected \(32,\)"):
        load_sentences(model)


def test_pickled_weights_are_refused_with_how_to_convert_them(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no pickles.*To convert it: python -c .*weights_only=True.*w\.safetensors"):
        load_backbone("test_vit", str(tmp_path / "w.pth"))
    model = Path(text_folder("bert", tmp_path / "bert"))
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model.bin is pickled.*To convert it: python -c"):
        load_sentences(str(model))


HUB = """
from tandem.features.pretrained_weights import load_backbone, load_sentences
load_sentences("all-MiniLM-L6-v2"), load_backbone("tf_efficientnet_lite0", "")
assert load_sentences("you/tiny").get_embedding_dimension() == 16
assert load_backbone("test_vit.r160_in1k", "").num_features == 64
load_sentences("all-MiniLM-L6-v2")
"""


@pytest.mark.slow
def test_hub_models_load_in_a_process_that_has_loaded_shipped_ones(tmp_path):
    folders = [tmp_path / "models--you--tiny", tmp_path / "models--timm--test_vit.r160_in1k"]
    for folder in folders:
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("abc")
        (folder / "snapshots" / "abc").mkdir(parents=True)
    text, image = (folder / "snapshots" / "abc" for folder in folders)
    text_folder("bert", text)
    timm_weights("test_vit", image / "model.safetensors")
    env = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}  # a download would fail
    run = subprocess.run([sys.executable, "-c", HUB], env=env, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr


# ---- from features to a bundle


def described_folder(folder: Path) -> None:
    """A network that a folder describes in timm's form, with a normalisation of its own."""
    folder.mkdir()
    timm_weights("test_vit", folder / "model.safetensors")
    pretrained = {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "input_size": [3, 160, 160], "num_classes": 1000}
    about = {"architecture": "test_vit", "num_classes": 1000, "pretrained_cfg": pretrained}
    (folder / "config.json").write_text(json.dumps(about))


@pytest.fixture(scope="module")
def competition(tmp_path_factory) -> Paths:
    """Trained on a transformer's class token, a transformer's late blocks, and a caption model's last layer."""
    root = tmp_path_factory.mktemp("encoders")
    with contextlib.chdir(root), pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANDEM_THREADS", "1")
        timm_weights("test_vit", root / "vit.safetensors")
        timm_weights("test_mambaout", root / "maps.safetensors")
        text_folder("modernbert", root / "modern")
        trunk = TrunkEncoder(model="test_vit", weights="vit.safetensors", size=64, tune="blocks.4")
        frozen = ImageEncoder(model="test_mambaout", weights="maps.safetensors", size=64)
        tail = TokenEncoder(model="modern", tune=1, max_tokens=16)
        small = Fusion(hidden=16, dropout=0.0, input_dropout=0.0, heads=1, how="attention")
        fitting = FusionTraining(epochs=2, batch=8, min_steps=0, lr=1e-2, tune_from=0)
        join = FusionExperiment(kind="fusion", trunk=trunk, frozen=(frozen,), tokens=tail, fusion=small, train=fitting)
        gated = small.model_copy(update={"how": "gated", "label_pooling": False})
        described_folder(root / "net")
        image = ImageEncoder(model="local-dir:net", size=32, pool="token")
        caption, short = CaptionEncoder(model="modern", max_tokens=16), HeadTraining(epochs=1, min_steps=2)
        looks = HeadExperiment(kind="head", image=image, caption=caption, train=short)
        return fusion_toy.build(
            Paths("toy", root), join=join, looks=looks, gated=join.model_copy(update={"fusion": gated})
        )


@pytest.mark.parametrize("name", ["join", "looks"])
def test_a_bundle_of_a_transformer_and_a_caption_model_predicts_what_was_trained(
    competition, tmp_path, monkeypatch, name
):
    monkeypatch.chdir(competition.root)
    write_bundle(Experiments(competition)[name], 0, tmp_path / "bundle")
    rows = [competition.input / "3.png", competition.input / "4.png"], ["a cat", "two dog"]
    expected, found = (
        np.array([[*one.proba.values()] for one in labeler.label(*rows)])
        for labeler in (Labeler.of(competition, name), Labeler.load(tmp_path / "bundle"))
    )
    assert np.abs(found - expected).max() < 0.03
    folders = (tmp_path / "bundle" / "weights").glob("*/*.safetensors")
    assert {str(t.dtype) for file in folders for t in load_file(file).values()} <= {"torch.int8", "torch.float16"}


@pytest.mark.parametrize("name", ["join", "gated"])
def test_a_heat_map_lies_on_the_grid_of_a_transformers_tokens(competition, monkeypatch, name):
    monkeypatch.chdir(competition.root)
    found = explain_image(competition, "98.png", name)
    assert found.heat is not None and found.heat.shape == (2, 4, 4) and np.isfinite(found.heat).all()
    assert found.heat.max() > 0

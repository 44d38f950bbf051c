"""Networks split in two: both parts together compute the same."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tandem.config.encoders import ImageEncoder, TokenEncoder, TrunkEncoder
from tandem.features import image_backbone_split as trunk
from tandem.features import image_encoder as images
from tandem.features import text_backbone_split as tokens
from tandem.features import text_encoder
from tandem.features.image_backbone_split import Normalise
from tandem.features.pretrained_weights import load_backbone, load_sentences
from tandem.runtime import torch_setup as runtime
from tandem.runtime.torch_setup import import_timm

CAPTIONS = ["A cat sleeps on a sofa.", "Two buses.", ""]


@pytest.fixture(autouse=True)
def one_thread_and_full_precision(monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "1")
    torch.set_num_threads(1)
    monkeypatch.setattr(runtime, "has_bfloat16", lambda kind: False)


def photo(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)


@pytest.fixture
def files(tmp_path) -> list:
    for i in range(3):
        Image.fromarray(photo(i)).save(tmp_path / f"{i}.png")
    return [tmp_path / f"{i}.png" for i in range(3)]


def weights_of(name: str, folder) -> str:
    """Random weights of any timm network as a local file, with running statistics that are not 0 and 1."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = import_timm().create_model(name, pretrained=False)
        state = {k: v + 0.1 * torch.rand_like(v) if "running" in k else v for k, v in network.state_dict().items()}
    save_file(state, folder / f"{name}.safetensors")
    return str(folder / f"{name}.safetensors")


def whole(cfg: TrunkEncoder, pixels: np.ndarray) -> torch.Tensor:
    network = load_backbone(cfg.model, cfg.weights).eval()
    with torch.inference_mode():
        return network.forward_features(Normalise(network)(torch.from_numpy(pixels)))


@pytest.mark.parametrize("tune", ["blocks.5", "blocks.5.2", "blocks.6", "conv_head"])
def test_early_and_late_stages_are_the_whole_network(files, tune):
    cfg = TrunkEncoder(size=64, tune=tune)
    (maps,) = images.load_encoder(cfg)(files)
    assert maps.shape[:2] == (3, 2)
    late = trunk.late_stages(cfg).eval()
    pixels = np.stack([photo(i) for i in range(3)])
    with torch.inference_mode():
        for view, shown in enumerate((pixels, pixels[:, :, ::-1].copy())):
            got, expected = late(torch.from_numpy(maps[:, view])), whole(cfg, shown)
            assert torch.allclose(got, expected, atol=1e-3)


def test_early_tensors_are_those_that_the_early_stages_need(files, tmp_path):
    own = TrunkEncoder(size=64, tune="blocks.5.2")
    state = load_backbone(own.model, "").state_dict()
    kept = trunk.early_tensors(own)
    assert "blocks.5.1.conv_dw.weight" in kept and "blocks.5.2.conv_dw.weight" not in kept
    file = tmp_path / "early.safetensors"
    save_file({k: v if k in kept else torch.zeros_like(v) for k, v in state.items()}, file)
    (expected,), (got,) = (
        images.load_encoder(cfg)(files) for cfg in (own, own.model_copy(update={"weights": str(file)}))
    )
    assert np.abs(got - expected).max() < 1e-3


def test_a_residual_network_with_weights_from_a_file_can_be_split_too(files, tmp_path):
    cfg = TrunkEncoder(model="resnet10t", weights=weights_of("resnet10t", tmp_path), size=64, tune="layer3")
    (maps,) = images.load_encoder(cfg.model_copy(update={"mirror": False}))(files[:1])
    assert maps.shape == (1, 1, 8, 8, 128)
    with torch.inference_mode():
        got = trunk.late_stages(cfg).eval()(torch.from_numpy(maps[:, 0]))
    expected = whole(cfg, photo(0)[None])
    assert torch.allclose(got, expected, atol=1e-3)


def test_with_nothing_to_tune_the_late_stages_start_from_pixels():
    cfg = TrunkEncoder(size=64, tune="")
    with torch.inference_mode():
        got = trunk.late_stages(cfg).eval()(torch.from_numpy(photo(0)[None]))
    assert torch.allclose(got, whole(cfg, photo(0)[None]), atol=1e-4)


def test_an_unknown_place_to_split_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"tune = 'layer4': tf_efficientnet_lite0 can be split before .*'blocks.5.0'"):
        trunk.late_stages(TrunkEncoder(tune="layer4"))


def test_a_frozen_transformer_of_any_size_gives_its_class_token_and_the_mean_of_its_patches(files, tmp_path):
    name = "vit_tiny_patch16_224"
    cfg = ImageEncoder(model=name, weights=weights_of(name, tmp_path), size=64, pool="avg", mirror=False)
    (vectors,) = images.load_encoder(cfg)(files[:1])
    network = load_backbone(name, cfg.weights).eval()
    network.set_input_size((64, 64))
    with torch.inference_mode():
        states = network.forward_features(Normalise(network)(torch.from_numpy(photo(0)[None])))
    assert states.shape == (1, 1 + 4 * 4, 192)
    assert np.allclose(vectors[0, 0, :192], states[0, 0], atol=1e-4)
    assert np.allclose(vectors[0, 0, 192:], states[0, 1:].mean(0), atol=1e-4)


def test_a_size_that_is_no_multiple_of_the_patch_is_refused(files, tmp_path):
    name = "vit_tiny_patch16_224"
    cfg = ImageEncoder(model=name, weights=weights_of(name, tmp_path), size=70)
    with pytest.raises(ValueError, match="size = 70: vit_tiny_patch16_224 takes multiples of 16, such as 64"):
        next(images.load_encoder(cfg)(files[:1]))


@pytest.mark.parametrize("tune", [0, 3, 6])
def test_frozen_and_trained_layers_are_the_whole_caption_model(tune):
    cfg = TokenEncoder(tune=tune, max_tokens=16)
    (states,) = text_encoder.load_encoder(cfg)(CAPTIONS)
    assert states.shape == (3, 1, 16, 384)
    with torch.inference_mode():
        got = tokens.late_layers(cfg).eval()(torch.from_numpy(states[:, 0]))
        expected = load_sentences(cfg.model).encode(CAPTIONS, output_value="token_embeddings")
    for i, own in enumerate(expected):
        assert torch.allclose(got[i, : len(own)], own, atol=1e-4)
        assert (got[i, len(own) :] == 0).all()


def test_more_layers_than_there_are_is_an_error():
    with pytest.raises(ValueError, match=r"6 layers, but tune = 7"):
        tokens.late_layers(TokenEncoder(tune=7))

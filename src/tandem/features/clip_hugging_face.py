"""CLIP-like pairs of transformers, from a folder."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.features.clip_pair import HUGGING_FACE, Pair, Pixels, misfit
from tandem.features.model_folder import check_vocabulary
from tandem.features.text_weights import quiet_transformers
from tandem.runtime.torch_setup import patch_torchvision

KINDS = ("clip", "metaclip_2", "siglip")  # model_type of pairs whose images are squares of one size
IMAGE_PARTS = ("vision_model.", "visual_projection.")
WEIGHTS = "model.safetensors"
PREPROCESSOR = "preprocessor_config.json"


def load_hugging_face(folder: Path) -> Pair:
    """The pair in a folder as transformers writes it; raises ValueError where files are missing or don't fit."""
    patch_torchvision()
    from transformers import AutoModel, AutoTokenizer

    kind = read_json(folder / HUGGING_FACE).get("model_type")
    if kind not in KINDS:
        raise ValueError(f"{folder / HUGGING_FACE}: model_type is {kind!r}; expected one of {', '.join(KINDS)}")
    if not any(folder.glob("model*.safetensors")):
        raise ValueError(f"{folder}: has no {WEIGHTS}; expected it beside {HUGGING_FACE} (no pickles)")
    here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with quiet_transformers():
        network, info = AutoModel.from_pretrained(
            folder,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **here,
        )
    given = dict.fromkeys(info["missing_keys"], "nothing")
    given |= {name: tuple(shape) for name, shape, _ in info["mismatched_keys"]}
    if given:
        own = {name: tuple(t.shape) for name, t in network.state_dict().items() if name in given}
        raise misfit(folder / WEIGHTS, own, given)
    tokenizer = AutoTokenizer.from_pretrained(folder, **here)
    check_vocabulary(folder, tokenizer, network.text_model)
    pixels = _pixels(folder, network.config.vision_config.image_size)

    def embed_images(images: torch.Tensor) -> torch.Tensor:
        return _vectors(network.get_image_features(pixel_values=images))

    def embed_texts(texts: Sequence[str]) -> torch.Tensor:
        longest = network.config.text_config.max_position_embeddings
        tokens = tokenizer(list(texts), padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
        used = ("input_ids",) if kind == "siglip" else ("input_ids", "attention_mask")  # SigLIP reads the padding too
        return _vectors(network.get_text_features(**{name: tokens[name].to(network.device) for name in used}))

    scale = float(network.logit_scale.detach().exp())
    describe = partial(_describe, network.config, pixels, tokenizer)
    return Pair(network.eval(), pixels, embed_images, embed_texts, scale, IMAGE_PARTS, describe, WEIGHTS)


def _vectors(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def _pixels(folder: Path, size: int) -> Pixels:
    whole = folder / "processor_config.json"
    if (folder / PREPROCESSOR).is_file():
        about = read_json(folder / PREPROCESSOR)
    else:
        about = read_json(whole).get("image_processor", {}) if whole.is_file() else {}
    if not {"image_mean", "image_std"} <= about.keys():
        raise ValueError(
            f"{folder}: expected {PREPROCESSOR} with image_mean and image_std, to know what images it takes"
        )
    return Pixels(size, bool(about.get("do_center_crop", False)), about["image_mean"], about["image_std"])


def _describe(config: Any, pixels: Pixels, tokenizer: Any, folder: Path) -> None:
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    about = {"image_mean": list(pixels.mean), "image_std": list(pixels.std), "do_center_crop": pixels.crop}
    write_json(folder / PREPROCESSOR, about)

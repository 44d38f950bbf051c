"""CLIP-like pairs of open_clip: by architecture and tag, by the timm name of an image tower, or from a folder."""

from collections.abc import Sequence
from copy import deepcopy
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.features.clip_pair import OPEN_CLIP, OPEN_CLIP_WEIGHTS, Pair, Pixels, misfit, no_weights
from tandem.runtime.torch_setup import import_timm

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def import_open_clip() -> ModuleType:
    import_timm()
    import open_clip

    return open_clip


def load_open_clip(model: str) -> Pair:
    """The pair `ARCHITECTURE/TAG`, or whose image tower has the timm name `model`; its weights come from the hub."""
    open_clip = import_open_clip()
    architecture, tag = _named(model)
    about = open_clip.get_pretrained_cfg(architecture, tag)
    repository, _, file = about["hf_hub"].rpartition("/")
    try:
        from huggingface_hub import hf_hub_download

        file = str(Path(file).with_suffix(".safetensors")) if file else OPEN_CLIP_WEIGHTS
        weights = Path(hf_hub_download(repository, file))
        tokenizer = open_clip.get_tokenizer(architecture)
    except Exception as error:  # the hub's client raises many kinds: offline, unknown name, no permission
        raise no_weights(model, repository, error) from error
    settings = open_clip.get_model_config(architecture)
    if about.get("quick_gelu"):
        settings["quick_gelu"] = True
    return _pair(settings, about, weights, tokenizer)


def _named(model: str) -> tuple[str, str]:
    """(architecture, tag); raises ValueError with similar names."""
    open_clip = import_open_clip()
    known = open_clip.list_pretrained()
    architecture, _, tag = model.rpartition("/")
    if (architecture, tag) in known:
        return architecture, tag
    hubs = {open_clip.get_pretrained_cfg(*pair)["hf_hub"].rpartition("/")[0]: pair for pair in reversed(known)}
    towers = [f"timm/{model}", getattr(import_timm().get_pretrained_cfg(model), "hf_hub_id", None)]
    if found := next((hubs[tower] for tower in towers if tower in hubs), None):
        return found
    tags = [f"{a}/{t}" for a, t in known if a in (model, architecture)]
    near = tags or get_close_matches(model, [f"{a}/{t}" for a, t in known], 5, 0)
    raise ValueError(
        f"model = {model!r} is neither a folder nor a pair that open_clip has; expected ARCHITECTURE/TAG such as "
        f"{near[:8]}, hf-hub:ORGANISATION/NAME, or the timm name of an image tower with a text tower in open_clip"
    )


def load_open_clip_folder(folder: Path) -> Pair:
    """The pair in a folder as open_clip writes it."""
    described, weights = folder / OPEN_CLIP, folder / OPEN_CLIP_WEIGHTS
    if not weights.is_file():
        raise ValueError(f"{folder}: has no {OPEN_CLIP_WEIGHTS}; expected it beside {OPEN_CLIP} (no pickles)")
    about = read_json(described)
    settings = about.get("model_cfg")
    if not isinstance(settings, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= settings.keys():
        raise ValueError(f"{described}: expected model_cfg with embed_dim, vision_cfg and text_cfg")
    # the tokenizer's settings come with the weights: no code in the folder may be run
    own = {"trust_remote_code": False} if settings["text_cfg"].get("hf_tokenizer_name") else {}
    tokenizer = import_open_clip().get_tokenizer(f"local-dir:{folder}", **own)
    return _pair(settings, about.get("preprocess_cfg", {}), weights, tokenizer)


def _pair(settings: dict[str, Any], pixels: dict[str, Any], weights: Path, tokenizer: Any) -> Pair:
    network: Any = _load(settings, weights)
    size = network.visual.image_size
    size = size if isinstance(size, int) else size[0]
    shown = Pixels(
        size,
        pixels.get("resize_mode", "shortest") == "shortest",
        pixels.get("mean") or CLIP_MEAN,
        pixels.get("std") or CLIP_STD,
    )

    def embed_texts(texts: Sequence[str]) -> torch.Tensor:
        return network.encode_text(tokenizer(list(texts)).to(network.logit_scale.device))

    scale, parts = float(network.logit_scale.detach().exp()), ("visual.",)
    describe = partial(_describe, settings, shown, tokenizer)
    return Pair(network, shown, network.encode_image, embed_texts, scale, parts, describe, OPEN_CLIP_WEIGHTS)


def _load(settings: dict[str, Any], weights: Path) -> torch.nn.Module:
    """The network that `settings` describe, with the weights of a safetensors file."""
    factory = import_open_clip().factory
    settings = deepcopy(settings)
    settings["vision_cfg"]["timm_model_pretrained"] = settings["text_cfg"]["hf_model_pretrained"] = False
    custom = settings.pop("custom_text", False) or "hf_model_name" in settings["text_cfg"]
    kind = factory.CoCa if "multimodal_cfg" in settings else factory.CustomTextCLIP if custom else factory.CLIP
    network = kind(**settings)
    try:
        factory.load_checkpoint(network, str(weights))
    except RuntimeError as error:
        given = factory.load_state_dict(str(weights))
        shapes = [{name: tuple(t.shape) for name, t in state.items()} for state in (network.state_dict(), given)]
        raise misfit(weights, *shapes) from error
    return network.eval()


def _describe(settings: dict[str, Any], pixels: Pixels, tokenizer: Any, folder: Path) -> None:
    if "hf_model_name" in settings["text_cfg"]:
        name = settings["text_cfg"]["hf_model_name"]
        raise ValueError(f"the text tower {name!r} is described on the hub, so a bundle can't hold it")
    about = {"mean": list(pixels.mean), "std": list(pixels.std), "resize_mode": "shortest" if pixels.crop else "squash"}
    write_json(folder / OPEN_CLIP, {"model_cfg": settings, "preprocess_cfg": about})
    if hasattr(tokenizer, "save_pretrained"):
        tokenizer.save_pretrained(folder)

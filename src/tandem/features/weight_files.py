"""Local files of pretrained weights: which one is read, what is refused, and which tensors don't fit a network."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tandem.artifacts.tensor_file import open_tensors
from tandem.features.model_folder import read_limited_json

SHOWN = 3  # tensors that an error names
INPUT = ("mean", "std", "interpolation")  # how a network's images are prepared: keys of timm's pretrained_cfg
ABOUT = "pretrained_cfg"  # where a folder's config.json, or the metadata of a file, holds them
PICKLED = (".bin", ".pth", ".pt", ".ckpt", ".pkl", ".tar")
Shape = tuple[int, ...]


def weights_file(weights: str) -> Path:
    """The safetensors file that `weights` names: itself, or the one in that folder (`model.safetensors` of several).

    Raises FileNotFoundError where there is none, ValueError for another type of file.
    """
    path = Path(weights)
    if path.is_dir():
        found = sorted(path.glob("*.safetensors"))
        if (path / "model.safetensors") in found or len(found) == 1:
            return path / "model.safetensors" if len(found) > 1 else found[0]
        if found:
            raise ValueError(f"weights = {weights!r}: has {[f.name for f in found]}; name one of these files")
        refuse_pickles(path)
        raise FileNotFoundError(f"weights = {weights!r}: this folder has no .safetensors file")
    if path.suffix != ".safetensors":
        raise ValueError(
            f'weights = {weights!r}: expected a .safetensors file (no pickles) or ""' + _conversion(path, path.stem)
        )
    if not path.is_file():
        raise FileNotFoundError(f"weights = {weights!r}: there is no such file")
    return path


def refuse_pickles(folder: Path) -> None:
    """Raises ValueError where the folder has pickled weights and no safetensors file, with how to convert them."""
    pickled = sorted(file for file in folder.rglob("*") if file.suffix in PICKLED)
    if pickled and not any(folder.rglob("*.safetensors")):
        raise ValueError(
            f"{folder}: {pickled[0].name} is pickled, which may run code when it is opened; expected .safetensors"
            + _conversion(pickled[0], "model")
        )


def _conversion(file: Path, stem: str) -> str:
    if file.suffix not in PICKLED:
        return ""
    save = f"save_file({{k: v.contiguous().clone() for k, v in s.items()}}, '{file.parent / stem}.safetensors')"
    code = f"s = torch.load('{file}', weights_only=True); {save}"
    return f'. To convert it: python -c "import torch; from safetensors.torch import save_file; {code}"'


def misfit(given: Mapping[str, Shape], expected: Mapping[str, Shape]) -> str:
    """What differs between the tensors of a file and those that a network needs; "" where all are there.

    >>> misfit({"a": (2, 3), "x": (1,)}, {"a": (4, 3), "b": (5,)})
    '2 of 2 tensors differ, first a: got (2, 3), expected (4, 3); b: got nothing, expected (5,); unknown there: x'
    """
    wrong = [name for name, shape in expected.items() if given.get(name) != shape]
    if not wrong:
        return ""
    parts = [f"{name}: got {given.get(name, 'nothing')}, expected {expected[name]}" for name in wrong[:SHOWN]]
    unknown = [name for name in given if name not in expected][:SHOWN]
    text = f"{len(wrong)} of {len(expected)} tensors differ, first {'; '.join(parts)}"
    return text + (f"; unknown there: {', '.join(unknown)}" if unknown else "")


def shapes(file: Path) -> dict[str, Shape]:
    """The shape of each tensor of a safetensors file; reads only its header. Raises ValueError where it is none."""
    with open_tensors(file, "np") as opened:
        return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118


def own_input(weights: str) -> dict[str, Any]:
    """`mean`, `std` and `interpolation` that the weights were trained with, where the folder's config.json or the
    file's metadata says so.

    >>> own_input("")  # timm knows them by the model's name
    {}
    """
    if not weights:
        return {}
    config = Path(weights) / "config.json"
    if config.is_file():
        about = read_limited_json(config)
        about = about.get(ABOUT, about)
    else:
        with open_tensors(weights_file(weights), "np") as opened:
            about = json.loads((opened.metadata() or {}).get(ABOUT, "{}"))
    if not isinstance(about, dict):
        raise ValueError(f"{weights}: {ABOUT} is {about!r:.80}; expected mean, std and interpolation by name")
    return {key: about[key] for key in INPUT if key in about}


def card_licence(folder: Path) -> str:
    """The licence that the README.md of a model's folder names above its text; "" where it names none."""
    card = folder / "README.md"
    head = card.read_text(encoding="utf-8").split("---")[1:2] if card.is_file() else []
    lines = head[0].splitlines() if head else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("license:")), "")

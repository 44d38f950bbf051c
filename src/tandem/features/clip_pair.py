"""CLIP-like pairs: an image tower and a text tower whose vectors lie in one space (Radford et al. 2021, 2103.00020)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

OPEN_CLIP, HUGGING_FACE = "open_clip_config.json", "config.json"  # the file that describes a pair in its folder
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
SHOWN = 3  # tensors that a message names


@dataclass(frozen=True)
class Pixels:
    """The images that the image tower was trained on."""

    size: int  # side in pixels
    crop: bool  # the middle of the image, not all of it
    mean: Sequence[float]  # of each colour, of values from 0 to 1
    std: Sequence[float]


@dataclass(frozen=True)
class Pair:
    """A pair on the CPU.

    network       both towers
    embed_images  normalised pixels (b, 3, size, size) -> (b, d)
    embed_texts   (b,) texts -> (b, d)
    logit_scale   factor of the cosine of two vectors
    image_parts   how the names of the image tower's tensors begin
    describe      writes all files of the pair's folder but the weights
    weights       name of the file of weights in that folder
    """

    network: "nn.Module"
    pixels: Pixels
    embed_images: "Callable[[torch.Tensor], torch.Tensor]"
    embed_texts: "Callable[[Sequence[str]], torch.Tensor]"
    logit_scale: float
    image_parts: tuple[str, ...]
    describe: Callable[[Path], object]
    weights: str

    def tensors(self, image: bool, text: bool) -> "dict[str, torch.Tensor]":
        """Those of the image tower, the text tower, or both, by name."""
        state = self.network.state_dict()
        return {name: t for name, t in state.items() if (image if name.startswith(self.image_parts) else text)}


def expected_folder() -> str:
    """What a folder of a pair must hold, for messages."""
    return (
        f"expected a folder with {OPEN_CLIP} and {OPEN_CLIP_WEIGHTS} (open_clip), or with {HUGGING_FACE}, "
        "model.safetensors, preprocessor_config.json and a tokenizer (a CLIP or SigLIP of transformers)"
    )


def no_weights(model: str, repository: str, error: Exception) -> ValueError:
    """The error where weights are neither here nor fetched."""
    return ValueError(
        f"model = {model!r}: no weights of a CLIP-like pair ship with Tandem, and these could not be fetched from the "
        f"hub ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}). With network, the same "
        f"command fetches them; without, fetch them elsewhere by: hf download {repository} --local-dir FOLDER, copy "
        f'the folder here, and write model = "FOLDER" ({expected_folder()})'
    )


def misfit(source: Path, own: Mapping[str, Any], given: Mapping[str, Any]) -> ValueError:
    """The error where the shapes `given` by a file are not the network's `own`, which names the first that differ."""
    names = [name for name in {**own, **given} if own.get(name) != given.get(name)]
    first = "; ".join(
        f"{name}: got {given.get(name, 'nothing')}, expected {own.get(name, 'nothing')}" for name in names[:SHOWN]
    )
    return ValueError(
        f"{source} does not fit the network that its folder describes: {len(names)} tensors differ: {first}"
    )

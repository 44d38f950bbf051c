"""Whether the weights in the folder of a Hugging Face or sentence-transformers model fit its config.json."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tandem.features.model_folder import read_limited_json
from tandem.features.weight_files import Shape, misfit, shapes

if TYPE_CHECKING:
    from torch import nn

MODULES = "modules.json"  # of a sentence-transformers folder: its parts
NOT_NEEDED = ("pooler.", "decoder.")  # parts that many files lack: token states are read, not what follows them


def text_misfit(folder: Path, network: "nn.Module | None") -> str:
    """What differs between a folder's tensors and those of the `network` that was loaded from it, or of the one in its
    config.json where none could be loaded (None); "" where nothing does."""
    place = _transformer_folder(folder)
    files = sorted(place.glob("*.safetensors"))
    there = {name: shape for file in files for name, shape in shapes(file).items()}
    if network is not None:
        prefix = getattr(network, "base_model_prefix", "")
        if not misfit({name.removeprefix(f"{prefix}."): shape for name, shape in there.items()}, _needed(network)):
            return ""
    if not (place / "config.json").is_file() or not files:
        return ""
    from transformers import AutoModel  # it knows which tensors are shared or renamed

    settings: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True, "use_safetensors": True}
    kind: Any = AutoModel if network is None else type(network)
    with quiet_transformers():
        loaded, found = kind.from_pretrained(str(place), local_files_only=True, **settings)
    needed = _needed(loaded)
    given = {name: shape for name, shape in needed.items() if name not in found["missing_keys"]}
    given |= {name: tuple(shape) for name, shape, _ in found["mismatched_keys"] if name in needed}
    return misfit(given | {name: () for name in sorted(found["unexpected_keys"])}, needed)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars, as a load takes milliseconds, and no tables of tensors, which `text_misfit` judges."""
    from transformers.utils import logging

    shows_bar, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shows_bar:
            logging.enable_progress_bar()


def _transformer_folder(folder: Path) -> Path:
    if not (folder / MODULES).is_file():
        return folder
    parts = read_limited_json(folder / MODULES)
    return folder / next((part["path"] for part in parts if str(part["type"]).endswith("Transformer")), "")


def _needed(network: "nn.Module") -> dict[str, Shape]:
    return {n: tuple(t.shape) for n, t in network.state_dict().items() if not n.startswith(NOT_NEEDED)}

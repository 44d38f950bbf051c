"""The identity of pretrained weights: part of the key of everything that is made with them. Imports nothing heavy."""

from collections.abc import Callable
from pathlib import Path

from tandem.artifacts.atomic_io import digest, file_digest
from tandem.config.encoders import Encoder
from tandem.config.experiments import FinetuneExperiment
from tandem.features.pretrained_weights import shipped
from tandem.features.weight_files import weights_file

UNRESOLVED = "unresolved"  # the revision of a hub name that was not downloaded yet


def weights_identity(network: Encoder | FinetuneExperiment, digest_of: Callable[[Path], str] = file_digest) -> str:
    """Names the content of the weights: `digest_of` a file or folder, or the revision of a hub name, else UNRESOLVED.
    Paths, relative to the working folder, do not matter. Raises where `weights` names no safetensors file."""
    model, weights = network.model, network.weights_name
    if network.weights_field == "weights" and weights:
        config = Path(weights) / "config.json"
        about = f"+{digest_of(config)}" if config.is_file() else ""
        return f"file:{digest_of(weights_file(weights))}{about}"
    if network.weights_field == "weights":
        if packaged := shipped(model):
            return f"shipped:{digest_of(packaged)}"
        scheme, _, name = model.rpartition(":")
        folder, organisation = Path(name) if scheme == "local-dir" else None, "timm"
    else:
        scheme, _, name = model.rpartition(":")
        if network.family == "clip" and scheme != "hf-hub" and not Path(name).is_dir():
            return f"open_clip:{model}"  # its tag names one file of weights
        folder, organisation = shipped(model) or Path(name), "sentence-transformers"
    if folder and folder.is_dir():
        files = sorted(f for f in folder.rglob("*") if f.suffix in (".safetensors", ".json", ".txt"))
        return f"folder:{digest([digest_of(file) for file in files])}"
    return f"hub:{model}@{hub_revision(name if '/' in name else f'{organisation}/{name}')}"


def hub_revision(name: str) -> str:
    """The commit that the hub's local cache has for `organisation/name`, else UNRESOLVED; without network. A timm name
    without its tag (`timm/resnet50` of `timm/resnet50.a1_in1k`) has those of all its tags."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder, cached = f"models--{name.replace('/', '--')}", Path(HF_HUB_CACHE)
    tagged = sorted(cached.glob(f"{folder}.*")) if name.startswith("timm/") and "." not in name else []
    refs = [repository / "refs" / "main" for repository in (cached / folder, *tagged)]
    return "+".join(ref.read_text().strip() for ref in refs if ref.is_file()) or UNRESOLVED

"""Licences of the code and of the pretrained weights in a bundle."""

from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from tandem.config.experiments import Experiment
from tandem.features.pretrained_weights import SHIPPED_BACKBONES, SHIPPED_SENTENCES, licence


def weight_licences(experiments: Iterable[Experiment]) -> dict[str, str]:
    """By pretrained model: the name of its licence, then the texts in the package that it came with."""
    found = {}
    for model, reads in pretrained_models(experiments).items():
        shipped = SHIPPED_BACKBONES.get(model) or SHIPPED_SENTENCES.get(model, ("",))[0]
        text = licence(model, reads)
        if shipped:
            about = distribution(shipped.replace("_", "-"))
            text += f", from the package {about.name} {about.version}"
            texts = [f for f in about.files or () if f.name.upper().startswith("LICEN")]
            text += "".join(f"\n\n{f.read_text()}" for f in texts)
        found[model] = text
    return found


def pretrained_models(experiments: Iterable[Experiment]) -> dict[str, str]:
    """Pretrained model -> image or caption; also networks whose weights were all trained further."""
    experiments = list(experiments)
    found: dict[str, str] = {encoder.model: encoder.reads for e in experiments for encoder in e.pretrained}
    return found | {e.pixel_network.model: "image" for e in experiments if e.pixel_network}


def licence_text(licences: dict[str, str]) -> str:
    own = Path(__file__).parents[3] / "LICENSE"
    parts = {"Tandem's code": own.read_text(encoding="utf-8") if own.is_file() else "Apache-2.0"}
    parts |= {f"The weights of {model}": text for model, text in licences.items()}
    return "\n".join(f"{'=' * 100}\n{what}: {text}\n" for what, text in parts.items())

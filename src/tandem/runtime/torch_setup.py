"""Torch on this machine: device, autocast, and a timm that imports beside any torch build."""

import importlib.util
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

from tandem.runtime.resources import threads


def device() -> torch.device:
    """CUDA where there is one, else the CPU with `threads()` threads."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    torch.set_num_threads(threads())
    return torch.device("cpu")


def alone() -> None:
    """This thread computes by itself: where several work side by side, that is quicker than to share every step."""
    torch.set_num_threads(1)


def autocast(on: torch.device, enabled: bool = True) -> AbstractContextManager:
    """bfloat16 where the hardware computes in it, float32 elsewhere."""
    return torch.autocast(on.type, torch.bfloat16, enabled=enabled and has_bfloat16(on.type))


@cache
def has_bfloat16(kind: str) -> bool:
    """Whether a "cuda" or "cpu" device has instructions for bfloat16.

    A CPU without them runs it too, but hundreds of times slower than float32.
    """
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))  # bf16: ARM


@cache
def mend_torchvision() -> torch.library.Library | None:
    """Lets `import torchvision` succeed beside a CPU torch; call before timm, transformers or torchvision.

    PyPI's torchvision is a CUDA build whose compiled operators do not load there. Its Python part only needs the
    schemas of two of them to exist; nothing here calls them.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None:
        return None
    try:
        for compiled in Path(spec.submodule_search_locations[0]).glob("_C.*"):
            torch.ops.load_library(compiled)
            return None
    except OSError:
        pass
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def import_timm() -> ModuleType:
    mend_torchvision()
    import timm

    return timm

"""Torch on this machine: device, threads, autocast, and importing timm with any torch build."""

import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from tandem.runtime.allocator import keep_freed_memory
from tandem.runtime.progress import print_line
from tandem.runtime.resources import DEVICE, threads

BACKEND = "inductor"  # of torch.compile
COMPILED_STEPS = 10_000  # of training: with fewer, compiling, which takes minutes, costs more than it saves


def devices() -> list[str]:
    """What can compute here: "cpu", then "cuda:0" and on, or "mps"."""
    found = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *found, *(["mps"] if torch.backends.mps.is_available() else [])]


def device(name: str = "") -> torch.device:
    """The one that is named, by default by TANDEM_DEVICE; "auto": CUDA if available, else the CPU."""
    name = name or os.environ.get(DEVICE) or "auto"
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and "LOCAL_RANK" in os.environ:  # of torchrun: each process has a GPU of its own
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    if name == "cuda":  # torch.cuda.set_device takes none without a number
        name = "cuda:0"
    return torch.device(name)


def device_name(on: torch.device) -> str:
    """As its maker calls it, such as "NVIDIA H100 80GB HBM3"; "cpu"."""
    return torch.cuda.get_device_name(on) if on.type == "cuda" else on.type


def reset_device_memory() -> None:
    """The peak that `device_used` tells begins here."""
    if (on := device()).type == "cuda":
        torch.cuda.reset_peak_memory_stats(on)


def device_used() -> dict[str, str | int]:
    """The name of the device, and of a GPU the peak memory of this process's tensors, in MiB."""
    on = device()
    peak = {"peak_device_mb": round(torch.cuda.max_memory_allocated(on) / 2**20)} if on.type == "cuda" else {}
    return {"device": device_name(on), **peak}


def use_threads() -> None:
    """Torch computes with `threads()` threads from here on, and on CUDA multiplies float32 matrices as TF32: for
    processes of the command line, at their start."""
    keep_freed_memory()
    torch.set_num_threads(threads())
    if (on := device()).type == "cuda":
        torch.cuda.set_device(on)
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True


@contextmanager
def use_threads_within(n: int) -> Iterator[None]:
    """Torch, and what reads `threads()`, use `n` threads; both are as before afterwards: for a process of the user."""
    before, variable = torch.get_num_threads(), os.environ.get("TANDEM_THREADS")
    os.environ["TANDEM_THREADS"] = str(n)
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if variable is None:
            del os.environ["TANDEM_THREADS"]
        else:
            os.environ["TANDEM_THREADS"] = variable


_single_lock, _single_depth, _single_before = threading.Lock(), 0, 1


@contextmanager
def single_thread() -> Iterator[None]:
    """The calling thread computes with one thread: quicker where several threads each do their own work.

    New threads start with the number that any thread set last; so each of overlapping calls restores the first number.
    """
    global _single_depth, _single_before
    with _single_lock:
        if not _single_depth:
            _single_before = torch.get_num_threads()
        _single_depth += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _single_lock:
            _single_depth -= 1
            torch.set_num_threads(_single_before)


def autocast(on: torch.device, enabled: bool = True) -> AbstractContextManager:
    """In the `low_precision` of the device; where it has none, float32."""
    found = low_precision(on.type)
    return torch.autocast(on.type, found or torch.bfloat16, enabled=enabled and found is not None)


def low_precision(kind: str) -> torch.dtype | None:
    """The type of 16 bits that a "cuda", "cpu" or "mps" device is quick in: bfloat16, on CUDA else float16, in which
    gradients have to be scaled; None: it has none."""
    if has_bfloat16(kind):
        return torch.bfloat16
    return torch.float16 if kind == "cuda" else None


@cache
def has_bfloat16(kind: str) -> bool:
    """Whether a device has instructions for bfloat16; a CPU without is hundreds of times slower."""
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "mps":
        return False  # from macOS 14 on only
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))  # bf16: ARM


def compiled(network: nn.Module, on: torch.device, steps: int) -> Callable[..., Any]:
    """The network by torch.compile where that saves time: on CUDA, for so many steps of training, if a compiler works;
    else the network. Its weights, and their names, are those of the network."""
    return torch.compile(network, backend=BACKEND) if steps >= COMPILED_STEPS and can_compile(on.type) else network


@cache
def can_compile(kind: str) -> bool:
    """Whether a small function can be compiled, and its gradient; on CUDA alone."""
    if kind != "cuda":
        return False
    x = torch.ones(8, device=kind, requires_grad=True)
    try:
        torch.compile(lambda x: (x.sin() * 2).sum(), backend=BACKEND)(x).backward()
    except Exception as error:  # a missing compiler, driver or library, each with an error of its own
        print_line(f"torch.compile: {str(error).strip().partition(chr(10))[0]}; networks are run without it")
        return False
    return True


@cache
def patch_torchvision() -> torch.library.Library | None:
    """Lets `import torchvision` succeed with a CPU torch; call before timm, transformers or torchvision.

    PyPI's build for CUDA does not load there; its Python part only needs the schemas of two operators to exist.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return None
    with suppress(OSError):
        for compiled in Path(spec.submodule_search_locations[0]).glob("_C.*"):
            torch.ops.load_library(compiled)
            return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def import_timm() -> ModuleType:
    patch_torchvision()
    import timm

    return timm

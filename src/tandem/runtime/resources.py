"""Threads and memory of this machine, memory used, and package versions; imports nothing heavy."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ["torch", "timm", "sentence-transformers", "albumentations"]
PACKAGES += ["iterative-stratification", "numpy", "scikit-learn", "lightgbm"]
NVIDIA = Path("/proc/driver/nvidia")
THREADS = "TANDEM_THREADS"  # make CORES= sets it
ENGINE = "TANDEM_ENGINE"  # make ENGINE= sets it
NODE = "TANDEM_NODE"  # set in the processes of a cluster: the name of their node
UNIT_GB = 4  # memory that a process may take: one that trains a fold, computes features or fits a stack


DEVICE = "TANDEM_DEVICE"  # variable: what computes, see config/device.py; "" is auto


def threads() -> int:
    """Number of threads to use: TANDEM_THREADS, else all cores."""
    return max(1, int(os.environ.get(THREADS) or os.cpu_count() or 1))


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Sets variables of this process, which are as before afterwards."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def units_in_memory(gb: float | None = None) -> int:
    """Number of processes that memory has room for, at least 1."""
    return max(1, int((memory_gb() if gb is None else gb) // UNIT_GB))


def by_torchrun() -> bool:
    """Whether this process is one of several that torchrun started, which train together."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def fold_threads(folds: int, gpu: bool | None = None) -> int:
    """The number of threads that each of `folds` folds is trained with, whatever runs beside it: all of them on a GPU,
    where one fold is trained at a time."""
    cores = threads()
    if by_torchrun():  # one fold at a time
        return cores
    return cores if (has_gpu() if gpu is None else gpu) else share(folds, cores, units_in_memory())


def share(number: int, cores: int, most: int) -> int:
    """Threads of each of so many folds or shards, where as many as there are cores, but at most `most`, run at a time.

    >>> share(5, 2, 6), share(5, 16, 6), share(3, 8, 2), share(1, 8, 6)
    (1, 3, 4, 8)
    """
    return max(1, cores // min(number, cores, most))


def has_gpu() -> bool:
    """Whether torch computes on a GPU here; loads torch only where that is not known without."""
    chosen = os.environ.get(DEVICE) or "auto"
    return _finds_cuda() if chosen == "auto" else chosen != "cpu"


@cache
def _finds_cuda() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or not (NVIDIA.exists() or shutil.which("nvidia-smi")):
        return False
    import torch

    return torch.cuda.is_available()


def memory_gb() -> float:
    """Memory of this machine in GiB; 8 on Windows, where it is not known."""
    if not hasattr(os, "sysconf"):
        return 8.0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def where() -> dict[str, str]:
    """{"engine": "local" or "ray", "node": name of this machine}."""
    node = os.environ.get(NODE)
    return {"engine": "ray" if node else "local", "node": node or socket.gethostname()}


def resident_gb() -> float:
    """Memory in GiB that this process holds now; 0 where the system does not say."""
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return os.sysconf("SC_PAGE_SIZE") * pages / 2**30
    return 0.0


def peak_mb() -> int:
    """Peak memory in MiB of this process, or of a finished child process if larger; 0 on Windows."""
    with suppress(ImportError):
        import resource

        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
    return 0


def versions() -> dict[str, str]:
    """Installed versions of the packages that results depend on."""
    installed = {"python": sys.version.split()[0]} | dict.fromkeys(PACKAGES, "absent")
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed

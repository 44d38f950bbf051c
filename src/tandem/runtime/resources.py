"""Threads and memory of this machine, memory used, and package versions; imports nothing heavy."""

import os
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ["torch", "timm", "sentence-transformers", "albumentations"]
PACKAGES += ["iterative-stratification", "numpy", "scikit-learn", "lightgbm"]


DEVICE = "TANDEM_DEVICE"  # variable: what computes, see config/device.py; "" is auto


def threads() -> int:
    """Number of threads to use: TANDEM_THREADS (make sets it), else all cores."""
    return max(1, int(os.environ.get("TANDEM_THREADS") or os.cpu_count() or 1))


def memory_gb() -> float:
    """Memory of this machine in GiB; 8 on Windows, where it is not known."""
    if not hasattr(os, "sysconf"):
        return 8.0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


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

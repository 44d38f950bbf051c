"""What a job may use of this machine and what it has used; imports nothing heavy."""

import os
import resource
import sys
from importlib.metadata import PackageNotFoundError, version

CORE = ("torch", "timm", "sentence-transformers", "albumentations", "iterative-stratification",
        "numpy", "scikit-learn", "lightgbm")  # fmt: skip


def threads() -> int:
    """Threads this job may use: TANDEM_THREADS (make sets it), else all cores."""
    return max(1, int(os.environ.get("TANDEM_THREADS") or os.cpu_count() or 1))


def memory_gb() -> float:
    """Memory of this machine, in GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def peak_mb() -> int:
    """Most memory this process has held, or one that it started and waited for, in MiB."""
    peak = max(resource.getrusage(of).ru_maxrss for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def versions() -> dict[str, str]:
    """Installed versions of the packages that results depend on."""
    found = {"python": sys.version.split()[0]}
    for name in CORE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found

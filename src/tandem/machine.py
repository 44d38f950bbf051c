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


def peak_mb() -> int:
    """Most memory this process has held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
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

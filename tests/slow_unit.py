"""A unit of work for tests/test_ray.py, which loads nothing."""

import os
import time
from pathlib import Path


def slow(folder: Path, name: str) -> None:
    """Leaves a file that names its node and process, and ends when there is a file `go`."""
    (folder / f"{name}.{os.environ['TANDEM_NODE'].replace('/', '-')}").write_text(str(os.getpid()))
    while not (folder / "go").exists():
        time.sleep(0.1)
    (folder / name).touch()

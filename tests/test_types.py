"""The types of the whole project, beside the other tests: it takes a core for a minute or two."""

import subprocess
import sys
from pathlib import Path


def test_mypy_finds_nothing():
    run = subprocess.run([sys.executable, "-m", "mypy"], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr

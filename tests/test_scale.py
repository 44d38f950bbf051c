import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_benchmark_of_scale_measures_each_stage_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, "benchmarks/scale.py", "--rows", "400", "800", "--folder", str(tmp_path), "--stages"]
    stages = ["import", "csv", "image_files", "check", "stratification", "folds", "submit"]
    done = subprocess.run([*command, *stages], cwd=HERE, capture_output=True, text=True, check=True)
    for stage in stages:
        assert f"| {stage} | 400 x 18 |" in done.stdout
        assert f"\nrows_exponent_{stage}: " in done.stdout
    assert not list(tmp_path.iterdir())

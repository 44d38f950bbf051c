"""What make refuses before it runs anything."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("comp", ["", "two names", "..", "a/b", "*", "a;b"])
def test_a_competition_without_one_name_is_refused_before_anything_is_cleaned(comp):
    run = subprocess.run(["make", "-n", "clean", f"COMP={comp}"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert f"COMP='{comp}': expected the name of one competition" in run.stderr
    assert "rm" not in run.stdout


def test_any_other_name_is_one():
    words = ["make", "-n", "clean", "COMP=coco19-mini_2"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "build/coco19-mini_2" in run.stdout


def test_an_old_make_is_refused_by_name():
    words = ["make", "-n", "help", "MAKE_VERSION=3.81"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert "GNU make 3.81 is too old, 4.2 or newer is needed" in run.stderr

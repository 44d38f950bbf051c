"""One run of a real competition, from its zip to a validated submission, with real models and plain make."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
ZIP = ROOT.parent / "shared" / "data" / "coco19-mini.zip"


@pytest.fixture
def checkout(tmp_path_factory):
    """A copy of the project beside the installed environment, so that the run leaves the checkout alone."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Makefile", "requirements.txt", "requirements.lock", "pyproject.toml", "sets.toml"):
        shutil.copy2(ROOT / name, folder / name)
    for name in ("configs", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def make(folder: Path, *words: str) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")} | {"PYTHONPATH": str(folder / "src")}
    run = subprocess.run(["make", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=1200)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run.stdout


def times(folder: Path, pattern: str) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in sorted(folder.glob(pattern))}


@pytest.mark.parametrize(
    "exps", ["text_tfidf fast", *(pytest.param(name, marks=pytest.mark.slow) for name in ("quick", "default"))]
)
@pytest.mark.skipif(not ZIP.exists(), reason="needs ../shared/data/coco19-mini.zip")
@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="needs the .venv that make test builds")
def test_a_real_competition_goes_from_zip_to_submission_and_make_does_nothing_twice(checkout, exps):
    make(checkout, "import", f"ZIP={ZIP}", "COMP=mini")
    make(checkout, "submit", "COMP=mini", f"EXPS={exps}")

    submission = pd.read_csv(checkout / "submissions/mini/stack.csv", dtype=str)
    solution = pd.read_csv(checkout / "input/mini/solution.csv", dtype=str)
    assert list(submission.columns) == ["ImageID", "Labels"]
    assert list(submission["ImageID"]) == list(solution["ImageID"])
    truth = [set(cell.split()) for cell in solution["Labels"]]
    guess = [set(cell.split()) for cell in submission["Labels"]]
    f1 = sum(2 * len(t & g) / (len(t) + len(g)) for t, g in zip(truth, guess, strict=True)) / len(truth)
    scores = json.loads((checkout / "oof/mini/stack/scores.json").read_text())
    assert scores["score"] >= 0.82
    assert abs(f1 - scores["score"]) < 0.09  # three standard errors of a mean over 100 rows
    made = json.loads((checkout / "submissions/mini/stack.json").read_text())
    assert made["local_leaderboard"]["f1_samples"] == pytest.approx(f1)

    oof = pd.read_parquet(checkout / "oof/mini/stack/oof.parquet")
    assert len(oof) == oof["id"].nunique() == 400
    assert oof.shape[1] == 19

    again = make(checkout, "submit", "COMP=mini", f"EXPS={exps}")
    assert again.splitlines()[0] == "Nothing to be done for 'submit': all results are current."

    planned = dict(line.split(maxsplit=1) for line in make(checkout, "plan", "COMP=mini", "EXPS=gpu_hub").splitlines())
    assert planned["gpu_convnextv2_finetune"].startswith("new (")
    assert planned["stack"].startswith("stale: gpu_")

    config = checkout / "configs/text_tfidf.toml"
    models = times(checkout, "models/mini/*/fold*.*")
    config.write_text(config.read_text() + "# a comment\n")
    make(checkout, "submit", "COMP=mini", f"EXPS={exps}")
    assert times(checkout, "models/mini/*/fold*.*") == models

    config.write_text(config.read_text() + "[tfidf]\nc = 2.0\n")
    test = checkout / "input/mini/test.csv"
    rows = test.read_text().splitlines(keepends=True)
    test.write_text("".join(rows[:-1]))
    make(checkout, "submit", "COMP=mini", f"EXPS={exps}")
    changed = {name for name, t in times(checkout, "models/mini/*/fold*.*").items() if models[name] != t}
    assert {Path(name).parent.name for name in changed} == {"text_tfidf"}
    assert len(pd.read_csv(checkout / "submissions/mini/stack.csv")) == 99

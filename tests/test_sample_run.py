"""A run as a user has it, on a small drawn sample: from its files to a validated submission, with real models."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.artifacts.atomic_io import csv_text, read_json, write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import Folds, to_toml
from tandem.data.csv_reader import read_table
from tandem.stages.sample import SAMPLE, draw_competition

ROOT = Path(__file__).parents[1]
MEMBERS = "image_lite0 text_tfidf fast"
N_TRAIN, N_TEST = 160, 60


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> Paths:
    """The drawn files, three folds; every tenth training row and every sixth test row has no caption."""
    paths = Paths("sample", tmp_path_factory.mktemp("run"))
    draw_competition(paths, N_TRAIN, N_TEST, seed=0)
    for name, every in (("train.csv", 10), ("test.csv", 6)):
        table = read_table(paths.input / name)
        rows = [(*row[:-1], "" if i % every == 0 else row[-1]) for i, row in enumerate(table.rows)]
        write_text(paths.input / name, csv_text(table.columns, *rows))
    write_text(paths.competition, to_toml(SAMPLE.model_copy(update={"folds": Folds(n=3, seed=0)})))
    return paths


def tandem(paths: Paths, *words: str) -> str:
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "TANDEM_THREADS": "1"}
    command = [sys.executable, "-m", "tandem", *words]
    run = subprocess.run(command, cwd=paths.root, env=env, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run.stdout


def cells(file: Path, column: str) -> dict[str, set[str]]:
    """{id: labels}"""
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    key = "id" if "id" in rows[0] else "image"
    return {row[key].removesuffix(".jpg"): set(row[column].split("|")) for row in rows}


def test_a_drawn_sample_goes_from_its_files_to_a_submission_that_predict_agrees_with(paths):
    printed = tandem(paths, "submit", "sample", "--exps", MEMBERS)
    assert "10 rows have no caption: predicted from the image alone" in printed
    submitted, truth = cells(paths.submission("stack"), "labels"), cells(paths.input / "solution.csv", "labels")
    assert list(submitted) == list(truth) and len(truth) == N_TEST
    each = {id: 2 * len(truth[id] & found) / (len(truth[id]) + len(found)) for id, found in submitted.items()}
    f1, scores = sum(each.values()) / N_TEST, read_json(paths.scores("stack"))
    made = read_json(paths.submission("stack").with_suffix(".json"))
    assert made["local_leaderboard"]["f1_samples"] == pytest.approx(f1)
    assert made["rows_without_caption"] == 10
    assert scores["score"] > 0.6 and abs(f1 - scores["score"]) < 0.12  # three standard errors of 60 rows
    one, two = (read_json(paths.scores(name))["score"] for name in ("image_lite0", "text_tfidf"))
    assert scores["score"] > max(one, two) - 0.02
    few = scores["rows_without_caption"]
    assert few["rows"] == 16 and 0.25 < few["score"] < scores["score"]

    again = tandem(paths, "submit", "sample", "--exps", MEMBERS)
    assert again.splitlines()[0] == "Nothing to be done for 'submit': all results are current."

    photos = paths.root / "photos"
    photos.mkdir()
    test = read_table(paths.input / "test.csv")
    for id in truth:
        (photos / f"{id}.jpg").symlink_to(paths.input / "images" / f"{id}.jpg")
    names = [f"{id}.jpg" for id in test.column("id")]
    rows = zip(names, test.column("caption"), strict=True)
    write_text(paths.root / "captions.csv", csv_text(("image", "caption"), *rows))
    out = ("--captions", "captions.csv", "--out", "labels.csv")
    tandem(paths, "predict", "sample", "--images", "photos", *out)
    assert cells(paths.root / "labels.csv", "labels") == submitted

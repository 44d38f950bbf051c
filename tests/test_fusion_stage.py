"""The train and decode stages with a model whose logits are sums of terms: from each fold to the tables."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from checked import fake_features, run_tasks, write_competition, write_experiment, write_folds, write_split

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.encoders import CaptionEncoder, ImageEncoder
from tandem.config.experiments import FusionExperiment
from tandem.config.training import Fusion, FusionTraining
from tandem.data.split_tables import write_labels
from tandem.graph.declared_stages import Graph
from tandem.logits import sigmoid
from tandem.stages import scores

NAMES = ("seen", "read")
N, TEST = 60, ["98.jpg", "99.jpg"]
IDS = [f"{i}.jpg" for i in range(N)]
X = np.random.default_rng(0).normal(size=(N + 2, 2)).astype(np.float32)  # image feature, caption feature
Y = (X[:N] > 0).astype(np.uint8)


@pytest.fixture
def paths(tmp_path, monkeypatch) -> Paths:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TANDEM_THREADS", "1")
    paths = Paths("toy")
    small = Fusion(hidden=8, rank=2, dropout=0.0, input_dropout=0.0, heads=1)
    experiment = FusionExperiment(
        kind="fusion",
        frozen=[ImageEncoder()],
        caption=CaptionEncoder(),
        fusion=small,
        train=FusionTraining(epochs=30, batch=8, min_steps=0, lr=1e-2, tune_from=0),
    )
    write_competition(paths, NAMES, experiments=["join"])
    write_experiment(paths, "join", experiment)
    for split, ids, x in (("train", IDS, X[:N]), ("test", TEST, X[N:])):
        write_split(paths, split, ids, captions=ids)
        fake_features(paths, experiment, split, [x[:, None, column : column + 1] for column in range(2)])
    write_labels(paths.labels, IDS, NAMES, Y)
    write_folds(paths, IDS, [n % 3 for n in range(N)])
    return paths


def test_terms_of_every_row_add_up_to_what_was_predicted_for_it(paths):
    run_tasks(paths, "train join")
    table = pd.read_parquet(paths.contributions("join"))
    assert table["split"].value_counts().to_dict() == {
        "both": 2 * N,
        "no_caption": 2 * N,
        "no_image": 2 * N,
        "test": 2 * len(TEST),
    }
    for split, file in (("both", paths.oof("join")), ("test", paths.test("join"))):
        part = table[table["split"] == split]
        proba = Predictions.read(file).proba
        assert np.allclose(sigmoid(part["logit"]), proba.ravel(), atol=1e-6)


def test_each_epoch_and_fold_name_the_rows_of_their_f1(paths, capsys):
    run_tasks(paths, "train join")
    printed = capsys.readouterr().out
    record = read_json(paths.model("join", 0, ".json"))
    assert 0.5 < record["held_out_f1"] < record["log"][-1]["f1"]
    last = f"loss {record['log'][-1]['loss']:.4f}, train F1 {record['log'][-1]['f1']:.4f}"
    assert f"join fold 0 epoch 30: {last}" in printed
    scores = f"train F1 {record['log'][-1]['f1']:.3f}, held-out {record['held_out_f1']:.3f}"
    assert f"join fold 0 done (1 of 3): {scores}, {record['seconds']:.0f} s" in printed


def test_run_json_has_the_share_of_image_and_caption_for_each_label(paths):
    run_tasks(paths, "train join")
    found = read_json(paths.run("join"))["shares"]
    assert found["seen"]["image"] > found["seen"]["caption"]
    assert found["read"]["caption"] > found["read"]["image"]


def test_scores_are_shown_without_captions_and_without_photos(paths, capsys):
    run_tasks(paths, "train join")
    run_tasks(paths, "decode join")
    without = read_json(paths.scores("join"))["without"]
    assert set(without) == {"captions", "photos"}
    assert all(w["log_loss"] > read_json(paths.scores("join"))["log_loss"] for w in without.values())
    scores.main(SimpleNamespace(comp="toy"))
    printed = capsys.readouterr().out
    assert f"{without['photos']['score']:.4f}" in printed.split("without photos")[1].splitlines()[0]


def test_what_is_lost_is_written_again_and_nothing_is_fitted_twice(paths):
    run_tasks(paths, "train join")
    before = {f: f.read_bytes() for f in (paths.oof("join"), paths.test("join"))}
    table = pd.read_parquet(paths.contributions("join"))
    fitted = paths.model("join", 0, ".safetensors").stat().st_mtime_ns
    paths.contributions("join").unlink()
    run_tasks(paths, "train join")
    assert pd.read_parquet(paths.contributions("join")).equals(table)
    assert {f: f.read_bytes() for f in before} == before
    assert paths.model("join", 0, ".safetensors").stat().st_mtime_ns == fitted
    paths.model("join", 1, ".terms.parquet").unlink()  # so the fold is not whole
    run_tasks(paths, "train join")
    assert paths.model("join", 1, ".terms.parquet").exists()


# ---- pseudo-labels


def add_student(paths: Paths, **pseudo) -> None:
    teacher = Graph.open(paths).experiments["join"].model_dump()
    student = FusionExperiment.model_validate(teacher | {"pseudo": {"teacher": "join"} | pseudo}, strict=False)
    write_experiment(paths, "student", student)


def out_of_fold(paths: Paths, name: str, k: int) -> list:
    run_tasks(paths, f"train {name}")
    return Predictions.read(paths.oof(name)).proba[np.arange(N) % 3 == k].tolist()


def test_a_student_learns_from_the_test_rows_and_its_teacher_comes_first(paths):
    add_student(paths)
    tasks = list(Graph.open(paths).tasks(["train student"]))
    assert tasks.index("train join") < tasks.index("train student")
    taught = out_of_fold(paths, "join", 0)
    assert out_of_fold(paths, "student", 0) != taught


def test_labels_of_a_fold_reach_its_out_of_fold_rows_not_even_through_the_teacher(paths):
    add_student(paths)
    out_of_fold(paths, "join", 1)
    before = [out_of_fold(paths, "student", k) for k in range(3)]
    y = Y.copy()
    y[1::3] = 1 - y[1::3]  # fold 1
    write_labels(paths.labels, IDS, NAMES, y)
    out_of_fold(paths, "join", 1)
    after = [out_of_fold(paths, "student", k) for k in range(3)]
    assert after[1] == before[1]
    assert after[0] != before[0] and after[2] != before[2]


def test_another_weight_retrains_the_student_alone(paths):
    add_student(paths)
    out_of_fold(paths, "join", 0)
    first = out_of_fold(paths, "student", 0)
    fitted = paths.model("join", 0, ".safetensors").stat().st_mtime_ns
    assert out_of_fold(paths, "student", 0) == first
    add_student(paths, weight=1.0)
    assert out_of_fold(paths, "student", 0) != first
    assert paths.model("join", 0, ".safetensors").stat().st_mtime_ns == fitted

"""The train and decode stages with a model whose logits are sums of terms: from each fold to the tables."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from checked import fake_features, run_tasks, write_competition, write_experiment, write_folds, write_split

from tandem.artifacts.atomic_io import read_json, write_text
from tandem.artifacts.contributions import read_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.competition import load_competition
from tandem.config.encoders import CaptionEncoder, ImageEncoder
from tandem.config.experiments import FusionExperiment
from tandem.config.training import Fusion, FusionTraining
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.split_tables import write_captions, write_labels
from tandem.decoding import NestedCV, Rule
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments
from tandem.logits import sigmoid
from tandem.metrics import log_loss
from tandem.stages import scores
from tandem.training.fold_job import FoldJob
from tandem.training.split_inputs import read_inputs

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


# ---- rows without a caption


@pytest.fixture
def some_missing(paths) -> Paths:
    """Every fifth training row and the first test row have no caption; their caption feature is that of no text."""
    experiment = Graph.open(paths).experiments["join"]
    for split, ids, x in (("train", IDS, X[:N]), ("test", TEST, X[N:])):
        gone = np.arange(len(ids)) % 5 == 0
        write_captions(paths.captions(split), ids, ["  " if row else "a caption" for row in gone])
        caption = np.where(gone[:, None, None], 3.0, x[:, None, 1:]).astype(np.float32)
        fake_features(paths, experiment, split, [x[:, None, :1], caption])
    return paths


def test_rows_without_a_caption_are_predicted_from_the_image_alone(some_missing):
    run_tasks(some_missing, "train join")
    table = pd.read_parquet(some_missing.contributions("join")).set_index("split")
    both, alone = (table.loc[split, "logit"].to_numpy().reshape(N, 2) for split in ("both", "no_caption"))
    same = np.isclose(both, alone).all(1)
    assert same.tolist() == [i % 5 == 0 for i in range(N)]
    oof = Predictions.read(some_missing.oof("join")).proba
    assert np.allclose(oof[same], sigmoid(alone[same]), atol=1e-6)
    seen, read = ((oof[same] > 0.5) == Y[same]).mean(0)
    assert seen > 0.8 > read
    job = FoldJob(some_missing, "join", Graph.open(some_missing).experiments["join"])
    terms = job.load([0, 1, 2]).terms(read_inputs(some_missing, job.experiment, "test"))
    test = Predictions.read(some_missing.test("join")).proba
    assert np.allclose(test[0], sigmoid(terms["no_caption"][0].sum(-1)), atol=1e-6)
    assert np.allclose(test[1], sigmoid(terms["both"][1].sum(-1)), atol=1e-6)


def test_captions_that_are_missing_teach_nothing(some_missing):
    """Whatever features an empty text has, the networks are the same."""
    run_tasks(some_missing, "train join")
    before = Predictions.read(some_missing.oof("join")).proba
    experiment = Graph.open(some_missing).experiments["join"]
    gone = np.arange(N) % 5 == 0
    caption = np.where(gone[:, None, None], -2.0, X[:N, None, 1:]).astype(np.float32)
    fake_features(some_missing, experiment, "train", [X[:N, None, :1], caption])
    for k in range(3):
        some_missing.model("join", k, ".json").unlink()
    run_tasks(some_missing, "train join")
    assert np.array_equal(Predictions.read(some_missing.oof("join")).proba, before)


def test_scores_and_submission_say_how_rows_without_a_caption_fare(some_missing, capsys):
    run_tasks(some_missing, "train join", "decode join")
    found = read_json(some_missing.scores("join"))
    few, missing = found["rows_without_caption"], np.arange(N) % 5 == 0
    assert few["rows"] == 12 and few["score"] == few["f1_samples"]
    rows = read_labelled_rows(some_missing)
    proba = {
        split: sigmoid(terms.sum(-1)) for split, _, terms in read_contributions(some_missing.contributions("join"))
    }
    rule = Rule.of(load_competition(some_missing.competition))
    pred = NestedCV(proba["both"], rows.y, rows.fold, rule).cross_val_predict("auto").copy()
    pred[missing] = NestedCV(proba["no_caption"], rows.y, rows.fold, rule).cross_val_predict("auto")[missing]
    assert few["score"] == pytest.approx(rule.score(rows.y[missing], pred[missing]))
    assert found["score"] == pytest.approx(rule.score(rows.y, pred))
    assert f"join: 12 rows without a caption: score {few['score']:.4f}" in capsys.readouterr().out
    scores.main(SimpleNamespace(comp="toy"))
    line = capsys.readouterr().out.split("on 12 rows without a caption")[1].splitlines()[0]
    assert line.split()[0] == f"{few['score']:.4f}"

    write_text(some_missing.input / "test.csv", "id,caption\n98.jpg,\n99.jpg,a caption\n")
    run_tasks(some_missing, "submit join")
    assert "1 rows have no caption: predicted from the image alone" in capsys.readouterr().out
    join, test = Experiments(some_missing)["join"], Predictions.read(some_missing.test("join")).proba
    expected = [join.decoder("captions")(test[:1])[0].tolist(), join.decoder()(test[1:])[0].tolist()]
    labels = [line.split(",")[1] for line in some_missing.submission("join").read_text().splitlines()[1:]]
    assert [[name in cell.split("|") for name in NAMES] for cell in labels] == expected


# ---- pseudo-labels


def add_student(paths: Paths, **pseudo) -> None:
    teacher = Graph.open(paths).experiments["join"].model_dump()
    student = FusionExperiment.model_validate(teacher | {"pseudo": {"teacher": "join"} | pseudo}, strict=False)
    write_experiment(paths, "student", student)


def out_of_fold(paths: Paths, name: str, k: int) -> list:
    run_tasks(paths, f"train {name}")
    return Predictions.read(paths.oof(name)).proba[np.arange(N) % 3 == k].tolist()


def test_the_teacher_of_a_student_is_trained_first(paths):
    add_student(paths)
    tasks = list(Graph.open(paths).tasks(["train student"]))
    assert tasks.index("train join") < tasks.index("train student")


def test_a_student_learns_from_the_test_rows_what_its_teacher_knows_of_them(paths):
    """A second image feature tells what the caption says, but only in the test rows; students read the image alone."""
    rng, n = np.random.default_rng(1), 200
    x = rng.normal(size=(n, 2)).astype(np.float32)
    ids = [f"t{i}.jpg" for i in range(n)]
    write_split(paths, "test", ids, captions=ids)
    image = {"train": np.stack([X[:N, 0], rng.normal(size=N)], 1), "test": x}
    teacher = Graph.open(paths).experiments["join"]
    for split, caption in (("train", X[:N, 1]), ("test", x[:, 1])):
        fake_features(paths, teacher, split, [image[split][:, None], caption[:, None, None]])
    alone = teacher.model_dump() | {"caption": None}
    write_experiment(paths, "alone", FusionExperiment.model_validate(alone, strict=False))
    student = alone | {"pseudo": {"teacher": "join", "weight": 1.0}}
    write_experiment(paths, "student", FusionExperiment.model_validate(student, strict=False))
    run_tasks(paths, "train join", "train alone", "train student")
    right = {e: ((Predictions.read(paths.test(e)).proba > 0.5) == (x > 0)).mean(0) for e in ("alone", "student")}
    assert right["alone"][1] < 0.6 and right["student"][1] > 0.75
    assert right["alone"][0] > 0.85 and right["student"][0] > 0.85


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
    for k in (0, 2):  # half of what they learn from is wrong now
        assert log_loss(Y[k::3], np.array(after[k])) > log_loss(Y[k::3], np.array(before[k])) + 0.1


def test_another_weight_retrains_the_student_alone(paths):
    add_student(paths)
    out_of_fold(paths, "join", 0)
    first = out_of_fold(paths, "student", 0)
    fitted = paths.model("join", 0, ".safetensors").stat().st_mtime_ns
    assert out_of_fold(paths, "student", 0) == first
    add_student(paths, weight=1.0)
    assert np.abs(np.array(out_of_fold(paths, "student", 0)) - first).max() > 1e-3
    assert paths.model("join", 0, ".safetensors").stat().st_mtime_ns == fitted

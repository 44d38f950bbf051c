import shutil

import numpy as np
import pytest
from checked import run_tasks, train
from drawn_competition import build, check_and_split, labels, write_rows

from tandem.__main__ import main
from tandem.artifacts.atomic_io import csv_text, read_json, write_text
from tandem.artifacts.predictions import Predictions
from tandem.config.competition import load_competition
from tandem.data.labelled_rows import read_labelled_rows
from tandem.graph.declared_stages import Graph
from tandem.models.base import TrainingRun
from tandem.models.tfidf import TfidfModel
from tandem.training.fold_job import FoldJob

HEAD = """kind = "head"
image = {model = "test_efficientnet", weights = "tiny.safetensors", size = 32, pool = "avg"}
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Three extra rows: of new photos, with the id of a training row, and a copy of a test photo; ids as in train."""
    monkeypatch.chdir(tmp_path)
    paths = build(extra="more.csv", duplicates="group")
    unlike_photos(paths)
    shutil.copy(paths.input / "data" / "t1.jpg", paths.input / "data" / "e2.jpg")
    shutil.copy(paths.input / "data" / "4.jpg", paths.input / "data" / "e3.jpg")
    write_rows(paths, "more.csv", ["e0.jpg", "7.jpg", "e2.jpg", "e3.jpg"], labels(4, seed=5), seed=2000)
    noise(paths.input / "data" / "e0.jpg", 2000)
    return paths


def unlike_photos(paths):
    for i, file in enumerate(sorted((paths.input / "data").iterdir())):
        noise(file, i)


def noise(file, seed):
    """A photo of coarse noise, which is like no other."""
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    Image.fromarray(pixels).resize((48, 48), Image.Resampling.BICUBIC).save(file, quality=95)


def trained_ids(job: FoldJob, k: int) -> list[str]:
    inputs, y, weights = job.training_rows(np.flatnonzero(job.rows.fold != k))
    assert len(inputs) == len(y) == len(weights)
    return list(inputs.ids)


def test_an_extra_row_is_trained_on_in_every_fold_but_those_that_hold_out_a_row_that_it_is_like(small, capsys):
    assert main(["check", "small"]) == 0
    out = capsys.readouterr().out
    assert "30 + 6 + 4 rows" in out and "extra rows" in out
    kinds = {f["id"]: f for f in read_json(small.check_report)["findings"] if f["kind"].startswith("extra row like")}
    assert {id: f["kind"] for id, f in kinds.items()} == {
        "7.jpg": "extra row like a training row",  # the same id and photo
        "e2.jpg": "extra row like a test row",
        "e3.jpg": "extra row like a training row",
    }
    assert kinds["e2.jpg"]["line"] == 4 and kinds["e3.jpg"]["message"] == "e3.jpg is like 4.jpg"
    run_tasks(small, "folds")
    graph = Graph.open(small)
    job, rows = FoldJob(small, "words", graph.experiments["words"]), read_labelled_rows(small)
    fold = dict(zip(rows.ids, rows.fold.tolist(), strict=True))
    for k in graph.fold_numbers:
        ids = trained_ids(job, k)
        assert ids.count("e0.jpg") == 1 and "e2.jpg" not in ids
        assert ("e3.jpg" in ids) == (fold["4.jpg"] != k)
        assert ids.count("7.jpg") == (2 if fold["7.jpg"] != k else 0)
    weights = job.training_rows(np.flatnonzero(rows.fold != fold["4.jpg"]))[2]
    assert weights[0].tolist() == [1, 1] and weights[-1].tolist() == [0.5, 0.5]


def test_extra_rows_are_scored_nowhere_and_a_change_of_them_makes_the_folds_stale(small):
    check_and_split(small)
    train(small, "words")
    assert Predictions.read(small.oof("words")).ids == read_labelled_rows(small).ids
    assert Graph.open(small).fold("words", 0).stale_reason() == ""
    text = small.competition.read_text()
    write_text(small.competition, "extra_weight = 0.2\n" + text)
    assert Graph.open(small).fold("words", 0).stale_reason() == "extra_weight changed"
    write_text(small.competition, text)
    write_rows(small, "more.csv", ["e0.jpg"], labels(1, seed=9))
    run_tasks(small, "check")
    assert "extra.labels changed" in Graph.open(small).fold("words", 0).stale_reason()


def test_a_competition_without_extra_rows_keeps_its_content_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = build()
    dumped = load_competition(paths.competition).model_dump()
    assert "extra" not in dumped and "extra_weight" not in dumped
    assert not any("extra" in name for name in Graph.open(paths).fold("words", 0).inputs)


def test_extra_rows_are_checked_as_training_rows_are(small, capsys):
    write_text(
        small.input / "more.csv", csv_text(["id", "caption", "labels"], ["e0.jpg", "x", "cow"], ["no.jpg", "x", ""])
    )
    assert main(["check", "small"]) == 1
    found = read_json(small.check_report)["findings"]
    assert {(f["kind"], f["line"]) for f in found if f["severity"] == "error"} == {
        ("unknown label", 2),
        ("missing image", 3),
    }
    write_text(small.input / "more.csv", "id,caption\ne0.jpg,x\n")
    assert main(["check", "small"]) == 1
    assert "no column 'labels'" in capsys.readouterr().out


def test_extra_rows_raise_the_score_where_labels_are_few(tmp_path, monkeypatch):
    """12 rows name animals by words that each of them says once; the extra rows say them too."""
    monkeypatch.chdir(tmp_path)
    words = {"cat": "cat kitten tabby tom siamese mouser", "sky": "dog puppy hound pug collie cur"}
    rows = [(f"a {word} here", name) for name, some in words.items() for word in some.split()]
    more = [(f"e{i}", f"{text} too", name) for i, (text, name) in enumerate(rows)]
    header, scores = ["id", "caption", "labels"], []
    for extra in (None, "more.csv"):
        paths = build(n=12, n_test=3, extra=extra, images=None)
        write_text(paths.input / "train.csv", csv_text(header, *((str(i), *row) for i, row in enumerate(rows))))
        write_text(paths.input / "test.csv", "id,caption\nt0,a cat\nt1,a dog\nt2,a pug\n")
        write_text(paths.input / "more.csv", csv_text(header, *more))
        write_text(paths.configs / "words.toml", 'kind = "tfidf"\n[tfidf]\nmin_rows = 1\ncharacters = 0\n')
        check_and_split(paths)
        train(paths, "words")
        scores.append(read_json(paths.scores("words"))["score"])
    assert scores[1] == 1 and scores[0] < 0.8


def test_a_head_reads_the_features_of_extra_rows_too(small):
    from toy import tiny_backbone

    tiny_backbone(small.root / "tiny.safetensors")
    write_text(small.configs / "looks.toml", HEAD)
    check_and_split(small)
    train(small, "looks")
    (encoder,) = Graph.open(small).experiments["looks"].encoders
    assert np.load(small.features(encoder.slug, "extra")).shape[0] == 4
    assert Predictions.read(small.oof("looks")).ids == read_labelled_rows(small).ids


def test_tfidf_weights_rows_as_if_they_were_repeated():
    from tandem.config.experiments import TfidfExperiment
    from tandem.models.inputs import Inputs

    cfg = TfidfExperiment.model_validate({"kind": "tfidf", "tfidf": {"min_rows": 1, "characters": 0, "words": 1}})
    texts, y = ["cat", "cat", "dog"], np.array([[1], [0], [0]])
    model, heavy = TfidfModel(cfg, 1), TfidfModel(cfg, 1)
    inputs = Inputs(["1", "2", "3"], captions=texts)
    model.fit(inputs, y, TrainingRun(0))
    heavy.fit(inputs, y, TrainingRun(0, weights=np.array([[1.0], [0.1], [1.0]])))
    assert heavy.predict_proba(inputs)[0, 0] > model.predict_proba(inputs)[0, 0] + 0.1

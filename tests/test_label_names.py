"""Labels with the names of the artifacts' own columns, or with characters of CSV, JSON, HTML and charts."""

import csv
import json
from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import pytest
import toy
from checked import run_tasks, write_competition, write_experiment

import tandem
from tandem.artifacts.atomic_io import csv_text, read_json, write_text
from tandem.artifacts.contributions import TERMS, read_contributions
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.experiments import TfidfExperiment
from tandem.config.labels import Labels
from tandem.config.training import Tfidf
from tandem.data.split_tables import read_labels
from tandem.inference.results import header, label_separator
from tandem.report.scores_table import show_scores
from tandem.stages import bundle, explain, predict, report

OWN = (
    "id",
    "label",
    "split",
    "logit",
    "fold",
    "group",
    "image",
    "labels",
    "caption",
    "problem",
    "proba",
    "__proto__",
    "__filename",
)
HARD = ("a,b", 'x[1]{y}:"q"', "日本語 😀", "$x^{$", "<b>'", "a & b", "null")
NAMES = (*OWN, *HARD)
WORDS = [chr(ord("a") + j) * 4 for j in range(len(NAMES))]  # the word of a label in captions
N, TEST = 3 * len(NAMES), 5


def row(i: int) -> tuple[str, str, str]:
    """Id, labels and caption: label i, and for every third row the next one."""
    chosen = sorted({i % len(NAMES), (i + (i % 3 == 0)) % len(NAMES)})
    return f"{i}.jpg", "|".join(NAMES[j] for j in chosen), " and ".join(WORDS[j] for j in chosen)


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> Paths:
    """Checked, trained, decoded and submitted."""
    root = tmp_path_factory.mktemp("names")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("TANDEM_THREADS", "1")
        paths = Paths("toy")
        train, test = [row(i) for i in range(N)], [row(i) for i in range(N, N + TEST)]
        for name, _, _ in [*train, *test]:
            toy.draw(paths.input / "data" / name, False, int(name.split(".")[0]))
        write_text(paths.input / "train.csv", csv_text(("id", "labels", "caption"), *train))
        write_text(paths.input / "test.csv", csv_text(("id", "caption"), *((a, c) for a, _, c in test)))
        write_text(paths.input / "solution.csv", csv_text(("id", "labels"), *((a, b) for a, b, _ in test)))
        write_competition(paths, NAMES, folds={"n": 3}, experiments=["words", "more"], duplicates="off")
        write_experiment(paths, "words", TfidfExperiment(kind="tfidf"))
        write_experiment(paths, "more", TfidfExperiment(kind="tfidf", tfidf=Tfidf(c=1.0)))
        run_tasks(paths, "check", "folds", "train words", "train more", "decode words", "submit words")
        run_tasks(paths, "stack", "decode stack")
    return Paths("toy", root)


@pytest.fixture(autouse=True)
def inside(paths, monkeypatch):
    monkeypatch.chdir(paths.root)


def test_every_table_has_the_names_and_numbers_of_the_labels(paths):
    ids, names, y = read_labels(paths.labels)[:3]
    assert (names, ids[0], y[0].tolist()) == (NAMES, "0.jpg", [1, 1, *[0] * (len(NAMES) - 2)])
    oof = Predictions.read(paths.oof("words"))
    assert (list(oof.ids), oof.names) == (ids, NAMES)
    (_, own, terms), *_ = read_contributions(paths.contributions("stack"))
    assert (own, terms.shape) == (ids, (N, len(NAMES), len(TERMS)))
    assert set(read_json(paths.scores("words"))["f1_per_label"]) == set(NAMES)


def test_the_submission_has_exactly_these_names(paths):
    with paths.submission("words").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f"{i}.jpg" for i in range(N, N + TEST)]
    assert {name for row in rows for name in row["labels"].split("|")} <= set(NAMES)
    assert read_json(paths.submission("words").with_suffix(".json"))["local_leaderboard"]["f1_samples"] > 0


def test_tables_for_pandas_have_no_column_twice(paths):
    competition = tandem.competition("toy")
    labels = competition.labels().to_pandas().reset_index()
    assert list(labels.columns) == ["id_", "fold_", *NAMES] and labels["id_"][1] == "1.jpg"
    assert list(competition.oof("words").to_pandas().reset_index().columns) == ["id_", *NAMES]


def test_a_bundle_labels_as_the_pipeline_does(paths, capsys):
    bundle.main(Namespace(comp="toy", exp="words", folds=0, budget_mb=100.0, budget_ms=np.inf))
    assert tandem.Labeler.load(paths.bundle).names == NAMES


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_predictions_for_new_images_have_no_column_twice(paths, tmp_path, suffix):
    toy.draw(tmp_path / "photos" / "new.jpg", True, 0)
    (tmp_path / "captions.csv").write_text(f"image,caption\nnew.jpg,{WORDS[0]}\n")
    out = tmp_path / f"out{suffix}"
    given = {"comp": "toy", "bundle": None, "images": tmp_path / "photos", "captions": tmp_path / "captions.csv"}
    for _ in range(2):  # the second time, all is in the file already
        assert predict.main(SimpleNamespace(**given, out=str(out), exp="words", fast=False, folds=0)) == 0
    if suffix == ".csv":
        (first, row) = csv.reader(out.read_text(encoding="utf-8").splitlines())
        assert first == ["image_", "labels_", *NAMES, "caption_", "problem_"] == header(NAMES)
        found = dict(zip(first, row, strict=True))
        assert (found["image_"], found["caption_"]) == ("new.jpg", "yes")
        assert float(found["id"]) == max(float(found[name]) for name in NAMES)
    else:
        (line,) = map(json.loads, out.read_text(encoding="utf-8").splitlines())
        assert (line["image"], list(line["proba"])) == ("new.jpg", list(NAMES))


def test_scores_report_and_explanation_show_them(paths, capsys):
    show_scores(paths)
    report.main(Namespace(comp="toy", exp=""))
    for name in ("words", "stack"):
        explain.main(Namespace(comp="toy", id="0.jpg", exp=name))
        assert "label" in capsys.readouterr().out
    page = paths.report.read_text(encoding="utf-8")
    assert "日本語 😀" in page and "<b>'" not in page


def test_label_sets_are_cut_at_a_text_that_no_name_holds():
    names = ["a b", "c|d", "e;f", "g, h"]
    separator = label_separator(Labels(format="columns", names=names))
    assert separator.join(names).split(separator) == names


def test_a_label_called_id_is_read_from_its_own_column(tmp_path):
    Predictions(["1"], ("id", "split"), np.array([[0.25, 0.5]])).write(tmp_path / "oof.parquet")
    found = Predictions.read(tmp_path / "oof.parquet")
    assert (found.ids, found.names, found.proba.tolist()) == (["1"], ("id", "split"), [[0.25, 0.5]])

"""The cases of tests/cases that train, with the weights that ship (`make test-all`)."""

import csv
import re
import shutil

import pytest
from test_competitions import CASES, Outcome, case, imported, place, run  # noqa: F401

pytestmark = pytest.mark.slow
BOTH = "image_lite0 text_tfidf"


def submitted(outcome: Outcome, exps: str = BOTH, name: str = "stack") -> tuple[list[list[str]], str]:
    """(rows of the submission with its header, all that was printed)."""
    status, said = run("submit", outcome.paths.comp, "--exps", exps)
    assert status == 0, said
    with outcome.paths.submission(name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file)), said


def test_probabilities_are_written_for_a_metric_that_ranks(case):  # noqa: F811
    rows, _ = submitted(case("04-plant2020-auc", "--metric", "auc_macro"), "image_lite0", "image_lite0")
    assert rows[0] == ["image_id", "healthy", "multiple_diseases", "rust", "scab"] and len(rows) == 9
    assert all(0 < float(cell) < 1 for row in rows[1:] for cell in row[1:])


def test_labels_named_like_missing_values_are_submitted(case):  # noqa: F811
    rows, said = submitted(case("26-na-none-null"))
    assert len(rows) == 7 and all(set(row[1].split("|")) <= {"NA", "None", "null", "nan", "N/A"} for row in rows[1:])
    assert "without a caption" not in said


def test_ids_are_submitted_as_they_are_in_the_samples_order(case):  # noqa: F811
    rows, _ = submitted(case("27-ids"))
    assert [row[0] for row in rows[1:]] == ["007", "-5", "1.0", "00000000000000000000001", "2e7", "0099"]


def test_a_label_on_all_rows_is_predicted_everywhere_and_one_on_none_nowhere(case):  # noqa: F811
    rows, _ = submitted(case("42-all-and-never"))
    assert rows[0][1:] == ["all", "never", "cat", "dog"]
    assert {(row[1], row[2]) for row in rows[1:]} == {("1", "0")}


def test_the_stack_of_160_labels_shows_that_it_is_at_work(case, monkeypatch):  # noqa: F811
    monkeypatch.setattr("tandem.runtime.run_progress.LOG_SECONDS", 0.0)  # at most a line in ten seconds otherwise
    outcome = case("44-160-labels")
    assert run("train", outcome.paths.comp, "--exps", BOTH)[0] == 0
    status, said = run("stack", outcome.paths.comp, "--exps", BOTH)
    assert status == 0 and re.search(r"\(stack: [\d,]+ of [\d,]+ labels\)", said), said


def test_five_rows_are_enough(case):  # noqa: F811
    assert len(submitted(case("45-five-rows"))[0]) == 2


def test_hard_names_go_through_all_targets(case):  # noqa: F811
    outcome = case("47-hard-names")
    rows, _ = submitted(outcome)
    known = {"fold", "label", "a,b", 'x[1]{y}:"q"', "日本語 😀"}
    assert all(set(row[1].split("|")) <= known for row in rows[1:])
    comp = outcome.paths.comp
    for stage in (["scores"], ["report"], ["explain", "--id", "0.jpg", "--exp", "stack"]):
        status, said = run(stage[0], comp, *stage[1:])
        assert status == 0, said
    images = outcome.paths.input / "images"
    shutil.copytree(images, "new", ignore=lambda folder, names: [name for name in names if not name.startswith("4")])
    captions = str(outcome.paths.input / "test.csv")
    status, said = run("predict", comp, "--images", "new", "--out", "new.csv", "--captions", captions)
    assert status == 0, said


def test_rows_without_captions_are_labelled(case):  # noqa: F811
    assert len(submitted(case("48-captions"))[0]) == 7


def test_a_label_named_id_is_submitted(case):  # noqa: F811
    rows, _ = submitted(case("60-label-id"), "text_tfidf", "text_tfidf")
    assert {name for row in rows[1:] for name in row[1].split()} <= {"de", "en", "fr", "id", "it"}


def test_a_solution_with_a_column_of_usage_is_scored(case):  # noqa: F811
    assert "local leaderboard" in submitted(case("68-solution-usage"), "text_tfidf", "text_tfidf")[1]


def test_an_f2_score_is_written_as_any_other(case):  # noqa: F811
    outcome = case("69-metrics", "--metric", "f1_macro", "--set", "beta=2")
    assert "F2" in submitted(outcome, "text_tfidf", "text_tfidf")[1]


def test_captions_of_new_images_are_joined_by_their_names(case):  # noqa: F811
    outcome = case("27-ids")
    submitted(outcome)
    labels = {}
    for name in ("captions", "captions2"):
        folder = CASES / "106-predict-captions-index"
        arguments = ("--images", str(folder / "images"), "--captions", str(folder / f"{name}.csv"))
        assert run("predict", outcome.paths.comp, "--out", f"{name}.csv", *arguments)[0] == 0
        with open(f"{name}.csv", encoding="utf-8", newline="") as file:
            labels[name] = {row[0]: row[1].split() for row in list(csv.reader(file))[1:]}
    expected = {"0.jpg": "cat", "1.jpg": "dog", "2.jpg": "sea", "3.jpg": "sky", "4.jpg": "car", "5.jpg": "cat"}
    assert labels["captions"] == labels["captions2"]
    assert all(label in labels["captions"][image] for image, label in expected.items())

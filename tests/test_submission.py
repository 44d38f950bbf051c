import shutil

import numpy as np
import pytest
from checked import run_tasks

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.competition import Competition
from tandem.data.csv_reader import read_table
from tandem.data.submission import (
    detect_drift,
    expected_rows,
    local_scores,
    parse_submission,
    submission_columns,
    submission_csv,
    validate_submission,
)

PRED = np.array([[1, 1], [0, 1]], bool)
IDS = ["b.jpg", "a.jpg"]


def competition(**changes) -> Competition:
    labels = {"format": "separated", "column": "Labels", "names": ["1", "2"]}
    base = {"id": "ImageID", "images": "data", "labels": labels, "most": 2, "experiments": ["e"]}
    return Competition.model_validate(base | changes)


SEPARATED = competition()
COLUMNS = competition(labels={"format": "columns", "names": ["cat", "dog"]})
LIST = competition(labels={"format": "list", "column": "Labels", "names": ["a,b", "it's"]})
JOINED = competition(labels={"format": "joined", "columns": ["first", "second"], "names": ["1", "2"]})


def test_separated_labels_are_written_into_one_column():
    assert submission_csv(SEPARATED, submission_columns(SEPARATED), IDS, PRED) == "ImageID,Labels\nb.jpg,1 2\na.jpg,2\n"


def test_label_columns_are_written_as_zero_and_one():
    assert submission_csv(COLUMNS, submission_columns(COLUMNS), IDS, PRED) == "ImageID,cat,dog\nb.jpg,1,1\na.jpg,0,1\n"


@pytest.mark.parametrize("made", [SEPARATED, COLUMNS, LIST, JOINED], ids=lambda made: made.labels.format)
def test_what_is_written_is_valid_and_read_back(tmp_path, made):
    path = tmp_path / "stack.csv"
    path.write_text(submission_csv(made, submission_columns(made), IDS, PRED))
    validate_submission(path, made, submission_columns(made), IDS)
    ids, pred = parse_submission(made, read_table(path))
    assert ids == IDS and pred.tolist() == PRED.astype(int).tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "ImageID,labels\nb.jpg,1 2\na.jpg,2\n",
            r"header is \['ImageID', 'labels'\], expected \['ImageID', 'Labels'\]",
        ),
        ("ImageID,Labels\na.jpg,2\nb.jpg,1 2\n", "row 1 is 'a.jpg', expected 'b.jpg': wrong order or id"),
        ("ImageID,Labels\nb.jpg,1 2\n", "1 rows, expected 2"),
        ("ImageID,Labels\nb.jpg,1 2\nb.jpg,2\n", "row 2 is 'b.jpg', expected 'a.jpg'"),
        ("ImageID,Labels\nb.jpg,1 3\na.jpg,2\n", "row 1: label '3' is not one of the 2 known labels"),
        ("ImageID,Labels\nb.jpg,1 2\na.jpg,\n", r"row 2 \(a\.jpg\) has 0 labels; expected 1 to 2"),
    ],
    ids=["header", "order", "missing id", "repeated id", "unknown label", "empty row"],
)
def test_a_violation_is_refused_with_its_row(tmp_path, content, message):
    path = tmp_path / "stack.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        validate_submission(path, SEPARATED, submission_columns(SEPARATED), IDS)
    assert str(caught.value).startswith(f"{path}: ")


def test_too_many_labels_are_refused(tmp_path):
    (tmp_path / "stack.csv").write_text(submission_csv(SEPARATED, submission_columns(SEPARATED), IDS, PRED))
    with pytest.raises(ValueError, match=r"row 1 \(b\.jpg\) has 2 labels; expected 1 to 1"):
        validate_submission(tmp_path / "stack.csv", competition(most=1), submission_columns(SEPARATED), IDS)


def test_a_cell_that_is_neither_zero_nor_one_is_refused(tmp_path):
    (tmp_path / "stack.csv").write_text("ImageID,cat,dog\nb.jpg,1,1\na.jpg,0,0.7\n")
    with pytest.raises(ValueError, match="row 2: column 'dog' holds '0.7'; expected 0 or 1"):
        validate_submission(tmp_path / "stack.csv", COLUMNS, submission_columns(COLUMNS), IDS)


def test_form_and_order_are_the_sample_submissions_where_there_is_one_else_the_test_files(tmp_path):
    (tmp_path / "test.csv").write_text("ImageID,Caption\na.jpg,x\nb.jpg,y\n")
    own = ["ImageID", "Labels"]
    assert expected_rows(SEPARATED, tmp_path) == (own, ["a.jpg", "b.jpg"], "test.csv")
    sample = tmp_path / "sample_submission.csv"
    sample.write_text("ImageID,Predicted\nb.jpg,1\na.jpg,1\n")
    columns, ids, source = expected_rows(SEPARATED, tmp_path)
    assert (columns, ids, source) == (["ImageID", "Predicted"], ["b.jpg", "a.jpg"], "sample_submission.csv")
    written = submission_csv(SEPARATED, columns, ids, PRED)
    assert written == "ImageID,Predicted\nb.jpg,1 2\na.jpg,2\n"
    (tmp_path / "stack.csv").write_text(written)
    validate_submission(tmp_path / "stack.csv", SEPARATED, columns, ids)
    sample.write_text("ImageID,1,2\nb.jpg,0,0\n")
    with pytest.raises(
        ValueError, match=r"sample_submission\.csv: its columns are ImageID, 1, 2; expected ImageID, La"
    ):
        expected_rows(SEPARATED, tmp_path)


def test_label_columns_are_in_the_sample_submissions_order():
    columns = submission_columns(COLUMNS, ["ImageID", "dog", "cat"])
    assert submission_csv(COLUMNS, columns, IDS, PRED) == "ImageID,dog,cat\nb.jpg,1,1\na.jpg,1,0\n"
    with pytest.raises(ValueError, match="its columns are ImageID, dog; expected ImageID, cat, dog"):
        submission_columns(COLUMNS, ["ImageID", "dog"])


def test_local_scores_are_those_computed_by_hand(tmp_path):
    (tmp_path / "solution.csv").write_text("ImageID,Labels\na.jpg,2\nb.jpg,1\nc.jpg,1 2\n")
    # a: right; b: {1, 2} for {1}, F1 2/3; label 1: 1 of 1, label 2: F1 2/3; micro 2*2 / (2 + 3)
    scores = local_scores(SEPARATED, tmp_path, submission_columns(SEPARATED), IDS, PRED)
    assert scores == pytest.approx({"f1_samples": 5 / 6, "f1_micro": 4 / 5, "f1_macro": 5 / 6})


def test_local_scores_count_an_empty_row_as_the_judge_does(tmp_path):
    (tmp_path / "solution.csv").write_text("ImageID,Labels\na.jpg,2\nb.jpg,\n")
    pred = np.array([[0, 0], [0, 1]])
    scores = [
        local_scores(c, tmp_path, submission_columns(c), IDS, pred)
        for c in (SEPARATED, SEPARATED.model_copy(update={"zero_division": 1}))
    ]
    assert [s["f1_samples"] for s in scores] == [0.5, 1.0]
    assert [s["f1_macro"] for s in scores] == [0.5, 1.0]  # no row has label 1


def test_a_solution_may_be_in_the_sample_submissions_form(tmp_path):
    (tmp_path / "solution.csv").write_text("ImageID,Predicted\na.jpg,2\nb.jpg,1 2\n")
    scores = local_scores(SEPARATED, tmp_path, ["ImageID", "Predicted"], IDS, PRED)
    assert scores == {"f1_samples": 1.0, "f1_micro": 1.0, "f1_macro": 1.0}


def test_a_solution_in_the_format_of_the_training_rows_is_read_and_unknown_cells_count_nowhere(tmp_path):
    (tmp_path / "solution.csv").write_text("ImageID,cat,dog\na.jpg,no,yes\nb.jpg,,no\n")
    c = competition(labels={"format": "columns", "names": ["cat", "dog"], "blank": "unknown"})
    # a: right; b: cat is unknown, dog is a false positive
    assert local_scores(c, tmp_path, submission_columns(c), IDS, PRED)["f1_samples"] == 0.5
    (tmp_path / "solution.csv").write_text("ImageID,labels\na.jpg,['2']\nb.jpg,\"['1', '2']\"\n")
    c = competition(labels={"format": "list", "column": "labels", "names": ["1", "2"]})
    assert local_scores(c, tmp_path, submission_columns(c), IDS, PRED)["f1_samples"] == 1
    (tmp_path / "solution.csv").write_text("ImageID,label\na.jpg,2\nb.jpg,1\nb.jpg,2\n")
    c = competition(labels={"format": "long", "column": "label", "names": ["1", "2"]})
    assert local_scores(c, tmp_path, submission_columns(c), IDS, PRED)["f1_samples"] == 1


def test_a_blank_flag_of_a_submission_is_refused_whatever_it_means_in_the_training_rows(tmp_path):
    (tmp_path / "stack.csv").write_text("ImageID,cat,dog\nb.jpg,1,1\na.jpg,,1\n")
    c = competition(labels={"format": "columns", "names": ["cat", "dog"], "blank": "negative"})
    with pytest.raises(ValueError, match="row 2: column 'cat' is blank"):
        validate_submission(tmp_path / "stack.csv", c, submission_columns(c), IDS)


def test_there_are_no_local_scores_without_a_solution(tmp_path):
    assert local_scores(SEPARATED, tmp_path, submission_columns(SEPARATED), IDS, PRED) is None


def test_a_solution_that_lacks_a_test_row_is_refused(tmp_path):
    (tmp_path / "solution.csv").write_text("ImageID,Labels\nb.jpg,1\n")
    with pytest.raises(ValueError, match=r"solution\.csv: 1 test ids have no solution, first: a\.jpg"):
        local_scores(SEPARATED, tmp_path, submission_columns(SEPARATED), IDS, PRED)


def test_a_label_predicted_far_more_often_on_test_than_out_of_fold_has_drifted():
    assert detect_drift({"cat": 0.20, "dog": 0.20}, {"cat": 0.30, "dog": 0.21}, 1000, 1000) == {
        "cat": {"out_of_fold": 0.20, "test": 0.30}
    }


def test_on_few_test_rows_a_difference_is_chance():
    assert detect_drift({"cat": 0.20}, {"cat": 0.30}, 1000, 20) == {}


@pytest.fixture
def copied(trained, tmp_path, monkeypatch) -> Paths:
    """A trained competition with a test table."""
    shutil.copytree(trained.root, tmp_path / "copied")
    monkeypatch.chdir(tmp_path / "copied")
    paths = Paths("toy")
    (paths.input / "test.csv").write_text("\n".join(["id", *ids_of_test_rows(paths)]) + "\n")
    return paths


def ids_of_test_rows(paths: Paths) -> tuple[str, ...]:
    return Predictions.read(paths.test("stack")).ids


def test_an_unusable_solution_costs_no_submission(copied, capsys):
    paths, ids = copied, ids_of_test_rows(copied)
    (paths.input / "solution.csv").write_text(f"id,labels\n{ids[0]},moon\n")
    run_tasks(paths, "submit stack")
    assert read_table(paths.submission("stack")).column("id") == list(ids)
    assert "no local leaderboard: input/toy/solution.csv: row 1: label 'moon' is not one" in capsys.readouterr().out


def test_a_solution_that_is_added_later_scores_the_submission(copied):
    run_tasks(copied, "submit stack")
    file = copied.submission("stack").with_suffix(".json")
    assert read_json(file)["local_leaderboard"] is None
    (copied.input / "solution.csv").write_text(
        "\n".join(["id,labels", *(f"{id},cat" for id in ids_of_test_rows(copied))]) + "\n"
    )
    run_tasks(copied, "submit stack")
    assert set(read_json(file)["local_leaderboard"]) == {"f1_samples", "f1_micro", "f1_macro"}

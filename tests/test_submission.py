import shutil
from argparse import Namespace

import numpy as np
import pytest
from checked import run_tasks

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.predictions import Predictions
from tandem.config.competition import Competition
from tandem.config.questions import Question
from tandem.data import submission_form
from tandem.data.checks import Split, check_sample
from tandem.data.csv_reader import Table, read_table
from tandem.data.submission import (
    ExpectedRows,
    detect_drift,
    expected_rows,
    local_scores,
    sample_form,
    submission_columns,
    validate_submission,
)
from tandem.data.submission_form import as_written, own_form, sample_kind, split_pairs
from tandem.graph.experiment_dir import Experiments
from tandem.stages.submit import about_thresholds, ending, main

PRED = np.array([[1, 1], [0, 1]], bool)
PROBA = np.array([[0.75, 0.5], [0.125, 1.0]])
IDS = ["b.jpg", "a.jpg"]


def competition(**changes) -> Competition:
    labels = {"format": "separated", "column": "Labels", "names": ["1", "2"]}
    base = {"id": "ImageID", "images": "data", "labels": labels, "most": 2, "experiments": ["e"]}
    return Competition.model_validate(base | changes)


SEPARATED = competition()
COLUMNS = competition(labels={"format": "columns", "names": ["cat", "dog"]})
LIST = competition(labels={"format": "list", "column": "Labels", "names": ["a,b", "it's"]})
JOINED = competition(labels={"format": "joined", "columns": ["first", "second"], "names": ["1", "2"]})


def written(made: Competition, proba: np.ndarray = PROBA, sample: str = "") -> str:
    form = own_form(made) if not sample else sample_form(as_table(sample), made)
    return form.to_csv(IDS, PRED, proba, form.pairs(as_table(sample)) if sample and form.layout == "long" else ())


def as_table(text: str) -> Table:
    header, *rows = (tuple(line.split(",")) for line in text.splitlines())
    return Table(header, rows, list(range(2, len(rows) + 2)))


def expected(made: Competition) -> ExpectedRows:
    return ExpectedRows(own_form(made), IDS, "test.csv")


def test_separated_labels_are_written_into_one_column():
    assert written(SEPARATED) == "ImageID,Labels\nb.jpg,1 2\na.jpg,2\n"


def test_label_columns_are_written_as_zero_and_one():
    assert written(COLUMNS) == "ImageID,cat,dog\nb.jpg,1,1\na.jpg,0,1\n"


def test_probabilities_are_written_where_the_metric_ranks():
    ranked = "ImageID,cat,dog\nb.jpg,0.75,0.5\na.jpg,0.125,1\n"
    assert written(COLUMNS.model_copy(update={"metric": "auc_macro"})) == ranked
    assert written(competition(metric="log_loss")) == ranked.replace("cat,dog", "1,2")


def test_probabilities_are_written_where_the_sample_holds_fractions():
    ranking = COLUMNS.model_copy(update={"metric": "auc_macro"})
    assert written(ranking, sample="ImageID,dog,cat\nb.jpg,0.25,0.25\na.jpg,0.25,0.25") == (
        "ImageID,dog,cat\nb.jpg,0.5,0.75\na.jpg,1,0.125\n"
    )


def test_a_sample_of_fractions_under_a_metric_of_label_sets_is_a_question_about_the_metric():
    table = as_table("ImageID,cat,dog\nb.jpg,0.25,0.25")
    found = sample_kind(table, COLUMNS)
    assert isinstance(found, Question) and found.key == "metric" and "0.25" in found.about
    assert set(found.candidates) == {"auc_macro", "map_macro", "map_samples", "log_loss"}
    with pytest.raises(ValueError, match="question: .*holds fractions such as 0.25, and f1_samples scores label sets"):
        sample_form(table, COLUMNS)
    flags = COLUMNS.model_copy(update={"submission": "flags"})
    assert sample_form(table, flags).to_csv(IDS, PRED, PROBA) == "ImageID,cat,dog\nb.jpg,1,1\na.jpg,0,1\n"


def test_a_sample_of_names_under_a_metric_that_ranks_is_written_as_probabilities_and_said():
    ranking = competition(metric="auc_macro")
    form = sample_form(as_table("ImageID,Labels\nb.jpg,1"), ranking)
    assert form.columns == ("ImageID", "1", "2") and form.values == "probabilities" and "names of labels" in form.note
    asked = ranking.model_copy(update={"submission": "labels"})
    assert sample_form(as_table("ImageID,Labels\nb.jpg,1"), asked).to_csv(IDS, PRED, PROBA).endswith("a.jpg,2\n")


LONG = "ImageID,value\na_dog,0.5\na_cat,0.5\nb_dog,0.5\nb_cat,0.5"


def test_a_row_for_each_id_and_label_is_written_in_the_samples_order():
    ranking = COLUMNS.model_copy(update={"metric": "log_loss"})
    form = sample_form(as_table(LONG), ranking)
    csv = form.to_csv(["b", "a"], PRED, PROBA, form.pairs(as_table(LONG)))
    assert csv == "ImageID,value\na_dog,1\na_cat,0.125\nb_dog,0.5\nb_cat,0.75\n"
    ids, values = form.parse(as_table(csv))
    assert ids == ["a", "b"] and values.tolist() == [[0.125, 1.0], [0.75, 0.5]]


def test_id_and_label_may_be_in_two_columns_and_hold_zero_and_one():
    form = sample_form(as_table("ImageID,label,is\nb,cat,0\nb,dog,0"), COLUMNS)
    assert form.to_csv(["b", "a"], PRED, PROBA) == "ImageID,label,is\nb,cat,1\nb,dog,1\na,cat,0\na,dog,1\n"


def test_labels_with_the_joint_in_their_names_are_told_by_the_longest_name():
    assert split_pairs(["x_any", "x_sub_any"], ["any", "sub_any"], "_") == [("x", "any"), ("x", "sub_any")]
    assert split_pairs(["x_any", "x_none"], ["any", "sub_any"], "_") == 1


def test_sets_in_a_cell_have_the_samples_separator_or_its_list():
    assert written(SEPARATED, sample="ImageID,Labels\nb.jpg,1|2") == "ImageID,Labels\nb.jpg,1|2\na.jpg,2\n"
    lists = sample_form(Table(("ImageID", "Labels"), [("b.jpg", "['1', '2']")], [2]), SEPARATED)
    assert read_lists(lists) == ["['1', '2']", "['2']"]
    lists = sample_form(Table(("ImageID", "Labels"), [("b.jpg", '["1", "2"]')], [2]), SEPARATED)
    assert read_lists(lists) == ['["1", "2"]', '["2"]']


def read_lists(form) -> list[str]:
    import csv

    return [row[1] for row in csv.reader(form.to_csv(IDS, PRED, PROBA).splitlines())][1:]


def test_delimiter_and_header_are_the_samples(tmp_path):
    (tmp_path / "s.csv").write_text("ImageID ;Labels\nb.jpg;1\n")
    form = as_written(tmp_path / "s.csv", own_form(SEPARATED))
    assert form.to_csv(IDS, PRED, PROBA) == "ImageID ;Labels\nb.jpg;1 2\na.jpg;2\n"


@pytest.mark.parametrize(
    "made",
    [SEPARATED, COLUMNS, LIST, JOINED, competition(metric="auc_macro"), competition(submission="long")],
    ids=["separated", "columns", "list", "joined", "probabilities", "long"],
)
def test_what_is_written_is_valid_and_read_back(tmp_path, made):
    path = tmp_path / "stack.csv"
    path.write_text(written(made))
    validate_submission(path, made, expected(made))
    ids, values = own_form(made).parse(read_table(path))
    assert ids == IDS
    assert values.tolist() == (PROBA if made.metric == "auc_macro" else PRED.astype(int)).tolist()


@pytest.mark.parametrize("made", [SEPARATED, COLUMNS, LIST, JOINED, competition(submission="long")])
def test_rows_made_a_few_at_a_time_are_the_same(made, monkeypatch):
    whole = written(made)
    monkeypatch.setattr(submission_form, "AT_ONCE", 1)
    assert written(made) == whole


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
        validate_submission(path, SEPARATED, expected(SEPARATED))
    assert str(caught.value).startswith(f"{path}: ")


def test_too_many_labels_are_refused(tmp_path):
    (tmp_path / "stack.csv").write_text(written(SEPARATED))
    with pytest.raises(ValueError, match=r"row 1 \(b\.jpg\) has 2 labels; expected 1 to 1"):
        validate_submission(tmp_path / "stack.csv", competition(most=1), expected(SEPARATED))


@pytest.mark.parametrize("cell", ["0.7", "", "nan"])
def test_a_cell_that_is_neither_zero_nor_one_is_refused(tmp_path, cell):
    (tmp_path / "stack.csv").write_text(f"ImageID,cat,dog\nb.jpg,1,1\na.jpg,0,{cell}\n")
    with pytest.raises(ValueError, match=f"row 2: column 'dog' holds '{cell}'; expected 0 or 1"):
        validate_submission(tmp_path / "stack.csv", COLUMNS, expected(COLUMNS))


@pytest.mark.parametrize("cell", ["1.5", "-0.1", "", "nan", "inf", "cat"])
def test_a_probability_outside_zero_to_one_is_refused(tmp_path, cell):
    ranking = COLUMNS.model_copy(update={"metric": "auc_macro"})
    (tmp_path / "stack.csv").write_text(f"ImageID,cat,dog\nb.jpg,1,1\na.jpg,0,{cell}\n")
    with pytest.raises(ValueError, match=f"row 2: column 'dog' holds '{cell}'; expected a number from 0 to 1"):
        validate_submission(tmp_path / "stack.csv", ranking, expected(ranking))


def test_a_long_submission_that_lacks_a_label_is_refused(tmp_path):
    made = competition(submission="long")
    (tmp_path / "stack.csv").write_text("ImageID,value\nb.jpg_1,1\nb.jpg_2,1\na.jpg_2,1\n")
    with pytest.raises(ValueError, match="3 rows, expected 4"):
        validate_submission(tmp_path / "stack.csv", made, expected(made))


def test_form_and_order_are_the_sample_submissions_where_there_is_one_else_the_test_files(tmp_path):
    (tmp_path / "test.csv").write_text("ImageID,Caption\na.jpg,x\nb.jpg,y\n")
    found = expected_rows(SEPARATED, tmp_path)
    assert (found.form.columns, found.ids, found.source) == (("ImageID", "Labels"), ["a.jpg", "b.jpg"], "test.csv")
    sample = tmp_path / "sample_submission.csv"
    sample.write_text("ImageID,Predicted\nb.jpg,1\na.jpg,1\n")
    found = expected_rows(SEPARATED, tmp_path)
    assert (found.ids, found.source) == (["b.jpg", "a.jpg"], "sample_submission.csv")
    text = found.form.to_csv(found.ids, PRED, PROBA)
    assert text == "ImageID,Predicted\nb.jpg,1 2\na.jpg,2\n"
    (tmp_path / "stack.csv").write_text(text)
    validate_submission(tmp_path / "stack.csv", SEPARATED, found)
    sample.write_text("ImageID,1,2\nb.jpg,0,0\na.jpg,0,0\n")
    flags = expected_rows(SEPARATED, tmp_path).form
    assert flags.to_csv(IDS, PRED, PROBA) == "ImageID,1,2\nb.jpg,1,1\na.jpg,0,1\n"
    sample.write_text("ImageID,1,3\nb.jpg,0,0\n")
    with pytest.raises(
        ValueError, match=r"sample_submission\.csv: its columns are ImageID, 1, 3; expected ImageID, La"
    ):
        expected_rows(SEPARATED, tmp_path)


def test_label_columns_are_in_the_sample_submissions_order():
    assert submission_columns(COLUMNS, ["ImageID", "dog", "cat"]) == ["ImageID", "dog", "cat"]
    assert written(COLUMNS, sample="ImageID,dog,cat\nb.jpg,0,0") == "ImageID,dog,cat\nb.jpg,1,1\na.jpg,1,0\n"
    with pytest.raises(ValueError, match="its columns are ImageID, bird, dog; expected ImageID, cat, dog"):
        submission_columns(COLUMNS, ["ImageID", "bird", "dog"])


def test_local_scores_are_those_computed_by_hand(tmp_path):
    (tmp_path / "solution.csv").write_text("ImageID,Labels,Usage\na.jpg,2,Public\nb.jpg,1,Public\nc.jpg,1 2,Private\n")
    # a: right; b: {1, 2} for {1}, F1 2/3; label 1: 1 of 1, label 2: F1 2/3; micro 2*2 / (2 + 3)
    scores = local_scores(SEPARATED, tmp_path, expected(SEPARATED), PRED, PROBA)
    assert scores == pytest.approx({"f1_samples": 5 / 6, "f1_micro": 4 / 5, "f1_macro": 5 / 6})


def test_local_scores_count_an_empty_row_as_the_judge_does(tmp_path):
    (tmp_path / "solution.csv").write_text("ImageID,Labels\na.jpg,2\nb.jpg,\n")
    pred = np.array([[0, 0], [0, 1]])
    scores = [
        local_scores(c, tmp_path, expected(c), pred, PROBA)
        for c in (SEPARATED, SEPARATED.model_copy(update={"zero_division": 1}))
    ]
    assert [s["f1_samples"] for s in scores] == [0.5, 1.0]
    assert [s["f1_macro"] for s in scores] == [0.5, 1.0]  # no row has label 1


def test_a_solution_may_be_in_the_sample_submissions_form(tmp_path):
    (tmp_path / "solution.csv").write_text("ImageID,Predicted\na.jpg,2\nb.jpg,1 2\n")
    named = ExpectedRows(sample_form(as_table("ImageID,Predicted\nb.jpg,1"), SEPARATED), IDS, "sample.csv")
    scores = local_scores(SEPARATED, tmp_path, named, PRED, PROBA)
    assert scores == {"f1_samples": 1.0, "f1_micro": 1.0, "f1_macro": 1.0}


@pytest.mark.parametrize("solution", ["ImageID,1,2\na.jpg,0,1\nb.jpg,1,0\n", "ImageID,Labels\na.jpg,2\nb.jpg,1\n"])
def test_probabilities_are_scored_against_flags_and_against_names(tmp_path, solution):
    (tmp_path / "solution.csv").write_text(solution)
    ranking = competition(metric="auc_macro")  # label 1: b has it, 0.75 > 0.125; label 2: a has it, 1 > 0.5
    assert local_scores(ranking, tmp_path, expected(ranking), PRED, PROBA)["auc_macro"] == 1.0
    assert local_scores(ranking, tmp_path, expected(ranking), PRED, 1 - PROBA)["auc_macro"] == 0.0
    sets = ranking.model_copy(update={"submission": "labels"})  # label 2 is on both rows: ties
    assert local_scores(sets, tmp_path, expected(sets), PRED, PROBA)["auc_macro"] == 0.75


def test_a_solution_in_the_format_of_the_training_rows_is_read_and_unknown_cells_count_nowhere(tmp_path):
    (tmp_path / "solution.csv").write_text("ImageID,cat,dog\na.jpg,no,yes\nb.jpg,,no\n")
    c = competition(labels={"format": "columns", "names": ["cat", "dog"], "blank": "unknown"})
    # a: right; b: cat is unknown, dog is a false positive
    assert local_scores(c, tmp_path, expected(c), PRED, PROBA)["f1_samples"] == 0.5
    (tmp_path / "solution.csv").write_text("ImageID,labels\na.jpg,['2']\nb.jpg,\"['1', '2']\"\n")
    c = competition(labels={"format": "list", "column": "labels", "names": ["1", "2"]})
    assert local_scores(c, tmp_path, expected(c), PRED, PROBA)["f1_samples"] == 1
    (tmp_path / "solution.csv").write_text("ImageID,label\na.jpg,2\nb.jpg,1\nb.jpg,2\n")
    c = competition(labels={"format": "long", "column": "label", "names": ["1", "2"]})
    assert local_scores(c, tmp_path, expected(c), PRED, PROBA)["f1_samples"] == 1


def test_a_blank_flag_of_a_submission_is_refused_whatever_it_means_in_the_training_rows(tmp_path):
    (tmp_path / "stack.csv").write_text("ImageID,cat,dog\nb.jpg,1,1\na.jpg,,1\n")
    c = competition(labels={"format": "columns", "names": ["cat", "dog"], "blank": "negative"})
    with pytest.raises(ValueError, match="row 2: column 'cat' holds ''"):
        validate_submission(tmp_path / "stack.csv", c, expected(c))


def test_there_are_no_local_scores_without_a_solution(tmp_path):
    assert local_scores(SEPARATED, tmp_path, expected(SEPARATED), PRED, PROBA) is None


def test_a_solution_that_lacks_a_test_row_is_refused(tmp_path):
    (tmp_path / "solution.csv").write_text("ImageID,Labels\nb.jpg,1\n")
    with pytest.raises(ValueError, match=r"solution\.csv: 1 test ids have no solution, first: a\.jpg"):
        local_scores(SEPARATED, tmp_path, expected(SEPARATED), PRED, PROBA)


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


def test_another_decoder_writes_a_second_submission_beside_the_first(copied):
    paths = copied
    run_tasks(paths, "submit stack", "submit stack.shrunk")
    first, second = paths.submission("stack"), paths.submission("stack.shrunk")
    assert first.is_file() and second.name == "stack.shrunk.csv"
    about = read_json(second.with_suffix(".json"))
    assert about["decoder"]["decoder"] == "shrunk" and read_json(first.with_suffix(".json"))["decoder"] != "shrunk"
    scores = read_json(paths.scores("stack"))
    assert about["out_of_fold"]["score"] == scores["decoders"]["shrunk"]["score"]
    last = about_thresholds("stack", scores)
    found = scores["thresholds"]
    assert last.startswith(f"stack: f1_samples {found['over_score']:.4f} by {found['over']}, the decoder in use; ")
    assert f"{found['score']:.4f} by per-class thresholds ({found['by']})" in last and "[" in last
    score, file, then = ending(paths, "stack", Experiments(paths))
    interval = f" ± {scores['half_width']:.4f} (95 % interval), cross-fitted"
    assert score == f"stack: f1_samples {scores['score']:.4f}{interval}"
    assert file.startswith("submissions/toy/stack.csv: ") and then == "next: make report COMP=toy"
    with pytest.raises(ValueError, match="DECODER=best: expected one of fixed, global"):
        main(Namespace(comp="toy", exps="", decoder="best"))


def test_a_metric_that_ranks_submits_probabilities(copied):
    paths = copied
    text = paths.competition.read_text().replace('metric = "f1_samples"', 'metric = "log_loss"')
    paths.competition.write_text(text)
    run_tasks(paths, "decode stack", "submit stack")
    table = read_table(paths.submission("stack"))
    assert table.columns == ("id", "cat", "sky")
    assert read_json(paths.submission("stack").with_suffix(".json"))["written"] == "probabilities, a column a label"
    assert read_json(paths.thresholds("stack"))["thresholds_for"] == "f1_macro"
    values = np.array([[float(cell) for cell in row[1:]] for row in table.rows])
    assert ((values > 0) & (values < 1)).all()


def test_check_asks_where_the_sample_contradicts_the_metric_and_reads_long_samples():
    test = Split("test.csv", [2, 3], ["b", "a"], ["", ""])
    fractions = as_table("ImageID,cat,dog\nb,0.25,0.25\na,0.25,0.25")
    (issue,) = check_sample(test, fractions, "sample.csv", COLUMNS)
    assert issue.kind == "question" and "auc_macro" in issue.message and 'submission = "flags"' in issue.message
    ranking = COLUMNS.model_copy(update={"metric": "auc_macro"})
    assert list(check_sample(test, fractions, "sample.csv", ranking)) == []
    assert list(check_sample(test, as_table(LONG), "sample.csv", ranking)) == []
    others = as_table(LONG.replace("\nb_", "\nc_"))
    unknown, lacking = check_sample(test, others, "sample.csv", ranking)
    assert (unknown.id, unknown.line, lacking.id) == ("c", 4, "b")


def test_new_images_are_labelled_by_the_decoder_that_is_asked_for(copied):
    from tandem.inference.labeler import Labeler  # imports torch

    labeler = Labeler.of(copied, "looks", decoder="ascent")
    assert labeler.predictor.decoder.name == labeler.no_caption.decoder.name == "ascent"
    thresholds = read_json(copied.thresholds("looks"))["decoders"]["ascent"]["thresholds"]
    assert labeler.predictor.decoder.thresholds.tolist() == list(thresholds.values())
    with pytest.raises(ValueError, match="DECODER=best: expected one of fixed, global"):
        Labeler.of(copied, "looks", decoder="best")

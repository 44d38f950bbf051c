import numpy as np
import pytest
from checked import write_competition

from tandem.__main__ import main
from tandem.artifacts.atomic_io import csv_text, read_json, write_json, write_text
from tandem.artifacts.paths import Paths
from tandem.data.blend import blend_values, within_limits

NAMES = ("cat", "dog", "sky")


@pytest.fixture
def comp(tmp_path, monkeypatch):
    """A competition of which only the settings and the test table exist: nothing was trained."""
    monkeypatch.chdir(tmp_path)
    paths = Paths("small")
    write_competition(paths, NAMES, least=1, most=2)
    write_text(paths.input / "test.csv", "id,caption\n1,x\n2,y\n")
    return paths


def sets(file, *rows, header=("id", "labels")):
    write_text(file, csv_text(header, *rows))
    return file


def probabilities(file, *rows):
    write_text(file, csv_text(["id", *NAMES], *rows))
    return file


def blend(tmp_path, files, *more):
    names = " ".join(str(tmp_path / file) for file in files)
    return main(["blend", "small", f"FILES={names}", *more])


def written(paths):
    return paths.submission("blend").read_text().splitlines()[1:]


def test_label_sets_are_decided_by_the_majority_whatever_their_order_and_ties_keep_the_label(comp, tmp_path, capsys):
    sets(tmp_path / "a.csv", ("1", "cat"), ("2", "dog"))
    sets(tmp_path / "b.csv", ("2", "dog|sky"), ("1", "cat|dog"))
    sets(tmp_path / "c.csv", ("1", "sky"), ("2", "dog"))
    assert blend(tmp_path, ["a.csv", "b.csv", "c.csv"]) == 0
    assert written(comp) == ["1,cat", "2,dog"]
    assert blend(tmp_path, ["a.csv", "b.csv"]) == 0  # one half of the votes
    assert written(comp) == ["1,cat|dog", "2,dog|sky"]
    assert blend(tmp_path, ["a.csv", "c.csv"], "WEIGHTS=1 2") == 0
    assert written(comp) == ["1,sky", "2,dog"]
    out = capsys.readouterr().out
    assert "the label sets differ from those of" in out and "0.5000" in out  # F1 of a and c: 0 and 1
    record = read_json(comp.submission("blend").with_suffix(".json"))
    assert [one["weight"] for one in record["blend"]] == [1.0, 2.0]
    assert record["agreement"][0]["jaccard_samples"] == 0.5


def test_an_empty_row_gets_the_label_with_most_votes_and_a_full_one_keeps_its_best():
    pred, share = np.array([[0, 0, 0], [1, 1, 1]], bool), np.array([[0.1, 0.4, 0.4], [0.6, 0.9, 0.8]])
    assert within_limits(pred, share, 1, 2).tolist() == [[False, True, False], [False, True, True]]
    assert within_limits(pred, share, 0, 3).tolist() == pred.tolist()
    often = np.array([[0, 0, 1], [0, 0, 0]], bool)  # of equal shares the label that other rows have
    assert within_limits(often, np.zeros((2, 3)), 1, 2).tolist() == [[False, False, True]] * 2


def test_probabilities_are_blended_by_logit_or_by_rank_and_written_as_the_competition_wants(comp, tmp_path):
    probabilities(tmp_path / "a.csv", ("1", 0.9, 0.2, 0.1), ("2", 0.4, 0.6, 0.3))
    probabilities(tmp_path / "b.csv", ("2", 0.1, 0.9, 0.2), ("1", 0.6, 0.4, 0.2))
    assert blend(tmp_path, ["a.csv", "b.csv"]) == 0
    assert written(comp) == ["1,cat", "2,dog"]
    write_text(comp.input / "sample_submission.csv", csv_text(["id", *NAMES], ("1", 0.5, 0, 0), ("2", 0, 0, 0)))
    write_competition(comp, NAMES, metric="auc_macro", least=1, most=2)
    assert blend(tmp_path, ["a.csv", "b.csv"]) == 0
    first = [float(cell) for cell in written(comp)[0].split(",")[1:]]
    assert first == pytest.approx([1 / (1 + (1 / 9 * 4 / 6) ** 0.5), 1 / 3.4495, 1 / 7], abs=1e-3)
    assert blend(tmp_path, ["a.csv", "b.csv"], "METHOD=rank") == 0
    assert written(comp)[0] == "1,0.75,0.25,0.375"


def test_ranks_and_logits_by_hand():
    values = np.array([[[0.9], [0.1]], [[0.2], [0.8]]])  # two files that rank two rows the other way round
    assert blend_values(values, np.array([1.0, 1.0]), "rank").tolist() == [[0.5], [0.5]]
    assert blend_values(values, np.array([3.0, 1.0]), "rank").tolist() == [[0.625], [0.375]]
    assert blend_values(values[:, :1], np.array([1.0, 1.0]), "logit")[0, 0] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("1", "cat")], "b.csv: 1 of the 2 ids of test.csv are missing, first: '2'"),
        ([("1", "cat"), ("2", "dog"), ("3", "dog")], "b.csv: 1 of the 2 ids of test.csv are not expected, first: '3'"),
        ([("1", "cat"), ("2", "dog"), ("1", "dog")], "b.csv:4: id '1' is also on line 2"),
        ([("1", "cat"), ("2", "cow")], "b.csv: row 2: label 'cow' is not one of"),
    ],
)
def test_a_file_with_other_rows_or_labels_is_refused_and_nothing_written(comp, tmp_path, capsys, rows, said):
    sets(tmp_path / "a.csv", ("1", "cat"), ("2", "dog"))
    sets(tmp_path / "b.csv", *rows)
    assert blend(tmp_path, ["a.csv", "b.csv"]) == 2
    assert said in capsys.readouterr().err
    assert not comp.submission("blend").exists()


def test_mixed_kinds_wrong_numbers_and_columns_are_refused(comp, tmp_path, capsys):
    sets(tmp_path / "a.csv", ("1", "cat"), ("2", "dog"))
    probabilities(tmp_path / "b.csv", ("1", 0.9, 0.2, 0.1), ("2", 0.4, 0.6, 0.3))
    probabilities(tmp_path / "c.csv", ("1", 1.2, 0.2, 0.1), ("2", 0.4, 0.6, 0.3))
    write_text(tmp_path / "d.csv", "id,cat,cow\n1,0,1\n2,0,1\n")
    for files, more, said in (
        (["a.csv", "b.csv"], (), "holds label sets"),
        (["b.csv", "c.csv"], (), "column 'cat' holds '1.2'; expected a number from 0 to 1"),
        (["b.csv", "d.csv"], (), "d.csv: its columns are id, cat, cow"),
        (["b.csv"], (), "expected two or more"),
        (["b.csv", "b.csv"], (), "stands there twice"),
        (["a.csv", "b.csv"], ("WEIGHTS=1 0",), "expected 2 positive numbers"),
        (["b.csv", "none.csv"], (), "none.csv does not exist"),
    ):
        assert blend(tmp_path, files, *more) == 2
        assert said in capsys.readouterr().err
    probabilities(tmp_path / "e.csv", ("1", 0.8, 0.2, 0.1), ("2", 0.4, 0.6, 0.3))
    assert blend(tmp_path, ["b.csv", "e.csv"], "METHOD=vote") == 2
    assert "METHOD=vote: the files hold probabilities; expected one of logit, rank; run: " in capsys.readouterr().err


def test_the_submission_of_an_experiment_is_not_replaced(comp, tmp_path, capsys):
    sets(tmp_path / "a.csv", ("1", "cat"), ("2", "dog"))
    sets(tmp_path / "b.csv", ("1", "cat"), ("2", "dog"))
    stack = sets(comp.submission("stack"), ("1", "cat"), ("2", "dog"))
    write_json(stack.with_suffix(".json"), {"experiment": "stack"})
    assert blend(tmp_path, ["a.csv", "b.csv"], f"OUT={stack}") == 2
    assert "exists and is no blend" in capsys.readouterr().err
    assert blend(tmp_path, ["a.csv", "b.csv"], f"OUT={tmp_path / 'mine.csv'}") == 0
    assert "the files hardly differ" in capsys.readouterr().out

"""corrections.csv: what is read and refused, that it changes nothing but labels, and the score before and after."""

import numpy as np
import pytest
from small_competition import write_small
from words_competition import set_keys

from tandem.__main__ import main
from tandem.artifacts.atomic_io import file_digest, read_json, write_text
from tandem.artifacts.paths import Paths
from tandem.data.corrections import Correction, GivenLabels, Limits, corrected, read_corrections, write_corrections
from tandem.data.split_tables import read_labels
from tandem.graph.experiment_dir import Experiments

HEADER = "id,label,was,now,suspected_by\n"
GIVEN = GivenLabels(["a", "b"], ["cat", "sky"], np.array([[1, 0], [0, 0]]), np.array([[True, True], [True, False]]))
ANY = Limits(0, 2)


def applied(file, text: str, limits: Limits = ANY, others=("t",)):
    write_text(file, HEADER + text)
    return corrected(GIVEN, read_corrections(file), limits, file, others)


def test_a_correction_changes_its_label_and_no_other_and_an_unknown_label_becomes_known(tmp_path):
    y, known = applied(tmp_path / "c.csv", "a,cat,1,0,mistakes of stack\nb,sky,unknown,1,by hand\nb,cat,0,0,by hand\n")
    assert y.tolist() == [[0, 0], [0, 1]] and known is None
    assert GIVEN.y.tolist() == [[1, 0], [0, 0]]


WRONG = [
    ("a,cat,1,0,x\nq,cat,1,0,x\n", r"c\.csv: line 3: id 'q' is not a training row"),
    ("t,cat,1,0,x\n", r"line 2: id 't' is a row of another table; only labels of training rows are corrected"),
    ("a,dog,1,0,x\n", r"line 2: label 'dog' is not one of 'cat', 'sky'"),
    ("a,cat,0,1,x\n", r"line 2: was is 0, but the table's label 'cat' of 'a' is 1: the table changed since"),
    ("b,sky,0,1,x\n", r"line 2: was is 0, but the table's label 'sky' of 'b' is unknown"),
    ("a,cat,yes,1,x\n", r"line 2: was is 'yes'; expected 0 or 1 or unknown"),
    ("a,cat,1,unknown,x\n", r"line 2: now is 'unknown'; expected 0 or 1$"),
    ("a,cat,1,0,x\na,cat,1,1,x\n", r"line 3: label 'cat' of 'a' stands on line 2 too"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_line_that_does_not_fit_the_table_is_an_error_with_its_number(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        applied(tmp_path / "c.csv", text)


def test_a_row_keeps_as_many_labels_as_the_competition_asks_for(tmp_path):
    with pytest.raises(ValueError, match="line 2: 'a' then has no labels, at least 1"):
        applied(tmp_path / "c.csv", "a,cat,1,0,x\n", Limits(1, 2))
    with pytest.raises(ValueError, match="line 2: 'a' then has 2 labels, at most 1"):
        applied(tmp_path / "c.csv", "a,sky,0,1,x\n", Limits(0, 1))


def test_what_is_written_is_read_back(tmp_path):
    ones = [Correction("a,1", "cat", None, 1, "label errors of stack"), Correction('"b"', "sky", 0, 0)]
    write_corrections(tmp_path / "c.csv", ones)
    read = read_corrections(tmp_path / "c.csv")
    assert [(c.id, c.label, c.was, c.now, c.suspected_by) for c in read] == [
        ("a,1", "cat", None, 1, "label errors of stack"),
        ('"b"', "sky", 0, 0, "by hand"),
    ]
    assert (tmp_path / "c.csv").read_text().splitlines()[0] == HEADER.strip()
    assert read_corrections(tmp_path / "none.csv") == []


def test_corrections_retrain_on_the_same_folds_and_the_score_before_is_kept(submitted, capsys):
    paths = submitted
    ids, names, y, _ = read_labels(paths.labels)
    folds, table = paths.folds.read_bytes(), file_digest(paths.input / "train.csv")
    keys = {file: read_json(file)["key"] for file in (paths.checked, paths.folds_record, paths.run("words"))}
    write_corrections(paths.corrections, [Correction(ids[i], "cat", int(y[i, 0]), 1 - int(y[i, 0])) for i in range(4)])

    assert main(["submit", "small", "EXPS=words"]) == 0  # without corrections = true nothing depends on the file
    assert "Nothing to be done" in capsys.readouterr().out
    assert main(["review", "small", "DIFF=1"]) == 2
    assert "no corrections are applied yet; set corrections = true in input/small/comp" in capsys.readouterr().err

    set_keys(paths, corrections="true")
    assert main(["plan", "small", "EXPS=words"]) == 0
    planned = capsys.readouterr().out
    assert "check " in planned and "folds " not in planned and "words " in planned
    assert main(["submit", "small", "EXPS=words"]) == 0
    printed = capsys.readouterr().out
    assert "input/small/corrections.csv: 4 labels of 4 rows corrected, 0 found to be right" in printed
    assert "4 labels corrected" in printed  # the mark in the table of scores
    after = read_labels(paths.labels)[2]
    assert np.argwhere(after != y).tolist() == [[0, 0], [1, 0], [2, 0], [3, 0]]
    assert read_labels(paths.given_labels)[2].tolist() == y.tolist()
    assert paths.folds.read_bytes() == folds and file_digest(paths.input / "train.csv") == table
    assert read_json(paths.run("words"))["key"] != keys[paths.run("words")]
    assert read_json(paths.scores("words"))["labels_corrected"] == 4

    assert main(["review", "small", "DIFF=1"]) == 0
    title, before, now, gain = capsys.readouterr().out.splitlines()
    assert title == "words: 4 labels of 4 rows corrected; 41 rows not corrected"
    assert before.startswith("before: f1_samples 0.") and before.endswith("on all, by the given labels")
    assert now.startswith("after: f1_samples 0.") and now.endswith("on all, by the corrected labels")
    numbers = [float(line.split("f1_samples ")[1].split()[0]) for line in (before, now)]
    assert float(gain.split(": ")[1].split(",")[0]) == pytest.approx(numbers[1] - numbers[0], abs=2e-4)
    assert "paired 95 % interval [" in gain

    set_keys(paths, corrections="false")
    assert main(["submit", "small", "EXPS=words"]) == 0
    assert {file: read_json(file)["key"] for file in keys} == keys
    assert not paths.given_labels.exists()
    assert paths.corrections.exists()


def test_a_wrong_correction_stops_the_submission_with_its_line(submitted, capsys):
    set_keys(submitted, corrections="true")
    write_text(submitted.corrections, HEADER + "nobody.jpg,cat,1,0,by hand\n")
    before = file_digest(submitted.submission("words"))
    assert main(["submit", "small", "EXPS=words"]) == 2
    assert "input/small/corrections.csv: line 2: id 'nobody.jpg' is not a training row" in capsys.readouterr().err
    assert file_digest(submitted.submission("words")) == before


@pytest.mark.slow
def test_a_stack_is_compared_before_and_after_and_only_what_was_scored_again_is_marked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    paths = Paths("small")
    assert main(["submit", "small"]) == 0
    given = dict(zip(*read_labels(paths.labels)[::2], strict=True))["0.jpg"].tolist()
    write_corrections(paths.corrections, [Correction("0.jpg", "cat", given[0], 1 - given[0])])
    set_keys(paths, corrections="true")
    assert main(["submit", "small", "EXPS=words"]) == 0
    marks = {name: Experiments(paths)[name].marks for name in ("words", "looks", "stack")}
    assert marks == {"words": ("1 label corrected",), "looks": (), "stack": ()}
    capsys.readouterr()
    assert main(["review", "small", "DIFF=1"]) == 2
    assert "run: make submit COMP=small" in capsys.readouterr().err
    assert main(["submit", "small"]) == 0
    assert "note: stack: 1 label corrected: its cross-fitted score may be optimistic" in capsys.readouterr().out
    assert main(["review", "small", "DIFF=1"]) == 0
    assert "stack: 1 label of 1 row corrected; 44 rows not corrected" in capsys.readouterr().out

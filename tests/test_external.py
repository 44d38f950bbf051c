"""Out-of-fold and test predictions that were made elsewhere become an experiment: `make add-predictions`."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checked import run_tasks, train
from hypothesis import given
from hypothesis import strategies as st

from tandem import competition
from tandem.__main__ import main
from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.data.external_predictions import join_ids, kind_of, same_partition
from tandem.data.user_table import UserTable
from tandem.ensemble.leak_test import confidence, leak_warning
from tandem.graph.experiment_dir import Experiments
from tandem.logits import logit, sigmoid

N, TEST = 60, 12
NAMES = ("cat", "dog")


def text(i: int) -> str:
    words = [name for j, name in enumerate(NAMES) if i * 7 % 11 >> j & 1]
    return f"remark {i} of a {' and a '.join(words) or 'sea'}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A competition of texts whose ids look like images; `text_tfidf` is trained. Not to be changed."""
    root = tmp_path_factory.mktemp("external")
    (root / "input" / "remarks").mkdir(parents=True)
    train_rows = [[f"r{i}.jpg", text(i), *(int(f"a {name}" in text(i)) for name in NAMES)] for i in range(N)]
    test_rows = [[f"r{i}.jpg", text(i)] for i in range(N, N + TEST)]
    for name, header, rows in (
        ("train.csv", ["id", "comment_text", *NAMES], train_rows),
        ("test.csv", ["id", "comment_text"], test_rows),
    ):
        with (root / "input" / "remarks" / name).open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("TANDEM_THREADS", "1")
        assert main(["import", "COMP=remarks", "DIR=input/remarks"]) == 0
        run_tasks(Paths("remarks"), "check", "folds")
        train(Paths("remarks"), "text_tfidf")
    return Paths("remarks", root)


@pytest.fixture
def paths(made, tmp_path, monkeypatch) -> Paths:
    """A copy to be changed, as the working folder, with what text_tfidf predicts as oof.csv, test.csv and folds.csv."""
    shutil.copytree(made.root, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    paths = Paths("remarks")
    for split, file in (("oof", paths.oof("text_tfidf")), ("test", paths.test("text_tfidf"))):
        pd.read_parquet(file).to_csv(f"{split}.csv", index=False)
    pd.read_csv(paths.folds)[["id", "fold"]].to_csv("folds.csv", index=False)
    return paths


def add(*words: str) -> int:
    return main(["add-predictions", "COMP=remarks", "NAME=notebook", *words])


FILES = ("OOF=oof.csv", "TEST=test.csv")
EXACT = ("score", "in_sample", "log_loss", "map", "f1_samples", "f1_macro", "fold_scores", "decoders")


def scores(paths: Paths, name: str) -> dict:
    written = read_json(paths.scores(name))
    return {key: written[key] for key in EXACT}


def changed(file: str, change) -> None:
    table = pd.read_csv(file)
    change(table).to_csv(file, index=False)


def test_a_copy_of_our_own_predictions_scores_to_the_digit_what_they_score(paths):
    assert add(*FILES, "FOLDS=folds.csv") == 0
    assert scores(paths, "notebook") == scores(paths, "text_tfidf")
    assert read_json(paths.run("notebook"))["marks"] == []


def test_a_copy_in_parquet_knows_its_folds_and_scores_the_same(paths):
    assert add(f"OOF={paths.oof('text_tfidf')}", f"TEST={paths.test('text_tfidf')}") == 0
    assert scores(paths, "notebook") == scores(paths, "text_tfidf")
    assert read_json(paths.run("notebook"))["own_folds"] == "same"


def test_logits_of_other_columns_rows_and_ids_are_joined_by_name(paths):
    for file in ("oof.csv", "test.csv"):
        table = pd.read_csv(file).sample(frac=1, random_state=0)[["dog", "id", "cat"]]
        table[list(NAMES)] = logit(table[list(NAMES)].to_numpy())
        table["id"] = table["id"].str.removesuffix(".jpg")
        table.to_csv(file, index=False)
    assert add(*FILES, "FOLDS=folds.csv") == 0
    assert read_json(paths.run("notebook"))["source"]["values"] == "logits"
    ours, theirs = (competition("remarks").oof(name).proba for name in ("text_tfidf", "notebook"))
    assert np.abs(ours - theirs).max() < 1e-6


def test_unknown_folds_are_accepted_with_a_warning_and_marked_in_every_table(paths, capsys):
    assert add(*FILES) == 0
    assert "its folds are unknown (give FOLDS=folds.csv)" in capsys.readouterr().out
    assert main(["submit", "COMP=remarks", "EXPS=notebook"]) == 0
    assert re.search(r"notebook .*\n *other folds", capsys.readouterr().out)
    assert read_json(paths.run("notebook"))["marks"] == ["other folds"]
    assert read_json(paths.submission("notebook").with_suffix(".json"))["marks"] == ["other folds"]
    assert competition("remarks").scores()["notebook"].marks == ("other folds",)
    assert main(["submit", "COMP=remarks", "EXPS=notebook text_tfidf"]) == 0
    assert re.search(r"stack .*\n *other folds", capsys.readouterr().out)
    assert read_json(paths.run("stack"))["marks"] == ["other folds"]
    assert main(["report", "COMP=remarks"]) == 0
    assert "notebook <small>other folds</small>" in paths.report.read_text()


def test_folds_that_differ_are_other_folds_and_renumbered_ones_are_ours(paths):
    changed("folds.csv", lambda t: t.assign(fold=t["fold"].map(lambda k: f"part {(k + 1) % 5}")))
    assert add(*FILES, "FOLDS=folds.csv") == 0
    assert read_json(paths.run("notebook"))["own_folds"] == "same"
    changed("folds.csv", lambda t: t.assign(fold=np.roll(t["fold"], 1)))
    assert add(*FILES, "FOLDS=folds.csv", "AGAIN=1") == 0
    assert read_json(paths.run("notebook"))["own_folds"] == "other"


def put(column, row, value):
    def change(table):
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
        return table

    return change


BROKEN = {
    "a missing id": (lambda t: t.drop(index=7), r"1 of the 60 training rows have no row, first: 'r7.jpg'"),
    "a repeated id": (lambda t: pd.concat([t, t.iloc[3:4]]), r"line 62, .*'r3.jpg' is repeated, first in line 5"),
    "an unknown id": (put("id", 4, "x9.jpg"), r"line 6, column 'id': id 'x9.jpg' is none of the 60 training rows"),
    "NaN": (put("cat", 2, "nan"), r"line 4, column 'cat': nan \(NaN\); expected a number"),
    "an empty cell": (put("cat", 2, ""), r"line 4, column 'cat': an empty cell"),
    "infinity": (put("dog", 0, "-inf"), r"line 2, column 'dog': -inf \(infinity\)"),
    "a text": (put("dog", 0, "0,5"), r"line 2, column 'dog': '0,5', which is no number"),
    "a probability over 1": (put("dog", 5, 1.5), r"line 7, column 'dog': 1.5 is no probability.* KIND=logits"),
    "a missing label": (lambda t: t.drop(columns="dog"), r"line 1: no column for the labels 'dog'"),
    "an unknown label": (lambda t: t.assign(cow=0.5), r"the columns 'id', 'cow' are no labels"),
    "another label list": (lambda t: t.rename(columns={"dog": "cow"}), r"no column for the labels 'dog'.*'cow'"),
    "no ids": (lambda t: t.drop(columns="id"), r"every column is a label's; expected a column of ids"),
    "a negative value": (
        put("dog", 5, -0.3),
        r"question: .*1 of 120 values are negative, down to -0.3; are they logits.*KIND=probabilities",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_wrong_file_is_refused_with_its_line_and_nothing_is_written(paths, what, capsys):
    change, message = BROKEN[what]
    changed("oof.csv", change)
    assert add(*FILES) == 2
    said = capsys.readouterr().err
    assert pytest.raises(AssertionError, match=message).matches(AssertionError(said)) and "oof.csv" in said
    assert not paths.external_dir.exists() and not paths.experiment("notebook").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("id,cat,cat\nr0.jpg,0.1,0.2\n", "repeats ['cat']"),
        ("r0.jpg,0.1,0.2\nr1.jpg,0.1,0.2\n", "no column is one of the labels"),
        ("id cat dog\nr0.jpg 0.1 0.2\n", "commas between the columns"),
        ("id,cat,dog\n", "no row below the header"),
    ],
)
def test_a_file_that_is_no_table_of_predictions_is_refused(paths, content, message, capsys):
    Path("oof.csv").write_text(content)
    assert add(*FILES) == 2
    assert message in capsys.readouterr().err and not paths.external_dir.exists()


def test_the_test_file_is_checked_too(paths, capsys):
    assert add("OOF=oof.csv") == 2 and "add TEST=test.csv" in capsys.readouterr().err
    changed("test.csv", lambda t: t.drop(index=0))
    assert add(*FILES) == 2
    assert "1 of the 12 test rows have no row, first: 'r60.jpg'" in capsys.readouterr().err
    assert not paths.external_dir.exists()


def test_a_name_that_is_taken_is_refused(paths, capsys):
    for name, why in (("text_tfidf", "configs/text_tfidf.toml"), ("stack", "a stack"), ("A b", "expected lower-case")):
        assert main(["add-predictions", "COMP=remarks", f"NAME={name}", *FILES]) == 2
        assert why in capsys.readouterr().err


def test_adding_again_needs_a_word_unless_it_is_identical(paths, capsys):
    assert add(*FILES) == 0 and add(*FILES) == 0
    assert "holds the same predictions already" in capsys.readouterr().out
    changed("oof.csv", lambda t: t.assign(cat=t["cat"] / 2))
    assert add(*FILES) == 2 and "add AGAIN=1" in capsys.readouterr().err
    assert add(*FILES, "AGAIN=1") == 0
    kept = competition("remarks").oof("notebook").to_pandas()["cat"].to_numpy()
    assert np.allclose(kept, pd.read_csv("oof.csv")["cat"], atol=1e-7)


def test_again_and_remove_given_as_0_do_nothing(paths, capsys):
    assert add(*FILES) == 0
    changed("oof.csv", lambda t: t.assign(cat=t["cat"] / 2))
    assert add(*FILES, "AGAIN=0") == 2 and "add AGAIN=1" in capsys.readouterr().err
    assert add("REMOVE=0") == 2 and "there are no out-of-fold predictions" in capsys.readouterr().err
    assert paths.external_oof("notebook").exists()


def test_folds_of_one_name_and_a_folder_are_refused(paths, capsys):
    changed("folds.csv", lambda t: t.assign(fold=0))
    assert add(*FILES, "FOLDS=folds.csv") == 2
    assert "folds.csv: all rows are in fold '0', so none was left out" in capsys.readouterr().err
    assert add("OOF=input", "TEST=test.csv") == 2
    assert "input is a folder; expected a regular file" in capsys.readouterr().err
    assert not paths.external_dir.exists()


def test_make_clean_leaves_it_and_removing_it_leaves_nothing(paths, capsys):
    assert add(*FILES, "FOLDS=folds.csv") == 0
    before = scores(paths, "notebook")
    shutil.rmtree(paths.oof_dir)  # as make clean does
    assert main(["train", "COMP=remarks", "EXPS=notebook"]) == 0
    assert scores(paths, "notebook") == before
    assert main(["add-predictions", "COMP=remarks", "NAME=notebook", "REMOVE=1"]) == 0
    assert not paths.external_oof("notebook").parent.exists() and not paths.experiment("notebook").exists()
    capsys.readouterr()
    assert main(["train", "COMP=remarks", "EXPS=notebook"]) == 2
    assert "EXPS: notebook has no file in configs/" in capsys.readouterr().err


def test_it_is_current_until_what_it_was_made_from_changes(paths):
    assert add(*FILES, "FOLDS=folds.csv") == 0
    assert Experiments(paths)["notebook"].why_not_current == ""
    shutil.rmtree(paths.external_oof("notebook").parent)
    assert "external/notebook/oof.parquet was removed" in Experiments(paths)["notebook"].why_not_current


def test_the_data_are_checked_also_where_rows_were_removed_since_predictions_were_added(paths, capsys):
    assert add(*FILES) == 0
    paths.leak_test("notebook").unlink(missing_ok=True)
    table = paths.input / "train.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    assert main(["check", "COMP=remarks"]) == 0
    assert "59" in capsys.readouterr().out


def test_the_competition_may_list_it(paths):
    assert add(*FILES) == 0
    toml = paths.competition.read_text()
    assert 'experiments = "captions"' in toml
    paths.competition.write_text(toml.replace('experiments = "captions"', 'experiments = ["text_tfidf", "notebook"]'))
    assert main(["submit", "COMP=remarks"]) == 0
    assert list(read_json(paths.run("stack"))["members"]) == ["text_tfidf", "notebook"]
    assert read_json(paths.run("stack"))["external"] == ["notebook"]


@given(st.permutations(range(6)), st.booleans(), st.booleans())
def test_rows_are_joined_whatever_their_order_and_suffix(order, ours, theirs):
    ids = [f"a{i}" + ".jpg" * ours for i in range(6)]
    given_ids = [f"a{i}" + ".png" * theirs for i in order]
    table = UserTable(Path("oof.csv"), ("id",), [""] * 6, lambda name: given_ids)
    assert [order[i] for i in join_ids(table, "id", ids, "rows")] == list(range(6))


@given(st.lists(st.integers(0, 7), min_size=6, max_size=6))
def test_rows_are_joined_one_to_one_or_not_at_all(numbers):
    ids = [f"a{i}.jpg" for i in range(6)]
    table = UserTable(Path("oof.csv"), ("id",), [""] * 6, lambda name: [f"a{i}" for i in numbers])
    if sorted(numbers) == list(range(6)):
        assert [numbers[i] for i in join_ids(table, "id", ids, "rows")] == list(range(6))
    else:
        with pytest.raises(ValueError, match="is none of|is repeated|have no row"):
            join_ids(table, "id", ids, "rows")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.permutations(range(4)))
def test_renumbered_folds_are_the_same_partition(fold, numbers):
    assert same_partition(fold, [f"part {numbers[k]}" for k in fold])


def test_values_in_0_to_1_that_fit_the_labels_only_as_logits_are_a_question():
    table, y = UserTable(Path("oof.csv"), (), [], lambda name: []), np.ones((4, 2))
    assert kind_of(table, NAMES, np.full((4, 2), 0.9), y) == "probabilities"
    with pytest.raises(ValueError, match="question: oof.csv: all values are from 0.1 to 0.1, but fit .* as logits"):
        kind_of(table, NAMES, np.full((4, 2), 0.1), y)


def honest(rng, strength: float, n: int = 400, shift: float = 1.0):
    """Labels (n, 4), and logits of them that are as right as they are sure."""
    z = shift * strength * rng.normal(size=(n, 4)) - 1
    return (rng.random(z.shape) < sigmoid(z)).astype(np.uint8), z


def test_the_leak_test_names_predictions_that_saw_their_rows_and_no_others():
    rng = np.random.default_rng(0)
    y, z = honest(rng, 1.5)
    test = sigmoid(honest(rng, 1.5)[1])
    members = {"good": confidence(sigmoid(z), test, y)}
    members["overconfident"] = confidence(sigmoid(3 * z), sigmoid(3 * logit(test)), y)
    members["weak"] = confidence(sigmoid(z / 4), sigmoid(logit(test) / 4), y)
    for name, own in members.items():
        assert leak_warning(own, {other: c for other, c in members.items() if other != name}) == ""
    saw = confidence(sigmoid(z + 1.5 * (2.0 * y - 1)), test, y)
    assert "may have been trained on its own rows: recalibrated, its log loss" in leak_warning(saw, members)
    assert "may have been trained on its own rows" in leak_warning(saw, {})


def test_the_leak_test_gives_no_alarm_where_test_rows_are_harder_for_all_members():
    rng = np.random.default_rng(0)
    y, z = honest(rng, 2.0)
    harder = honest(rng, 2.0, shift=0.6)[1]
    own = confidence(sigmoid(z), sigmoid(harder), y)
    other = confidence(sigmoid(0.8 * z), sigmoid(0.8 * harder), y)
    assert own.ratio < 0.9 and leak_warning(own, {"other": other}) == ""

import csv
import re

import numpy as np
import pytest
from checked import run_tasks, write_competition, write_experiment

from tandem.artifacts.paths import Paths
from tandem.config.experiments import TfidfExperiment
from tandem.data.folds import assign_folds, label_shares, make_folds, read_fold_map, why_no_folds
from tandem.data.near_duplicates import HASH_BYTES
from tandem.data.split_tables import OwnFolds, write_images, write_labels, write_own_folds
from tandem.graph.declared_stages import Graph


def labels(n: int, seed: int = 0) -> np.ndarray:
    """(n, 4) with a label on every row, from one on most rows to one on few."""
    y = (np.random.default_rng(seed).random((n, 4)) < [0.7, 0.3, 0.1, 0.03]).astype(np.uint8)
    y[y.sum(axis=1) == 0, 0] = 1
    return y


def test_every_fold_holds_its_share_of_every_label():
    y = labels(1000)
    fold = assign_folds(y, np.arange(1000), 5, seed=0)
    counts = np.array([y[fold == k].sum(axis=0) for k in range(5)])
    assert np.abs(counts - y.sum(axis=0) / 5).max() <= 3
    assert np.bincount(fold).min() > 180


def test_near_duplicates_share_a_fold():
    y = labels(300)
    groups = np.arange(300) // 3
    fold = assign_folds(y, groups, 5, seed=0)
    assert (fold.reshape(100, 3) == fold.reshape(100, 3)[:, :1]).all()


def test_folds_depend_on_the_seed_alone():
    y, groups = labels(200), np.arange(200)
    assert assign_folds(y, groups, 4, 1).tolist() == assign_folds(y, groups, 4, 1).tolist()
    assert assign_folds(y, groups, 4, 1).tolist() != assign_folds(y, groups, 4, 2).tolist()


def test_rows_without_labels_and_labels_without_rows_are_folded_too():
    y = np.zeros((20, 3), np.uint8)
    y[:10, 0] = 1
    fold = assign_folds(y, np.arange(20), 5, seed=0)
    assert sorted(set(fold)) == [0, 1, 2, 3, 4]


def test_more_folds_than_groups_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match=r"4 folds, but 6 rows make only 3 groups .* at most 3"):
        assign_folds(labels(6), np.array([0, 0, 1, 1, 2, 2]), 4, seed=0)


def test_groups_of_another_length_are_refused():
    with pytest.raises(ValueError, match="6 rows of labels but 5 groups"):
        assign_folds(labels(6), np.arange(5), 2, seed=0)


def test_copies_of_one_file_make_one_group_and_share_a_fold():
    fold, group = make_folds(labels(20), [bytes(HASH_BYTES)] * 20, ["same", "same", *map(str, range(18))], 2, seed=0)
    assert group.tolist() == [0, 0, *range(1, 19)]
    assert fold[0] == fold[1]
    assert fold.tolist() == assign_folds(labels(20), group, 2, seed=0).tolist()


def test_without_a_search_for_duplicates_each_row_is_its_own_group():
    _, group = make_folds(labels(20), [bytes(HASH_BYTES)] * 20, ["same"] * 20, 2, seed=0, duplicates="off")
    assert group.tolist() == [*range(20)]


def test_label_shares_end_with_all_rows():
    y, fold = np.array([[1, 0], [1, 1], [0, 1], [0, 1]]), np.array([0, 0, 1, 1])
    assert label_shares(y, fold).tolist() == [[1.0, 0.0, 0.5], [0.5, 1.0, 0.75]]


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """A checkout in which ten rows of `toy` were checked; the first two are copies of one file."""
    monkeypatch.chdir(tmp_path)
    paths, ids = Paths("toy"), [f"{i}.jpg" for i in range(10)]
    shas = ["same", "same", *ids[2:]]
    columns = {"id": ids, "file": ids, "sha": shas, "hash": [bytes(HASH_BYTES)] * 10}
    write_images(paths.images("train"), columns | {k: [1] * 10 for k in ("width", "height", "bytes")})
    write_labels(paths.labels, ids, ("cat", "dog"), np.array([[1, i % 2] for i in range(10)]))
    write_competition(paths, ("cat", "dog"), folds={"n": 2}, experiments=["words"])
    write_experiment(paths, "words", TfidfExperiment(kind="tfidf"))
    return paths


def test_the_stage_writes_one_row_an_image_and_prints_the_shares(checked, capsys):
    run_tasks(checked, "folds")
    with checked.folds.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f"{i}.jpg" for i in range(10)]
    assert (rows[0]["group"], rows[0]["fold"]) == (rows[1]["group"], rows[1]["fold"])
    printed = capsys.readouterr().out
    assert "10 rows in 2 folds" in printed
    assert "9 groups, the largest of 2" in printed
    assert "dog" in printed
    assert "2 of 10 rows (20.0 %) are in 1 groups of near-duplicates, the largest: 0.jpg 1.jpg (2 rows)" in printed


def test_switching_the_search_off_makes_new_folds(checked, capsys):
    run_tasks(checked, "folds")
    write_competition(checked, ("cat", "dog"), folds={"n": 2}, experiments=["words"], duplicates="off")
    assert [task for task in Graph.open(checked).tasks(["folds"]).values() if task.name == "folds" and task.stale()]
    capsys.readouterr()
    run_tasks(checked, "folds")
    printed = capsys.readouterr().out
    assert "10 groups" in printed and "near-duplicates" not in printed


def test_rows_are_checked_before_they_are_split(checked):
    graph = Graph.open(checked)
    assert list(graph.tasks(graph.goal("folds"))) == ["check", "folds"]


def test_labels_and_images_of_other_rows_are_refused(checked):
    write_labels(checked.labels, ["0.jpg"], ("cat", "dog"), np.array([[1, 0]]))
    with pytest.raises(ValueError, match=r"has 1 ids, .* 10, and they differ; run: make check"):
        run_tasks(checked, "folds")


# ---- a single label, and what can't be split


def test_a_single_label_is_balanced_too():
    y = (np.arange(40) % 4 == 0)[:, None].astype(np.uint8)
    fold = assign_folds(y, np.arange(40), 5, seed=0)
    assert [int(y[fold == k].sum()) for k in range(5)] == [2] * 5


def test_as_many_folds_as_groups_leaves_no_fold_empty():
    for seed in range(40):
        y = np.random.default_rng(seed).integers(0, 2, (5, 3)).astype(np.uint8)
        assert sorted(assign_folds(y, np.arange(5), 5, seed).tolist()) == [*range(5)]


def split_after(advice: str, shas: list[str], groups: list[str] | None) -> set[int]:
    """The folds after each change that the advice names, alone: n, duplicates, and group."""
    counts = set()
    for change in advice.split("; ")[1].split(", or "):
        n = int(found[1]) if (found := re.search(r"n to at most (\d+)", change)) else 5
        given = OwnFolds(group=None if "remove group" in change else groups)
        duplicates = "off" if "duplicates" in change else "group"
        fold, _ = make_folds(labels(6), [bytes(HASH_BYTES)] * 6, shas, n, 0, duplicates, given)
        counts.add(len(set(fold.tolist())))
    return counts


@pytest.mark.parametrize(
    ("shas", "groups", "expected"),
    [
        ([*"aaaaaa"], None, '6 rows make only 1 group (near-duplicates stay together); set duplicates = "off"'),
        ([*"aaabbb"], None, "set n to at most 2 under [folds] in competition.toml, or set duplicates = "),
        ([*"abcdef"], [*"ppppqq"], "6 rows make only 2 groups (rows of your groups stay together); set n to at most 2"),
        ([*"abcdef"], [*"pppppp"], "1 group (rows of your groups stay together); remove group under [folds]"),
        ([*"aaaaaa"], [*"ppppqq"], 'set duplicates = "off" and n to at most 2 under [folds] in competition.toml'),
    ],
)  # fmt: skip
def test_what_helps_is_said_where_there_are_too_few_groups_and_it_does_help(shas, groups, expected):
    with pytest.raises(ValueError) as refused:
        make_folds(labels(6), [bytes(HASH_BYTES)] * 6, shas, 5, 0, own=OwnFolds(group=groups))
    assert expected in str(refused.value)
    assert min(split_after(str(refused.value), shas, groups)) >= 2


def test_one_row_alone_needs_more_rows():
    assert why_no_folds(np.array([0]), 2).endswith("2 folds, but 1 rows make only 1 group; add training rows")


# ---- folds and groups of the user


def test_rows_of_one_group_share_a_fold_and_join_near_duplicates():
    own = OwnFolds(group=["p", "", "p", "q", "", "q", "", ""])
    shas = ["a", "b", "c", "c", "d", "e", "f", "g"]  # 2 and 3 are one file, so p and q stay together
    fold, group = make_folds(labels(8), [bytes(HASH_BYTES)] * 8, shas, 3, 0, own=own)
    assert group.tolist() == [0, 1, 0, 0, 2, 0, 3, 4]
    assert len(set(fold[[0, 2, 3, 5]].tolist())) == 1


def test_folds_of_the_user_are_taken_as_they_are_whatever_looks_alike():
    own = OwnFolds(fold=["3", "1", "3", "1.0"])
    fold, group = make_folds(labels(4), [bytes(HASH_BYTES)] * 4, ["same", "same", "c", "d"], 5, 0, own=own)
    assert (fold.tolist(), group.tolist()) == ([3, 1, 3, 1], [0, 0, 1, 2])


def test_the_stage_writes_the_folds_of_the_user_and_groups_them_anew_only_when_they_change(checked, capsys):
    own, ids = OwnFolds([str(1 + i % 3) for i in range(10)], None), [f"{i}.jpg" for i in range(10)]
    write_competition(checked, ("cat", "dog"), folds={"column": "fold"}, experiments=["words"])
    write_own_folds(checked.own_folds, ids, own)
    run_tasks(checked, "folds")
    assert [row.split(",")[1] for row in checked.folds.read_text().splitlines()[1:]] == list(own.fold)
    assert "fold 3" in capsys.readouterr().out
    assert Graph.open(checked).fold_numbers == (1, 2, 3)
    assert not Graph.open(checked).task("folds").stale()
    write_own_folds(checked.own_folds, ids, OwnFolds(["1", "2"] * 5))
    assert [why for _, why in Graph.open(checked).task("folds").stale()] == ["own folds changed"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id;fold;group\na;0;0\n", "line 1: columns are id;fold;group, expected id, fold, group"),
        ("", "line 1: columns are , expected id, fold, group"),
        ("id,fold,group\na,0,0\nb,1\n", "line 3: expected 3 cells, found 2"),
        ("id,fold,group\na,0.0,0\n", "line 2: fold '0.0' and group '0'; expected whole numbers from 0"),
        ("id,fold,group\na,0,9999999999\n", "line 2: fold '0' and group '9999999999'; expected whole numbers from 0"),
        ("id,fold,group\na,0,0\nb,0,1\n", "1 folds, expected 2 to 50"),
        ("id,fold,group\na,-1,0\n", "line 2: fold '-1' and group '0'; expected whole numbers from 0"),
        ("id,fold,group\na,0,0\nb,1,1\na,1,0\n", "line 4: id 'a' is in line 2 too"),
    ],
)
def test_a_fold_map_with_a_wrong_row_is_refused_with_its_line(tmp_path, text, message):
    file = tmp_path / "toy.csv"
    file.write_text(text)
    with pytest.raises(ValueError) as error:
        read_fold_map(file)
    assert str(error.value) == f"{file}: {message}; correct it, or delete it and run make folds"


def test_a_fold_map_is_read_as_spreadsheets_save_it(tmp_path):
    file = tmp_path / "toy.csv"
    file.write_bytes('\ufeffgroup,id,fold,note\r\n7,"a,b",1,x\r\n\r\n8,c,0,\r\n'.encode())
    assert read_fold_map(file) == (["a,b", "c"], [1, 0], [7, 8])

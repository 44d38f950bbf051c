import os
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition
from tandem.data import split_tables
from tandem.data.check_competition import check_competition, content_digests, write_checked
from tandem.data.split_tables import read_captions, read_images, read_labels, write_images
from tandem.data.thumbnails import HASH_BYTES

LABELS = {"format": "separated", "column": "labels", "names": ["cat", "dog"]}


@pytest.fixture
def paths(tmp_path):
    """Two training rows and one test row, each with an image."""
    paths = Paths("toy", tmp_path)
    (paths.input / "data").mkdir(parents=True)
    for i in range(3):
        noise = np.random.default_rng(i).integers(256, size=(20, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(paths.input / "data" / f"{i}.png")
    (paths.input / "train.csv").write_text("id,labels,caption\n0,cat,a cat\n1,cat dog,both\n")
    (paths.input / "test.csv").write_text("id,caption\n2,unknown\n")
    return paths


def check(paths, **options):
    fields = {"id": "id", "caption": "caption", "images": "data", "suffix": ".png", "most": 2, "labels": LABELS}
    fields |= {"experiments": ["x"], "folds": {"n": 2}} | options
    return check_competition(Competition.model_validate(fields), paths.input, paths.scan_cache)


def test_a_check_returns_all_tables_and_writes_only_the_scan_cache(paths):
    checked = check(paths)
    assert checked.rows == {"train": 2, "test": 1}
    assert checked.captions == {"train": [["a cat"], ["both"]], "test": [["unknown"]]}
    assert checked.images["train"]["file"] == ["data/0.png", "data/1.png"]
    assert (checked.names, checked.y.tolist()) == (("cat", "dog"), [[1, 0], [1, 1]])
    assert (checked.n_images, checked.n_opened, checked.n_errors) == (3, 3, 0)
    assert [file.name for file in paths.build.iterdir()] == ["scan.parquet"]
    assert check(paths).n_opened == 0


def test_what_is_written_is_what_was_checked(paths):
    checked = check(paths)
    write_checked(paths, checked)
    assert read_images(paths.images("test")) == checked.images["test"]
    assert read_captions(paths.captions("train")) == (["0", "1"], ["a cat", "both"])
    assert read_labels(paths.labels)[2].tolist() == checked.y.tolist()
    write_checked(paths, check(paths, caption=""))
    assert not paths.captions("train").exists()


def test_tables_with_errors_are_not_written(paths):
    checked = check(paths, most=1)
    assert [issue.kind for issue in checked.issues] == ["rare label", "too many labels"][::-1]
    with pytest.raises(ValueError, match="1 errors; run: make check COMP=toy"):
        write_checked(paths, checked)


def test_a_missing_column_ends_the_check_before_any_image(paths):
    checked = check(paths, caption="title")
    assert (checked.n_errors, checked.n_images, dict(checked.images)) == (2, 0, {})


def labels_of(paths, text, n=12, **labels):
    """The checked tables of n training rows with one image each; `text` is the cells of label columns a row."""
    header, *cells = text.split()
    noise = [np.random.default_rng(i).integers(256, size=(20, 30, 3), dtype=np.uint8) for i in range(n)]
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(paths.input / "data" / f"{i}.png")
    rows = [f"{i},{cells[i % len(cells)]}" for i in range(n)]
    (paths.input / "train.csv").write_text("\n".join([f"id,{header}", *rows]) + "\n")
    (paths.input / "test.csv").write_text("id\n0\n")
    return check(paths, caption=None, least=0, labels=labels)


def kinds(checked):
    return [issue.kind for issue in checked.issues if issue.kind != "id in train and test"]


def test_unknown_flags_are_neither_too_few_nor_counted(paths):
    labels = {"format": "columns", "names": ["cat", "dog"], "blank": "unknown"}
    checked = labels_of(paths, "cat,dog 1,0 0,1 ,1 1,1 0,1 1,1", **labels)
    assert kinds(checked) == []
    assert checked.y[:3].tolist() == [[1, 0], [0, 1], [0, 1]]
    assert checked.known[:3].tolist() == [[True, True], [True, True], [False, True]]
    assert labels_of(paths, "cat,dog 1,0 0,1", **labels).known is None


def test_a_label_that_is_known_in_fewer_than_ten_rows_is_an_error_that_says_so(paths):
    checked = labels_of(paths, "cat,dog 1,0 0,1 ,1", format="columns", names=["cat", "dog"], blank="unknown")
    (issue,) = [issue for issue in checked.issues if issue.kind == "label hardly known"]
    assert issue.message == "label 'cat' is known in 8 of 12 rows; expected at least 10"
    assert checked.n_errors == 2


def test_blank_and_uncertain_flags_without_an_answer_are_errors_with_line_and_column(paths):
    checked = labels_of(paths, "cat,dog 1,0 ,1 -1,1", format="columns", names=["cat", "dog"])
    found = [(issue.kind, issue.line, issue.message) for issue in checked.issues if "label" in issue.kind]
    assert found == [
        ("blank label", 3, "column 'cat' is blank (4 such cells)"),
        ("uncertain label", 4, "column 'cat' holds '-1' (4 such cells)"),
    ]


def test_lists_and_joined_columns_are_read(paths):
    checked = labels_of(paths, "labels ['cat'] [] ['dog']", format="list", column="labels", names=["cat", "dog"])
    assert (kinds(checked), checked.y[:3].tolist()) == ([], [[1, 0], [0, 0], [0, 1]])
    joined = {"format": "joined", "columns": ["label_1", "label_2"], "names": ["cat", "dog"]}
    checked = labels_of(paths, "label_1,label_2 cat, dog,cat ,", **joined)
    assert (kinds(checked), checked.y[:3].tolist()) == ([], [[1, 0], [1, 1], [0, 0]])


def test_a_cell_that_is_no_list_is_an_error_with_its_line(paths):
    checked = labels_of(paths, "labels ['cat'] cat", format="list", column="labels", names=["cat", "dog"])
    issue = next(issue for issue in checked.issues if issue.kind == "not a list")
    assert (issue.line, issue.id) == (3, "1")


def test_names_that_look_the_same_are_a_warning(paths):
    checked = labels_of(paths, "labels Cat|cat cat Cat", format="list", column="labels", names=["Cat", "cat ", "dog"])
    assert [issue.message for issue in checked.issues if issue.kind == "similar labels"] == [
        "labels 'Cat', 'cat ' are counted apart"
    ]


def test_a_long_table_is_checked_as_one_row_for_each_id(paths):
    (paths.input / "train.csv").write_text("id,label,caption\n0,cat,a cat\n1,cat,both\n1,dog,both\n")
    checked = check(paths, labels={"format": "long", "column": "label", "names": ["cat", "dog"]})
    assert (checked.rows, checked.captions["train"]) == ({"train": 2, "test": 1}, [["a cat"], ["both"]])
    assert (checked.y.tolist(), checked.n_errors) == ([[1, 0], [1, 1]], 0)
    (paths.input / "train.csv").write_text("id,label,caption\n0,cow,a cow\n")
    with pytest.raises(ValueError, match=r"train\.csv: line 2: label 'cow' is not one of the 2 known labels"):
        check(paths, labels={"format": "long", "column": "label", "names": ["cat", "dog"]})


def test_an_unsafe_id_has_no_image(paths):
    (paths.input / "test.csv").write_text("id,caption\na/../2,unknown\n")
    checked = check(paths)
    assert [issue.kind for issue in checked.issues if issue.file.endswith("test.csv")] == ["unsafe id"]
    assert checked.images["test"]["sha"] == [""]


def changed_digests(before, after):
    before, after = content_digests(before), content_digests(after)
    return {key for key in before | after if before.get(key) != after.get(key)}


def test_a_digest_changes_with_its_own_content_only(paths):
    first = check(paths)
    assert set(content_digests(first)) == {
        "train.images", "train.captions", "train.labels", "test.images", "test.captions"
    }  # fmt: skip
    assert changed_digests(first, check(paths)) == set()
    (paths.input / "test.csv").write_text("id,caption\n2,another\n")
    second = check(paths)
    assert changed_digests(first, second) == {"test.captions"}
    (paths.input / "train.csv").write_text("id,labels,caption\n0,dog,a cat\n1,cat dog,both\n")
    third = check(paths)
    assert changed_digests(second, third) == {"train.labels"}
    Image.new("RGB", (5, 5)).save(paths.input / "data" / "0.png")
    assert changed_digests(third, check(paths)) == {"train.images"}


def test_digests_tell_apart_captions_that_join_to_the_same_text(paths):
    first = check(paths)
    moved = replace(first, captions=first.captions | {"train": ["a catb", "oth"]})
    assert changed_digests(first, moved) == {"train.captions"}


def test_a_table_of_images_in_many_row_groups_has_the_same_rows(tmp_path, monkeypatch):
    n = 5
    columns = {"id": [f"{i}" for i in range(n)], "file": [f"{i}.jpg" for i in range(n)], "width": [7] * n}
    columns |= {"height": [5] * n, "bytes": [9] * n, "sha": ["a"] * n}
    columns["hash"] = [bytes([i]) * HASH_BYTES for i in range(n)]
    monkeypatch.setattr(split_tables, "ROW_GROUP", 2)
    write_images(tmp_path / "images.parquet", columns)
    assert pq.ParquetFile(tmp_path / "images.parquet").num_row_groups == 3
    assert read_images(tmp_path / "images.parquet") == columns


def test_files_of_other_formats_among_the_images_are_named_by_suffix_and_tables_are_not(paths):
    for name in ("3.svg", "4.heic", "notes.txt"):
        (paths.input / "data" / name).write_text("x")
    (issue,) = [issue for issue in check(paths).issues if issue.kind == "other file"]
    assert issue.message.startswith("passed over: 1 .heic, 1 .svg; read are .avif")


def test_a_pipe_among_the_images_is_an_error_of_its_row_and_one_for_a_table_is_refused(paths):
    (paths.input / "data" / "1.png").unlink()
    os.mkfifo(paths.input / "data" / "1.png")
    (issue,) = [issue for issue in check(paths).issues if issue.kind == "unreadable image"]
    assert (issue.id, "is a named pipe" in issue.message) == ("1", True)
    os.mkfifo(paths.input / "sample_submission.csv")
    with pytest.raises(ValueError, match="sample_submission.csv is a named pipe"):
        check(paths)

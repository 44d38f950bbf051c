import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tandem.artifacts.atomic_io import read_json, write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, to_toml
from tandem.data.issues import KINDS, Issue, group_by_kind
from tandem.data.split_tables import OwnFolds, read_captions, read_images, read_labels, read_own_folds
from tandem.stages.check import main

TRAIN = [
    ("0", "cat", "a cat"),
    ("1", "dog", "a dog"),
    ("2", "cat dog", "both"),
    ("3", "cat", "a cat"),
    ("4", "dog", "a dog"),
]
TEST = [("5", "who knows"), ("6", "what this is")]
LABELS = {"format": "separated", "column": "labels", "separator": " ", "names": ["cat", "dog"]}


def photo(seed: int) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(256, size=(12, 16, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((96, 72), Image.Resampling.BICUBIC)


class Toy:
    """A competition of five training and two test rows, in which all is well until a test breaks it."""

    def __init__(self):
        self.paths = Paths("toy")
        self.train, self.test = list(TRAIN), list(TEST)
        self.header = "id,labels,caption"
        self.options: dict = {"labels": LABELS}
        (self.paths.input / "data").mkdir(parents=True)
        write_text(self.paths.configs / "x.toml", 'kind = "finetune"\n')
        for seed in range(7):
            photo(seed).save(self.image(seed))

    def image(self, id):
        return self.paths.input / "data" / f"{id}.jpg"

    def check(self) -> int:
        """The exit status of the stage, after writing the files as they now are."""
        defaults = {"id": "id", "caption": "caption", "images": "data", "suffix": ".jpg", "most": 2}
        competition = Competition.model_validate(defaults | {"experiments": ["x"], "folds": {"n": 2}} | self.options)
        self.paths.competition.write_text(to_toml(competition))
        for name, header, rows in (("train", self.header, self.train), ("test", "id,caption", self.test)):
            lines = [header, *(",".join(row) for row in rows)]
            (self.paths.input / f"{name}.csv").write_text("\n".join(lines) + "\n")
        return main(SimpleNamespace(comp="toy"))

    def findings(self) -> list[tuple[str, int]]:
        """(kind, line) of all in check.json."""
        return [(f["kind"], f["line"]) for f in read_json(self.paths.check_report)["findings"]]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Toy()


def test_a_sound_competition_is_ready_and_its_tables_are_written(toy, capsys):
    assert toy.check() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ready: make submit COMP=toy"
    ids, names, y, known = read_labels(toy.paths.labels)
    assert known is None
    assert (ids, names, y.tolist()) == (list("01234"), ("cat", "dog"), [[1, 0], [0, 1], [1, 1], [1, 0], [0, 1]])
    assert read_captions(toy.paths.captions("test")) == (["5", "6"], ["who knows", "what this is"])
    images = read_images(toy.paths.images("train"))
    assert images["file"][0] == "data/0.jpg"
    assert images["width"] == [96] * 5
    assert toy.paths.checked.exists()
    assert read_json(toy.paths.check_report)["ready"] is True


def test_a_second_check_rewrites_no_table(toy):
    toy.check()
    tables = [toy.paths.labels, toy.paths.images("train"), toy.paths.captions("train")]
    before = [table.stat().st_mtime_ns for table in tables]
    toy.check()
    assert [table.stat().st_mtime_ns for table in tables] == before


def test_an_edited_caption_leaves_the_tables_of_images_and_labels_alone(toy):
    toy.check()
    tables = [toy.paths.labels, toy.paths.images("train"), toy.paths.captions("train")]
    before = [table.stat().st_mtime_ns for table in tables]
    toy.train[0] = ("0", "cat", "a tabby")
    toy.check()
    assert [a == table.stat().st_mtime_ns for a, table in zip(before, tables, strict=True)] == [True, True, False]


def break_image(toy):
    toy.image(1).write_bytes(toy.image(1).read_bytes()[:900])


ERRORS = {
    "truncated image": (break_image, 3),
    "missing image": (lambda toy: toy.image(1).unlink(), 3),
    "unreadable image": (lambda toy: toy.image(1).write_text("<html>"), 3),
    "oversized image": (lambda toy: Image.new("1", (9000, 9000)).save(toy.image(1), "PNG"), 3),
    "repeated id": (lambda toy: toy.train.append(toy.train[0]), 7),
    "id in train and test": (lambda toy: toy.test.append(("0", "again")), 4),
    "unsafe id": (lambda toy: toy.train.append(("a/../0", "cat", "up")), 7),
    "unknown label": (lambda toy: toy.train.append(("6", "cow", "moo")), 7),
    "too few labels": (lambda toy: toy.train.__setitem__(1, ("1", "", "nothing")), 3),
    "too many labels": (lambda toy: toy.options.update(most=1), 4),
    "missing column": (lambda toy: toy.options.update(caption="title"), 1),
    "no rows": (lambda toy: toy.test.clear(), 1),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_is_found_at_its_line_and_stops_the_pipeline(toy, capsys, kind):
    assert toy.check() == 0
    spoil, line = ERRORS[kind]
    spoil(toy)
    assert toy.check() == 1
    assert (kind, line) in toy.findings()
    assert not toy.paths.checked.exists()
    printed = capsys.readouterr().out
    assert KINDS[kind].severity == "error"
    assert "not ready" in printed.splitlines()[-1]


def test_a_missing_test_image_is_an_error_of_the_test_file(toy):
    toy.image(6).unlink()
    assert toy.check() == 1
    assert read_json(toy.paths.check_report)["findings"][0]["file"] == "input/toy/test.csv"


def test_an_empty_row_of_labels_is_fine_where_none_are_needed(toy):
    toy.options["least"] = 0
    toy.train[1] = ("1", "", "nothing")
    assert toy.check() == 0


def test_an_empty_caption_and_a_rare_label_only_warn(toy):
    toy.options["labels"] = LABELS | {"names": ["cat", "cow", "dog", "owl"]}
    toy.train[0] = ("0", "owl", " ")
    assert toy.check() == 0
    assert toy.findings() == [("label without rows", 0), ("rare label", 0), ("empty caption", 2)]


def test_a_label_written_twice_counts_once(toy):
    toy.train[0] = ("0", "cat cat", "a cat")
    assert toy.check() == 0
    assert ("repeated label", 2) in toy.findings()
    assert read_labels(toy.paths.labels)[2][0].tolist() == [1, 0]


def test_label_columns_are_read_and_their_cells_checked(toy):
    toy.header = "id,cat,dog,caption"
    toy.options["labels"] = {"format": "columns", "names": ["cat", "dog"]}
    toy.train = [(str(i), a, b, "a photo") for i, (a, b) in enumerate(("10", "01", "11"))]
    toy.train.append(("3", "1.0", "0.0", "floats"))
    assert toy.check() == 0
    assert read_labels(toy.paths.labels)[2].tolist() == [[1, 0], [0, 1], [1, 1], [1, 0]]
    toy.train.append(("4", "yes", "0", "a word"))
    assert toy.check() == 1
    assert toy.findings() == [("not 0 or 1", 6)]


def test_near_duplicates_are_reported_within_train_and_across(toy):
    photo(0).save(toy.image(1), quality=50)
    shutil.copy(toy.image(2), toy.image(5))
    assert toy.check() == 0
    findings = {f["kind"]: f for f in read_json(toy.paths.check_report)["findings"]}
    assert findings["near-duplicates"]["message"] == "look alike: 0 (line 2), 1 (line 3)"
    assert findings["near-duplicates differ"]["message"] == "0 (line 2) is 'cat', 1 (line 3) is 'dog'"
    assert findings["test photo in train"]["message"] == "the same file: 5 and 2 of input/toy/train.csv:4"


def test_many_near_duplicates_are_a_warning_and_none_are_looked_for_when_switched_off(toy):
    photo(0).save(toy.image(1), quality=50)
    assert toy.check() == 0
    (found,) = [f for f in read_json(toy.paths.check_report)["findings"] if f["kind"] == "many near-duplicates"]
    assert found["severity"] == "warning" and "the largest: 0 1 (2 rows)" in found["message"]
    toy.options["duplicates"] = "off"
    assert toy.check() == 0
    assert toy.findings() == []


def test_a_repeated_id_is_no_near_duplicate(toy):
    toy.train.append(toy.train[0])
    toy.check()
    assert toy.findings() == [("repeated id", 7)]


def test_repaired_rows_are_reported(toy):
    toy.train = [(id, labels, f'"{caption}"') for id, labels, caption in TRAIN]
    toy.train[3] = ("3", "cat", '"the "best" cat"')
    assert toy.check() == 0
    assert toy.findings() == [("repaired row", 5)]
    assert read_captions(toy.paths.captions("train"))[1][3] == 'the "best" cat'


def test_square_brackets_of_a_message_are_printed_as_they_stand(toy, capsys):
    toy.train[0] = ("[red]", "cat", "a cat")
    assert toy.check() == 1
    assert "data/[red].jpg" in capsys.readouterr().out


def test_unlabelled_rows_are_checked_too_and_gone_when_they_are_no_longer_named(toy):
    photo(7).save(toy.image(7))
    more = toy.paths.input / "more.csv"
    more.write_text("id,caption\n7,one more\n8,no photo\n")
    toy.options["unlabelled"] = "more.csv"
    assert toy.check() == 1
    assert ("missing image", 3) in toy.findings()
    more.write_text("id,caption\n7,one more\n")
    assert toy.check() == 0
    assert read_captions(toy.paths.captions("unlabelled")) == (["7"], ["one more"])
    del toy.options["unlabelled"]
    assert toy.check() == 0
    assert not toy.paths.images("unlabelled").exists()


def test_captions_that_are_no_longer_named_are_gone(toy):
    toy.check()
    assert toy.paths.captions("test").exists()
    toy.options = toy.options | {"caption": ""}
    assert toy.check() == 0
    assert not toy.paths.captions("train").exists() and not toy.paths.captions("test").exists()


@pytest.mark.parametrize(
    ("sample", "found"),
    [
        ("id,labels\n6,cat\n5,cat\n", []),
        ("id,labels\n5,cat\n6,cat\n7,cat\n", [("sample submission differs", 4)]),  # one that is not tested
        ("id,labels\n5,cat\n", [("sample submission differs", 3)]),  # test.csv has one more
        ("name,labels\n5,cat\n", [("sample submission differs", 1)]),
        ("id,answer\n5,cat\n6,cat\n", []),  # the submission will name it so
    ],
)
def test_a_sample_submission_has_the_ids_of_the_test_rows(toy, sample, found):
    (toy.paths.input / "sample_submission.csv").write_text(sample)
    toy.check()
    assert [f for f in toy.findings() if f[0] == "sample submission differs"] == found


def test_a_missing_file_is_named_with_what_to_do(toy):
    toy.check()
    (toy.paths.input / "test.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"test.csv does not exist; add it, or correct test"):
        main(SimpleNamespace(comp="toy"))
    assert not toy.paths.checked.exists()


def test_problems_are_counted_and_errors_come_first():
    found = group_by_kind([Issue("repaired row", "x", "a.csv", 9), Issue("unknown label", "y", "a.csv", 5)] * 2)
    assert [(kind, len(group), group[0].place) for kind, group in found.items()] == [
        ("unknown label", 2, "a.csv:5"),
        ("repaired row", 2, "a.csv:9"),
    ]


def test_an_unknown_kind_of_finding_is_refused():
    with pytest.raises(ValueError, match="'typo' is not one of"):
        Issue("typo", "x")


# ---- folds and groups of the user, and rows that can't be split


def with_column(toy, name: str, cells: list[str]) -> None:
    toy.header += f",{name}"
    toy.train = [(*row, cell) for row, cell in zip(toy.train, cells, strict=True)]


def test_a_column_of_folds_and_one_of_groups_are_checked_and_written(toy):
    with_column(toy, "fold", ["0", "1", "0.0", "1", "0"])
    with_column(toy, "patient", ["p", "q", "p", "q", " "])
    toy.options["folds"] = {"column": "fold", "group": "patient"}
    assert toy.check() == 0
    assert read_own_folds(toy.paths.own_folds) == OwnFolds([*"01010"], ["p", "q", "p", "q", ""])
    assert toy.findings() == [("row without a group", 6)]
    toy.options.pop("folds")
    assert toy.check() == 0 and not toy.paths.own_folds.exists()


def test_a_file_of_folds_is_joined_by_id(toy):
    (toy.paths.input / "folds.csv").write_text("id,fold\n4,b\n3,a\n2,b\n1,a\n0,a\n9,a\n")
    toy.options["folds"] = {"file": "folds.csv"}
    assert toy.check() == 0
    assert read_own_folds(toy.paths.own_folds).fold == ["a", "a", "b", "a", "b"]
    assert toy.findings() == [("fold of no row", 0)]


@pytest.mark.parametrize(
    ("cells", "groups", "expected"),
    [
        ([*"0101", ""], None, [("row without a fold", 6)]),
        ([*"00000"], None, [("unusable folds", 0)]),
        ([*"01010"], [*"pqrpp"], [("group in two folds", 2)]),
    ],
)
def test_folds_that_miss_a_row_or_split_a_group_are_named(toy, cells, groups, expected):
    with_column(toy, "fold", cells)
    toy.options["folds"] = {"column": "fold"}
    if groups:
        with_column(toy, "patient", groups)
        toy.options["folds"]["group"] = "patient"
    toy.check()
    assert toy.findings() == expected


def test_near_duplicates_in_two_folds_of_the_user_are_a_warning(toy):
    shutil.copy(toy.image(0), toy.image(1))
    with_column(toy, "fold", [*"01010"])
    toy.options["folds"] = {"column": "fold"}
    assert toy.check() == 0
    assert ("near-duplicates in two folds", 2) in toy.findings()
    assert read_own_folds(toy.paths.own_folds).fold == [*"01010"]


def test_what_the_folds_would_refuse_is_an_error_of_the_check(toy, capsys):
    for row in range(1, 5):
        shutil.copy(toy.image(0), toy.image(row))
    assert toy.check() == 1
    assert ("too few groups", 0) in toy.findings()
    assert 'set duplicates = "off"' in read_json(toy.paths.check_report)["findings"][-1]["message"]
    toy.options["duplicates"] = "off"
    assert toy.check() == 0
    toy.options["folds"] = {"n": 6}
    assert toy.check() == 1
    assert "set n to at most 5" in read_json(toy.paths.check_report)["findings"][-1]["message"]


def test_a_competition_without_a_test_table_is_ready_to_be_stacked(toy, capsys):
    toy.options["test"] = None
    assert toy.check() == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2].startswith("5 rows, 5 images")
    assert printed[-1] == "ready: make stack COMP=toy (there are no test rows)"
    assert not toy.paths.images("test").exists()

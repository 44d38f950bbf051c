"""`make import` on small competitions: what is certain is written, the rest is asked, answers and edits stay."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pictures import scene

from tandem.__main__ import main
from tandem.config.competition import load_competition
from tandem.config.questions import OpenQuestions
from tandem.stages import import_

NAMES = ("cat", "dog", "sea")
WORDS = {"cat": "A cat sleeps on a mat", "dog": "One dog runs in a park", "sea": "We look at the blue sea"}
LABELS = [("cat",), ("dog",), ("sea",), ("cat", "dog"), ("dog", "sea"), ("cat", "sea")] * 2


def table(header, *columns):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header.split(","), *zip(*columns, strict=True)])
    return text.getvalue()


CELLS = ["|".join(row) for row in LABELS]
CAPTIONS = [WORDS[row[0]] for row in LABELS]
FLAGS = [[str(int(name in row)) for row in LABELS] for name in NAMES]
TRAIN = [f"{i}.jpg" for i in range(12)]
TEST = [f"{i}.jpg" for i in range(12, 16)]


class Import:
    """A working folder with the files of a competition in `source`."""

    def __init__(self, root: Path, capsys) -> None:
        self.root, self.source, self.input, self.capsys = root, root / "source", root / "input" / "x", capsys
        self.n = 0

    def write(self, **tables):
        """`train` is train.csv; a name with a suffix after __ is a file of that suffix."""
        for name, text in tables.items():
            self.put(name.replace("__", ".") if "__" in name else f"{name}.csv", text)

    def put(self, name, text):
        (self.source / name).parent.mkdir(parents=True, exist_ok=True)
        (self.source / name).write_text(text)

    def pictures(self, *files):
        for file in files:
            (self.source / file).parent.mkdir(parents=True, exist_ok=True)
            scene(np.random.default_rng(self.n), 48).save(self.source / file, "PNG")
            self.n += 1

    def zipped(self, name="x.zip"):
        with zipfile.ZipFile(self.root / name, "w") as opened:
            for file in sorted(self.source.rglob("*")):
                if file.is_file():
                    opened.write(file, file.relative_to(self.source))
        return self.root / name

    def run(self, *options):
        """(exit status, all that is printed on one line) of make import."""
        return self.stage("import", *options or ("DIR=source",))

    def check(self):
        return self.stage("check")

    def stage(self, name, *options):
        status = main([name, "x", *options])
        out, err = self.capsys.readouterr()
        return status, " ".join((out + err).split())

    def ready(self):
        status, said = self.check()
        return status == 0 and "ready: make" in said

    @property
    def toml(self):
        return (self.input / "competition.toml").read_text()

    @property
    def competition(self):
        return load_competition(self.input / "competition.toml")

    def files(self, split="train"):
        return pq.read_table(self.root / "build" / "x" / f"{split}.images.parquet")["file"].to_pylist()


@pytest.fixture
def comp(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    return Import(tmp_path, capsys)


def usual(comp, **tables):
    """Images 0.jpg to 15.jpg in images/, and tables that a test replaces."""
    comp.pictures(*(f"images/{name}" for name in TRAIN + TEST))
    usual = {"train": table("image,labels,caption", TRAIN, CELLS, CAPTIONS)}
    usual |= {"test": table("image,caption", TEST, CAPTIONS[:4])}
    comp.write(**usual | tables)


# ---- questions, answers and edits


def two_images(comp):
    """Two columns that name other files equally well."""
    other = [f"{(i * 5 + 3) % 12}.jpg" for i in range(12)]
    usual(
        comp,
        train=table("before,after,labels", TRAIN, other, CELLS),
        test=table("before,after", TEST, TEST[::-1]),
        sample_submission=table("before,labels", TEST, ["cat"] * 4),
    )


def test_an_open_question_stands_in_the_file_and_no_stage_is_ready(comp):
    two_images(comp)
    status, said = comp.run()
    assert status == 0 and "question: image: several columns name image files" in said
    assert 'image = "?" # one of: before (images/0.jpg), after (images/3.jpg)' in comp.toml
    assert "images =" not in comp.toml and "suffix" not in comp.toml
    with pytest.raises(OpenQuestions, match=r"^question: "):
        _ = comp.competition
    for stage in ("check", "folds", "plan"):
        status, said = comp.stage(stage)
        assert status == 2 and "ready" not in said
        assert said.startswith("question: input/x/competition.toml: 1 key is not answered image: one of: before")
        assert 'make import COMP=x SET="image=ANSWER"' in said


def test_an_answer_in_the_file_is_completed_by_the_check(comp):
    two_images(comp)
    comp.run()
    (comp.input / "competition.toml").write_text("# mine\n" + comp.toml.replace('image = "?"', 'image = "after"'))
    assert comp.ready()
    assert comp.files()[:2] == ["images/3.jpg", "images/8.jpg"]
    assert comp.toml.startswith("# mine\n") and 'images = "images"' in comp.toml


@pytest.mark.parametrize("answer", ["IMAGE=after", "SET=image=after folds.n=3"])
def test_an_answer_on_the_command_line_needs_neither_the_zip_nor_another_folder(comp, answer):
    two_images(comp)
    comp.run()
    assert "question" not in comp.run(answer)[1]
    assert comp.competition.image == "after"
    assert comp.run(f"ZIP={comp.zipped()}")[0] == 0
    assert comp.competition.image == "after"
    assert comp.ready()


def test_a_terminal_asks_by_number(comp, monkeypatch):
    two_images(comp)
    monkeypatch.setattr(import_, "is_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: "2")
    _, said = comp.run()
    assert "1. before images/0.jpg 2. after images/3.jpg" in said
    assert comp.competition.image == "after"


def test_an_empty_line_leaves_a_question_open(comp, monkeypatch):
    two_images(comp)
    monkeypatch.setattr(import_, "is_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: "")
    assert comp.run()[0] == 0 and 'image = "?"' in comp.toml


def test_what_a_person_changed_stays_and_what_import_inferred_follows_the_files(comp):
    usual(comp)
    comp.run()
    (comp.input / "competition.toml").write_text(comp.toml.replace("n = 5", "n = 3  # quick"))
    (comp.input / "train.csv").write_text(table("image,labels,caption", TRAIN, ["owl", *CELLS[1:]], CAPTIONS))
    assert comp.run("DIR=input/x")[0] == 0
    assert "n = 3  # quick" in comp.toml
    assert comp.competition.labels.names == ["cat", "dog", "owl", "sea"]


def test_another_zip_is_refused_and_nothing_is_changed(comp):
    usual(comp)
    comp.run()
    comp.write(train=table("image,labels,caption", TRAIN, CELLS[::-1], CAPTIONS))
    before = comp.toml
    status, said = comp.run(f"ZIP={comp.zipped()}")
    assert status == 2 and "input/x/train.csv differs from what is imported" in said
    assert comp.toml == before and "0.jpg,cat," in (comp.input / "train.csv").read_text()


def test_a_key_that_does_not_exist_is_named(comp):
    usual(comp)
    status, said = comp.run("DIR=source", "SET=labels.colunm=tags")
    assert status == 2 and "'labels.colunm' is no key of competition.toml" in said
    assert "KEY=VALUE" in comp.run("SET=tags")[1]


def test_an_answer_changes_what_depends_on_it(comp):
    usual(comp, train=table("image,labels,tags,caption", TRAIN, CELLS, ["a|b", "b", "a"] * 4, CAPTIONS))
    comp.run("DIR=source", "LABELS=labels")
    assert comp.competition.labels.names == ["cat", "dog", "sea"]
    comp.run("LABELS=tags")
    assert (comp.competition.labels.column, comp.competition.labels.names) == ("tags", ["a", "b"])


def test_columns_of_flags_may_be_given_with_commas(comp):
    usual(comp, train=table("image,cat,dog,sea", TRAIN, *FLAGS), test=table("image", TEST))
    assert comp.run("DIR=source", "LABELS=sea,cat")[0] == 0
    assert comp.competition.labels.names == ["sea", "cat"]


# ---- the metric


def test_the_metric_is_assumed_until_it_is_set(comp):
    usual(comp)
    assumed = "metric: assumed f1_samples (METRIC= sets it)"
    assert assumed in comp.run()[1]
    assert assumed in comp.check()[1]
    assert "assumed" not in comp.run("METRIC=f1_samples")[1]
    assert "assumed" not in comp.check()[1]


def test_a_sample_submission_with_fractions_asks_for_the_metric(comp):
    flags = {name: [str(c) for c in column] for name, column in zip(NAMES, FLAGS, strict=True)}
    usual(
        comp,
        train=table("image,cat,dog,sea", TRAIN, *flags.values()),
        test=table("image", TEST),
        sample_submission=table("image,cat,dog,sea", TEST, *[["0.25"] * 4] * 3),
    )
    _, said = comp.run()
    assert "question: metric: the sample submission holds fractions such as 0.25" in said
    assert 'metric = "?" # one of: auc_macro' in comp.toml
    assert "question" not in comp.run("METRIC=f1_macro")[1]


# ---- images


def own_pictures(comp, split="train", column="image"):
    """How many rows have the file that their cell names."""
    rows = csv.DictReader(io.StringIO((comp.input / f"{split}.csv").read_text()))
    return sum(Path(file).name == row[column] for file, row in zip(comp.files(split), rows, strict=True))


@pytest.mark.parametrize("index", [[9, 4, 2, 0, 1, 3, 11, 10, 5, 6, 7, 8], list(range(12)), list(range(1, 13))])
@pytest.mark.parametrize("name", ["Unnamed: 0", "index"])
def test_a_row_counter_names_no_image_where_another_column_does(comp, index, name):
    usual(
        comp,
        train=table(f"{name},image,labels", index, TRAIN[::-1], CELLS),
        test=table(f"{name},image", range(4), TEST),
    )
    _, said = comp.run()
    assert "question" not in said and f"column {name}: it counts the rows" in said
    assert comp.ready() and own_pictures(comp) == 12


def test_a_column_of_folds_names_no_images(comp):
    comp.pictures(*(f"images/{name}" for name in TRAIN))
    comp.write(data=table("id,labels,fold", range(12), CELLS, [0, 1, 2] * 4))
    assert "question" not in comp.run()[1]
    assert comp.ready() and comp.files() == [f"images/{name}" for name in TRAIN]


def test_images_are_named_by_one_column_and_the_submission_by_another(comp):
    ids = [f"{i}" for i in (7, 3, 11, 0, 1, 2, 4, 5, 6, 8, 9, 10)]
    usual(
        comp,
        train=table("id,filename,labels", ids, TRAIN, CELLS),
        test=table("id,filename", range(20, 24), TEST),
        sample_submission=table("id,labels", range(20, 24), ["cat"] * 4),
    )
    assert "question" not in comp.run()[1]
    c = comp.competition
    assert (c.id, c.image, c.suffix) == ("id", "filename", "")
    assert comp.ready() and own_pictures(comp, column="filename") == 12
    assert pq.read_table("build/x/test.images.parquet")["id"].to_pylist() == ["20", "21", "22", "23"]


def test_without_a_sample_submission_the_id_is_asked_for(comp):
    ids = [f"a{i}" for i in range(12)]
    usual(comp, train=table("id,filename,labels", ids, TRAIN, CELLS), test=table("id,filename", "abcd", TEST))
    assert "question: id: the submission may name a row by several columns" in comp.run()[1]
    assert comp.run("ID=id")[0] == 0
    assert (comp.competition.id, comp.competition.image) == ("id", "filename")
    assert comp.ready()


@pytest.mark.parametrize("written", ["./{}", "..\\images\\{}", "/kaggle/input/x/{}", "images/{}", "C:\\me\\{}", "{} "])
def test_a_path_is_read_however_it_is_written(comp, written):
    cells = [written.format(name) for name in TRAIN]
    usual(
        comp,
        train=table("image,labels,caption", cells, CELLS, CAPTIONS),
        test=table("image,caption", [written.format(name) for name in TEST], CAPTIONS[:4]),
    )
    assert "question" not in comp.run()[1]
    assert comp.ready() and comp.files() == [f"images/{name}" for name in TRAIN]


def test_the_same_file_names_in_train_and_test(comp):
    comp.pictures(*(f"train/{i}.jpg" for i in range(12)), *(f"test/{i}.jpg" for i in range(4)))
    comp.write(train=table("id,labels", range(12), CELLS), test=table("id", range(4)))
    assert "question" not in comp.run()[1]
    assert comp.competition.image_folders("train") == ["train"]
    assert comp.ready()
    assert comp.files("test") == ["test/0.jpg", "test/1.jpg", "test/2.jpg", "test/3.jpg"]


def test_two_copies_of_all_images_are_a_question(comp):
    usual(comp)
    comp.pictures(*(f"small/{name}" for name in TRAIN + TEST))
    assert "question: images: several folders hold an image for each row" in comp.run()[1]
    assert 'images = "?"' in comp.toml
    comp.run("SET=images=small")
    assert comp.ready() and comp.files()[0] == "small/0.jpg"


def test_copies_of_train_and_of_test_are_offered_in_pairs(comp):
    for size in ("small", "large"):
        comp.pictures(*(f"train_{size}/{i}.jpg" for i in range(12)), *(f"test_{size}/{i}.jpg" for i in range(12, 16)))
    comp.write(train=table("id,labels", range(12), CELLS), test=table("id", range(12, 16)))
    assert '{train = "train_small", test = "test_small"}' in comp.run()[1]
    assert comp.run('SET=images={train = "train_small", test = "test_small"}')[0] == 0
    assert comp.ready() and comp.files("test")[0] == "test_small/12.jpg"


def test_several_training_tables_are_a_question(comp):
    usual(
        comp,
        train_1=table("image,labels,caption", TRAIN[:6], CELLS[:6], CAPTIONS[:6]),
        train_2=table("image,labels,caption", TRAIN[6:], CELLS[6:], CAPTIONS[6:]),
    )
    (comp.source / "train.csv").unlink()
    assert "question: train: several tables are named train" in comp.run()[1]
    comp.run('SET=train=["train_1.csv", "train_2.csv"]')
    assert comp.ready() and len(comp.files()) == 12


@pytest.mark.parametrize("answer", ["ID=nowhere", "IMAGE=nowhere", "CAPTION=nowhere", "LABELS=nowhere"])
def test_an_answer_that_names_no_column_is_refused(comp, answer):
    usual(comp)
    status, said = comp.run("DIR=source", answer)
    assert status == 2 and "no column 'nowhere'; the columns are image, labels, caption" in said


def test_files_in_subfolders_and_with_several_suffixes(comp):
    suffixes = [".jpg", ".JPG", ".png", ".PNG", ".jpeg", ".webp"]
    names = [f"images/p{i}/{i}{suffixes[i % 6]}" for i in range(16)]
    comp.pictures(*names)
    comp.write(train=table("id,labels", range(12), CELLS), test=table("id", range(12, 16)))
    assert "question" not in comp.run()[1]
    assert (comp.competition.images, comp.competition.suffix) == ("images/**", ".*")
    assert comp.ready() and comp.files() == names[:12]


def test_ids_that_miss_their_files_show_both_sides_and_the_repair_works(comp):
    comp.pictures(*(f"images/img_{i:04}.jpg" for i in range(16)))
    comp.write(train=table("id,labels", range(12), CELLS), test=table("id", range(12, 16)))
    _, said = comp.run()
    assert "leading zeros and the prefix 'img_' differs, such as '0' -> images/img_0000.jpg" in said
    assert 'image_name = "?" # one of: img_{id:04}.jpg' in comp.toml
    (comp.input / "competition.toml").write_text(comp.toml.replace('"?"', '"img_{id:04}.jpg"'))
    assert comp.ready() and comp.files()[:2] == ["images/img_0000.jpg", "images/img_0001.jpg"]


def test_ids_without_any_image_are_a_question(comp):
    comp.pictures("images/a.jpg", "images/b.jpg")
    comp.write(
        train=table("id,labels,caption", range(12), CELLS, [f"{text} {i}" for i, text in enumerate(CAPTIONS)]),
        test=table("id,caption", "qr", "qr"),
    )
    assert "column 'id', such as '0', names none of the 2 image files, such as images/a.jpg" in comp.run()[1]
    assert comp.check()[0] == 2
    comp.run("SET=images=")
    assert comp.competition.images is None


def test_text_only(comp):
    comp.write(
        train=table("id,labels,caption", range(12), CELLS, [f"{text} {i}" for i, text in enumerate(CAPTIONS)]),
        test=table("id,caption", "qr", ["x y z"] * 2),
    )
    assert "question" not in comp.run()[1]
    assert comp.ready() and comp.files() == [""] * 12


# ---- tables


def test_a_header_in_capitals_is_matched_and_said(comp):
    usual(comp, test=table(" IMAGE ,Caption", TEST, CAPTIONS[:4]))
    _, said = comp.run()
    assert "test.csv: columns as in the training table: 'IMAGE' is 'image', 'Caption' is 'caption'" in said
    assert comp.ready()


def test_a_test_table_with_an_empty_label_column(comp):
    usual(comp, test=table("image,labels,caption", TEST, [""] * 4, CAPTIONS[:4]))
    assert "question" not in comp.run()[1]
    assert (comp.competition.labels.column, comp.competition.caption) == ("labels", "caption")


def test_rows_of_the_test_split_are_never_trained_on(comp):
    split = ["train"] * 8 + ["test"] * 4
    comp.pictures(*(f"images/{name}" for name in TRAIN))
    comp.write(data=table("image,labels,caption,split", TRAIN, CELLS, CAPTIONS, split))
    _, said = comp.run()
    assert "column 'split' says 8 train, 4 test; test rows are never trained on" in said
    assert comp.ready()
    assert comp.files() == [f"images/{name}" for name in TRAIN[:8]]
    assert comp.files("test") == [f"images/{name}" for name in TRAIN[8:]]


@pytest.mark.parametrize(("answer", "rows"), [("train", 10), ("out", 8)])
def test_valid_rows_of_a_split_column_are_a_question(comp, answer, rows):
    split = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    comp.pictures(*(f"images/{name}" for name in TRAIN))
    comp.write(data=table("image,labels,caption,split", TRAIN, CELLS, CAPTIONS, split))
    assert "question: valid: column 'split' calls rows valid" in comp.run()[1]
    comp.run(f"SET=valid={answer}")
    assert comp.ready() and len(comp.files()) == rows


@pytest.mark.parametrize(("answer", "rows"), [('["train.csv", "valid.csv"]', 12), ("train.csv", 8)])
def test_a_table_of_valid_rows_is_a_question(comp, answer, rows):
    usual(
        comp,
        train=table("image,labels,caption", TRAIN[:8], CELLS[:8], CAPTIONS[:8]),
        valid=table("image,labels,caption", TRAIN[8:], CELLS[8:], CAPTIONS[8:]),
    )
    assert "question: train: valid.csv holds more rows" in comp.run()[1]
    comp.run(f"SET=train={answer}")
    assert comp.ready() and len(comp.files()) == rows


def test_a_test_table_may_come_later_and_captions_are_used(comp):
    usual(comp)
    (comp.source / "test.csv").unlink()
    _, said = comp.run()
    assert "no test table: train and score now, label new images with make predict" in said
    assert comp.competition.test is None and comp.competition.caption == "caption"
    assert "ready: make stack COMP=x (there are no test rows)" in comp.check()[1]
    (comp.input / "test.csv").write_text(table("image,caption", TEST, CAPTIONS[:4]))
    assert comp.ready()
    assert comp.competition.test == "test.csv"
    assert comp.files("test") == [f"images/{name}" for name in TEST]


def test_folders_that_are_the_labels_become_a_table_once_confirmed(comp):
    comp.pictures(*(f"train/{name}/{i}.jpg" for name in NAMES for i in range(4)), *(f"test/{i}.jpg" for i in range(3)))
    _, said = comp.run()
    assert "there is no table of labels; the folders hold images: cat 4, dog 4, sea 4" in said
    assert comp.check()[0] == 2
    comp.run("SET=train=folder_labels.csv")
    assert comp.competition.labels.names == ["cat", "dog", "sea"]
    assert comp.ready() and len(comp.files("test")) == 3


def test_flags_of_other_columns_are_no_labels_where_the_sample_names_them(comp):
    male = ["0", "1"] * 6
    usual(
        comp,
        train=table("image,is_valid,cat,dog,sea", TRAIN, male, *FLAGS),
        test=table("image", TEST),
        sample_submission=table("image,cat,dog,sea", TEST, *[["0"] * 4] * 3),
    )
    _, said = comp.run()
    assert comp.competition.labels.names == ["cat", "dog", "sea"]
    assert "column is_valid: neither a caption nor in the sample submission" in said


def test_what_is_left_unused_is_listed_with_the_reason(comp):
    usual(comp, train=table("image,labels,caption,width", TRAIN, CELLS, CAPTIONS, [48] * 12), notes="a,b\n1,2\n")
    comp.pictures("masks/0.png")
    _, said = comp.run("DIR=source", "LABELS=labels")
    assert "column width: not read as a label" in said
    assert "notes.csv: no train, test, sample submission or solution" in said
    assert "masks/: 1 file that no row names" in said


# ---- checks


def issues(comp):
    _, said = comp.check()
    return said


def test_one_placeholder_in_many_rows_is_named(comp):
    usual(comp)
    for i in range(1, 7):
        (comp.source / f"images/{i}.jpg").write_bytes((comp.source / "images/0.jpg").read_bytes())
    comp.run()
    said = issues(comp)
    assert "placeholder image" in said and "7 rows have the very same image" in said
    assert "many near-duplicates" not in said


def test_too_few_groups_for_the_folds_are_an_error_whose_advice_works(comp):
    usual(comp, train=table("image,labels,caption", TRAIN, ["cat", "dog"] * 6, CAPTIONS))
    for i in range(1, 12):
        (comp.source / f"images/{i}.jpg").write_bytes((comp.source / "images/0.jpg").read_bytes())
    comp.run()
    status, said = comp.check()
    assert status == 1 and "too few groups" in said and "n = 1" not in said
    comp.run('SET=duplicates="off"')
    assert comp.ready()
    assert comp.stage("folds")[0] == 0


def test_ids_that_differ_in_case_or_spaces_only_are_a_warning(comp):
    comp.pictures("images/a.jpg", *(f"images/{name}" for name in TRAIN[1:]))
    ids = ["a", "A", *(name.removesuffix(".jpg") for name in TRAIN[2:])]
    comp.pictures("images/A.jpg")
    comp.write(train=table("id,labels", ids, CELLS), test=table("id", ["1"]))
    comp.run()
    assert "ids 'a' and 'A' are counted apart" in issues(comp)


def test_a_sample_submission_with_an_empty_cell_is_a_warning(comp):
    usual(comp, sample_submission=table("image,labels", TEST, ["cat", "", "cat", "cat"]))
    comp.run()
    status, said = comp.check()
    assert status == 0 and "column 'labels' is empty" in said

"""Layouts of public competitions, and small competitions as people have them (tests/cases), imported and checked."""

import contextlib
import io
import re
import shlex
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from layouts import LAYOUTS

from tandem.__main__ import main
from tandem.artifacts.paths import Paths
from tandem.data.split_tables import read_captions, read_image_rows, read_labels

CASES = Path(__file__).parent / "cases"
DOCS = Path(__file__).parents[1] / "docs" / "competitions.md"


@dataclass(frozen=True)
class Outcome:
    """What import and check said of one competition."""

    paths: Paths
    imported: str  # the output
    checked: str
    status: int  # of check

    @property
    def toml(self) -> dict:
        return tomllib.loads(self.paths.competition.read_text(encoding="utf-8"))

    @property
    def questions(self) -> set[str]:
        """The keys that are "?"."""
        values = self.toml
        flat = values | {f"labels.{key}": value for key, value in values.get("labels", {}).items()}
        return {key for key, value in flat.items() if value == "?"}

    @property
    def is_ready(self) -> bool:
        return self.status == 0 and "ready: make" in self.checked and not self.questions

    def labels(self) -> tuple[str, ...]:
        return read_labels(self.paths.labels)[1]

    def images(self, split: str = "train") -> dict[str, str]:
        """{id: image file}."""
        rows = read_image_rows(self.paths.images(split))
        return dict(zip(rows["id"], rows["file"], strict=True))


def run(*arguments: str) -> tuple[int, str]:
    """(exit status, all that was printed) of one command."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = main(list(arguments))
    return status, out.getvalue()


def imported(name: str, folder: Path, *answers: str) -> Outcome:
    status, said = run("import", name, "--dir", str(folder), *answers)
    assert status == 0, said
    status, checked = run("check", name)
    return Outcome(Paths(name), said, checked, status)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    shutil.copytree(CASES.parents[1] / "configs", tmp_path / "configs")
    return tmp_path


@pytest.fixture
def case(place):
    """Imports and checks tests/cases/NAME."""
    return lambda name, *answers: imported(f"c{name}", CASES / name / "files", *answers)


# layouts of public competitions: the questions that each asks, and answers with which it is ready

ROW = re.compile(r"^\| ([^|]+?) \| `([^`]+)` \| ([^|]*?) ?\|", re.MULTILINE)  # of the table: name, answers, questions
DOCUMENTED = {row[1]: row for row in ROW.finditer(DOCS.read_text(encoding="utf-8"))}


def test_each_layout_is_documented():
    assert list(DOCUMENTED) == list(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_layout_asks_what_is_documented_and_is_ready_with_the_documented_answers(place, name):
    LAYOUTS[name](place / "files")
    asked = set(re.findall(r"`([\w.]+)`", DOCUMENTED[name][3]))
    first = imported("comp", place / "files")
    assert first.questions == asked
    if asked:
        assert first.status != 0 and "question" in first.checked and "ready" not in first.checked
    answers = [
        re.sub(r"^(METRIC|SET)=", lambda key: f"--{key[1].lower()}=", word) for word in shlex.split(DOCUMENTED[name][2])
    ]
    ready = imported("comp", place / "files", *answers)
    assert ready.is_ready, ready.checked
    assert "assumed" not in ready.checked or "--metric" not in " ".join(answers)


# folds of the user


def test_a_column_of_folds_is_taken_as_it_is(place):
    LAYOUTS["Plant Pathology 2021"](place / "files")
    table = place / "files" / "train.csv"
    first, *lines = table.read_text().splitlines()
    table.write_text("\n".join([f"{first},kfold", *(f"{line},{i % 3}" for i, line in enumerate(lines))]) + "\n")
    ready = imported("comp", place / "files")
    assert ready.is_ready and ready.toml["folds"]["column"] == "kfold" and "kfold" not in ready.labels()
    assert run("folds", "comp")[0] == 0
    rows = [line.split(",") for line in ready.paths.folds.read_text().splitlines()[1:]]
    assert [int(fold) for _, fold, _ in rows] == [i % 3 for i in range(len(rows))]


def test_a_file_of_folds_is_taken_as_it_is(place):
    LAYOUTS["Plant Pathology 2021"](place / "files")
    ids = [line.split(",")[0] for line in (place / "files" / "train.csv").read_text().splitlines()[1:]]
    folds = "\n".join(f"{id},{i % 4}" for i, id in reversed(list(enumerate(ids))))
    (place / "files" / "folds.csv").write_text(f"image,fold\n{folds}\n")
    ready = imported("comp", place / "files")
    assert ready.is_ready and ready.toml["folds"]["file"] == "folds.csv" and run("folds", "comp")[0] == 0
    rows = [line.split(",") for line in ready.paths.folds.read_text().splitlines()[1:]]
    assert [(id, int(fold)) for id, fold, _ in rows] == [(id, i % 4) for i, id in enumerate(ids)]


# cases


def test_images_in_two_test_folders_beside_other_files_are_found(case):
    planet = case("01-planet")
    assert planet.is_ready and set(planet.images().values()) == {f"train-jpg/train_{i}.jpg" for i in range(40)}
    assert {file.split("/")[0] for file in planet.images("test").values()} == {"test-jpg", "test-jpg-additional"}


def test_fractions_in_the_sample_are_a_question_about_the_metric(case):
    asked = case("04-plant2020-auc")
    assert asked.questions == {"metric"} and asked.status != 0 and "question" in asked.checked
    assert case("04-plant2020-auc", "--metric", "auc_macro").is_ready


def test_lists_in_cells_are_labels(case):
    assert case("07-list-strings").labels() == ("Action", "Comedy", "Drama", "N/A", "Reality-TV")


def test_a_row_for_each_id_and_label_becomes_a_row_for_each_id(case):
    long = case("09-rsna-long", "--metric", "log_loss")
    assert long.is_ready and set(long.labels()) == {"epidural", "intraparenchymal", "subdural", "any"}
    assert len(long.images()) == 20 and list(long.images("test")) == [f"ID_00000006{i}" for i in range(4, 8)]


def test_blank_and_uncertain_flags_are_questions_and_other_columns_are_no_labels(case):
    asked = case("10-chexpert")
    assert {"labels.blank", "labels.uncertain"} <= asked.questions and "Sex" not in asked.toml["labels"].get(
        "names", ()
    )
    answers = 'train=["train.csv","valid.csv"] labels.blank=unknown labels.uncertain=positive least=0'
    ready = case("10-chexpert", "--set", answers)
    assert ready.labels() == ("No Finding", "Edema", "Fracture", "Pneumonia", "Support Devices")


def test_a_separator_that_may_be_part_of_names_is_a_question(case):
    asked = case("100c-amp-labels")
    assert asked.questions == {"labels.separator"} and '" & "' in asked.imported
    assert case("100c-amp-labels", "--set", "labels.separator=' & '").labels() == ("car", "cat", "dog", "sea", "sky")


def test_a_table_without_a_header_is_a_question(case):
    assert case("110-headerless").questions == {"columns"}
    ready = case("110-headerless", "--set", 'columns=["image","labels","caption"]')
    assert ready.is_ready and ready.labels() == ("car", "cat", "dog", "sea", "sky")


def test_texts_without_images_are_ready(case):
    asked = case("12-text-only")
    assert asked.questions == {"metric"} and "images" not in asked.toml
    (asked.paths.input / "sample_submission.csv").unlink()  # of other ids
    assert run("import", asked.paths.comp, "--metric", "auc_macro")[0] == 0
    assert run("check", asked.paths.comp)[0] == 0 and asked.labels() == ("toxic", "obscene", "insult")


def test_several_captions_of_an_image_are_joined(case):
    ready = case("14-several-captions")
    ids, captions = read_captions(ready.paths.captions("train"))
    assert ready.is_ready and len(ids) == 20 and captions[0].count("a cat and a car") == 5


@pytest.mark.parametrize("name", ["20-blank-flag", "21-blank-flag-sample"])
def test_a_blank_flag_is_a_question_that_names_line_and_column(case, name):
    asked = case(name)
    assert asked.questions == {"labels.blank"} and "line 9" in asked.imported and "'sea'" in asked.imported
    assert case(name, "--set", "labels.blank=negative").labels() == ("cat", "dog", "sea", "sky", "car")


@pytest.mark.parametrize("name", ["22-true-false", "24-plus-minus"])
def test_flags_of_any_form_are_read(case, name):
    ready = case(name)
    assert ready.is_ready and ready.labels() == ("cat", "dog", "sea", "sky", "car")
    assert read_labels(ready.paths.labels)[2].sum(0).tolist() == [13, 9, 20, 8, 18]


def test_na_none_and_null_stay_text(case):
    ready = case("26-na-none-null")
    assert ready.labels() == ("N/A", "NA", "None", "nan", "null") and "empty" not in ready.checked


def test_ids_stay_as_they_are_written(case):
    ready = case("27-ids")
    assert sorted(ready.images("test")) == sorted(["007", "-5", "1.0", "00000000000000000000001", "2e7", "0099"])


@pytest.mark.parametrize("name", ["33-tsv", "36-mixed-suffix", "38-unnamed-index", "44-160-labels", "45-five-rows",
                                  "68-solution-usage"])  # fmt: skip
def test_what_has_one_reading_is_ready(case, name):
    assert case(name).is_ready


def test_rows_of_the_test_split_are_never_training_rows(case):
    asked = case("40-split-column")
    assert asked.questions == {"valid"} and "split" in asked.imported
    ready = case("40-split-column", "--set", "valid=train")
    assert ready.is_ready and len(ready.images()) == 35 and len(ready.images("test")) == 5
    assert not set(ready.images()) & set(ready.images("test"))


def test_labels_on_all_rows_or_none_are_labels(case):
    assert case("42-all-and-never").labels() == ("all", "never", "cat", "dog")


def test_one_column_of_flags_is_one_label(case):
    assert case("43-one-label").labels() == ("cat",)


def test_hard_names_are_read_as_they_are(case):
    assert set(case("47-hard-names").labels()) == {"fold", "label", "a,b", 'x[1]{y}:"q"', "日本語 😀"}
    assert set(case("60-label-id").labels()) == {"de", "en", "fr", "id", "it"}


def test_empty_test_captions_are_a_warning(case):
    ready = case("48-captions")
    assert ready.is_ready and "empty caption" in ready.checked


def test_a_row_counter_names_no_images(case):
    ready = case("50-unnamed-0")
    assert ready.toml["id"] == "image" and all(file == f"images/{id}" for id, file in ready.images().items())
    assert case("38-unnamed-index").toml["id"] == "image"


def test_images_may_be_named_by_another_column_than_rows(case):
    ready = case("52-id-filename-sample")
    assert (ready.toml["id"], ready.toml["image"]) == ("id", "filename") and ready.is_ready
    assert ready.images()["9"] == "images/93770ea718.jpg"


def test_captions_of_a_table_of_their_own_are_joined(case):
    ready = case("53-captions-apart")
    assert ready.is_ready and read_captions(ready.paths.captions("train"))[1][0] == "Look at a sky in town"


def test_captions_survive_a_test_table_that_is_written_later(case):
    paths = case("63-no-test-then-written").paths
    shutil.copy(CASES / "63-no-test-then-written" / "test.csv", paths.input / "test.csv")
    assert run("check", paths.comp)[0] == 0
    assert read_captions(paths.captions("test"))[1][0] == "Look at a cat in town"


def test_an_unknown_metric_lists_those_there_are(case):
    paths = case("69-metrics").paths
    file = paths.competition
    file.write_text(file.read_text().replace('"f1_samples"', '"auc_makro"', 1))
    status, said = run("check", paths.comp)
    assert status != 0 and all(name in said for name in ("auc_macro", "f1_macro", "log_loss", "jaccard_samples"))
    file.write_text(file.read_text().replace('"auc_makro"', '"f1_macro"', 1).replace("beta = 1.0", "beta = 2"))
    assert run("check", paths.comp)[0] == 0


def test_an_empty_column_of_labels_in_the_test_table_changes_nothing(case):
    assert case("71-test-has-labels").toml["labels"]["column"] == "labels"


def test_texts_of_scripts_without_spaces_are_captions(case):
    assert case("75-chinese-captions").toml["caption"] == "caption"


def test_labels_in_two_columns_are_a_question(case):
    assert case("77-primary-secondary").questions == {"labels.format"}
    joined = case("77-primary-secondary", "--set", "labels.format=joined")
    assert joined.is_ready and joined.toml["labels"]["columns"] == ["label_1", "label_2"]


def test_spaces_after_commas_are_no_part_of_cells(case):
    ready = case("85-space-after-comma")
    assert len(ready.images()) == 40 and read_captions(ready.paths.captions("train"))[1][0].endswith("town, today")


def test_the_advice_for_rows_that_look_alike_works(case):
    frames = case("91-video-frames")
    assert "near-duplicates" in frames.checked
    assert frames.is_ready and run("folds", frames.paths.comp)[0] == 0

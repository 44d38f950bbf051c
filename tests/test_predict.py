"""The predict stage: from a folder to a file; unreadable files, rows that are in the file already, exit status."""

import csv
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import toy

from tandem.artifacts.atomic_io import csv_text
from tandem.artifacts.paths import Paths
from tandem.inference.image_folder import list_images, read_image_captions
from tandem.inference.output_record import record_file
from tandem.inference.results import TEXT, LabelledImage, format_line, header, read_finished
from tandem.stages._labeler import served_experiment
from tandem.stages.predict import main

NAMES = ("cat", "sky")
HOSTILE = 'c,"d\n.jpg'


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three photos: one lies deeper, one has a hostile name."""
    for i, name in enumerate(("a.jpg", "deep/b.jpeg", HOSTILE)):
        toy.draw(tmp_path / "photos" / name, blue=i == 1, seed=i)
    return tmp_path / "photos"


@pytest.fixture
def predict(trained, folder, monkeypatch):
    """Runs the stage in the toy's checkout; returns its exit status."""
    monkeypatch.chdir(trained.root)

    def run(out: Path | str, **changes) -> int:
        given = {"comp": "toy", "bundle": None, "images": folder, "captions": None, "out": str(out)}
        return main(SimpleNamespace(**(given | {"exp": "stack", "fast": False, "folds": 1} | changes)))

    return run


def rows(out: Path) -> list[dict]:
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_csv_has_a_row_an_image_with_labels_and_probabilities(predict, tmp_path):
    (tmp_path / "captions.csv").write_text("image,caption\na,a cat\nb.jpeg,a dog\n")
    assert predict(tmp_path / "out.csv", captions=tmp_path / "captions.csv") == 0
    found = rows(tmp_path / "out.csv")
    assert list(found[0]) == ["image", "labels", *NAMES, "caption", "problem"]
    assert [(row["image"], row["labels"], row["caption"]) for row in found[:1] + found[2:]] == [
        ("a.jpg", "cat", "yes"),
        ("deep/b.jpeg", "sky", "yes"),
    ]
    assert found[1]["image"] == HOSTILE and found[1]["caption"] == "no"
    assert float(found[1]["sky"]) < 0.5 < float(found[2]["sky"])  # a red photo and a blue one


def test_json_lines_by_suffix(predict, tmp_path):
    assert predict(tmp_path / "out.jsonl") == 0
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [one["image"] for one in found] == ["a.jpg", HOSTILE, "deep/b.jpeg"]
    assert set(found[0]) == {"image", "labels", "proba", "caption"} and set(found[0]["proba"]) == set(NAMES)


def test_a_dash_is_standard_output_and_nothing_else_is_printed_there(predict, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.reconfigure", lambda **_: None, raising=False)
    assert predict("-") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(",".join(header(NAMES)) + "\n") and printed.out.count(",no,\n") == 3
    assert "3 of 3 from the image alone, by join, looks" in printed.err


def test_captions_that_no_model_uses_are_not_mentioned(predict, tmp_path, capsys):
    assert predict(tmp_path / "out.csv", exp="looks") == 0
    assert {row["caption"] for row in rows(tmp_path / "out.csv")} == {"no"}
    assert "image alone" not in capsys.readouterr().err


def test_another_suffix_is_refused_before_anything_is_loaded(predict):
    with pytest.raises(ValueError, match=r"expected a name ending in \.csv or \.jsonl, or -"):
        predict("out.txt")


def test_unreadable_files_do_not_stop_it_are_listed_and_give_status_3(predict, folder, tmp_path, capsys):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n")
    assert predict(tmp_path / "out.csv") == 3
    found = {row["image"]: row for row in rows(tmp_path / "out.csv")}
    assert len(found) == 4 and found["broken.png"]["problem"].startswith("unreadable")
    assert found["broken.png"]["labels"] == found["broken.png"]["cat"] == ""
    assert "1 files could not be read:\n  'broken.png': unreadable" in capsys.readouterr().err
    assert predict(tmp_path / "out.csv") == 3  # it is still without labels
    assert "1 of these could not be read; delete their rows to try again" in capsys.readouterr().err


def test_what_is_no_file_is_a_row_with_its_reason_and_what_is_passed_over_is_named(predict, folder, tmp_path, capsys):
    os.mkfifo(folder / "pipe.jpg")
    (folder / "zero.tif").symlink_to("/dev/zero")
    (folder / "photo.heic").write_bytes(b"")
    assert predict(tmp_path / "out.csv") == 3
    found = {row["image"]: row["problem"] for row in rows(tmp_path / "out.csv")}
    assert found["pipe.jpg"] == "unreadable: is a named pipe; expected a regular file"
    assert found["zero.tif"] == "unreadable: is a link to a device; expected a regular file"
    assert len(found) == 5 and capsys.readouterr().err.startswith("passed over: 1 .heic; read are .avif")


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_killed_run_continues_and_ends_in_the_same_file(predict, tmp_path, suffix, capsys):
    whole, killed = tmp_path / f"whole.{suffix}", tmp_path / f"killed.{suffix}"
    predict(whole)
    text = whole.read_bytes()
    first_new = text.index(b".jpg", text.index(b"a.jpg") + 5)
    for cut in (3, text.index(b"a.jpg") + 20, first_new, len(text) - 4, len(text)):
        killed.write_bytes(text[:cut])
        record_file(killed).write_bytes(record_file(whole).read_bytes())  # written before the first row
        predict(killed)
        assert killed.read_bytes() == text, cut
    assert "3 of 3 are in" in capsys.readouterr().err


def test_the_last_line_has_the_file_the_number_of_images_and_of_unreadable_ones(predict, folder, tmp_path, capsys):
    out = tmp_path / "labels.csv"
    predict(out, exp="looks")
    assert capsys.readouterr().out.splitlines()[-1] == f"{out}: 3 images"
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n")
    predict(out, exp="looks")
    assert capsys.readouterr().out.splitlines()[-1] == f"{out}: 4 images, 1 unreadable"
    predict(out, exp="looks")
    assert capsys.readouterr().out.splitlines()[-1] == f"{out}: 4 images, 1 unreadable"


@pytest.mark.parametrize("changes", [{"exp": "join"}, {"folds": 2}, {"decoder": "fixed"}])
def test_a_file_of_other_models_is_refused_as_it_is_and_replaced_with_again(predict, tmp_path, changes):
    out = tmp_path / "labels.csv"
    predict(out, exp="looks")
    text, record = out.read_bytes(), record_file(out).read_bytes()
    with pytest.raises(ValueError, match=r"was labelled by other models \(.+\); AGAIN=1 labels all of them anew"):
        predict(out, **{"exp": "looks"} | changes)
    assert (out.read_bytes(), record_file(out).read_bytes()) == (text, record)
    assert predict(out, **{"exp": "looks"} | changes, again=True) == 0
    assert len(rows(out)) == 3 and record_file(out).read_bytes() != record
    assert predict(out, **{"exp": "looks"} | changes) == 0  # and is continued by the same


def test_a_model_that_was_trained_again_is_another(predict, tmp_path, trained):
    out = tmp_path / "labels.csv"
    predict(out, exp="looks")
    kept = json.loads(record_file(out).read_text())
    assert kept["made_by"]["models"] == {"looks": json.loads(trained.run("looks").read_text())["key"]}
    kept["made_by"]["models"]["looks"] = "before"
    record_file(out).write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=r"\(models looks 'before' -> '[0-9a-f]+'\)"):
        predict(out, exp="looks")


def test_a_file_without_its_record_is_refused_and_again_replaces_only_what_predict_wrote(predict, tmp_path):
    out, other = tmp_path / "labels.csv", tmp_path / "captions.csv"
    predict(out, exp="looks")
    record_file(out).unlink()
    other.write_text("image,caption\na,a cat\n")
    for file in (out, other):
        before = file.read_bytes()
        with pytest.raises(ValueError, match=rf"{file.name} exists, but not {file.name}.json, .* AGAIN=1"):
            predict(file, exp="looks")
        assert file.read_bytes() == before and not record_file(file).exists()
    assert predict(out, exp="looks", again=True) == 0 and len(rows(out)) == 3
    with pytest.raises(ValueError, match="not written by make predict, so AGAIN=1 does not replace it"):
        predict(other, exp="looks", again=True)
    assert other.read_text().endswith("a cat\n")


def test_another_caption_of_an_image_that_is_labelled_is_refused(predict, tmp_path):
    out, table = tmp_path / "labels.csv", tmp_path / "captions.csv"

    def run(text: str, **changes) -> int:
        table.write_text("image,caption\n" + text)
        return predict(out, captions=table, exp="join", **changes)

    assert run("a,a cat\n") == 0 and run("a,a cat\n") == 0
    with pytest.raises(ValueError, match="1 images that are in it have another caption now, such as 'deep/b.jpeg'"):
        run("a,a cat\nb.jpeg,a dog\n")
    with pytest.raises(ValueError, match="such as 'a.jpg'"):
        run("a,a dog\n")
    assert run("a,a dog\n", again=True) == 0 and rows(out)[0]["labels"] != "cat"


@pytest.mark.parametrize(
    "held",
    [
        "id,x\n1,2\n",
        "one line\n",
        '{"image": 1}\n',
        "\0\n",
        '{"image": "a.jpg", "labels": [], "proba": {"other": 0.5}, "caption": true}\n',
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_another_file_is_not_appended_to(tmp_path, suffix, held):
    out = tmp_path / f"out.{suffix}"
    out.write_text(held)
    with pytest.raises(ValueError, match="not written by make predict .*; choose another OUT"):
        read_finished(out, NAMES)
    assert out.read_text() == held


ODD = [
    "a\rb",
    "a\nb",
    "a\r\nb",
    'a"b',
    "a,b",
    "=1+1",
    "-x",
    "--help",
    " a ",
    "\ta",
    "'a",
    "a\u2028b",
    "a\x85b",
    "a\x0cb",
]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_every_name_that_a_file_can_have_is_a_row_that_is_read_back(tmp_path, suffix):
    out, names = tmp_path / f"out{suffix}", [f"{name}.jpg" for name in [*ODD, "\ufeffa", "\x1b[31m", "NA", "x" * 240]]
    with out.open("w", **TEXT) as file:
        file.write(csv_text(header(["cat"])) if suffix == ".csv" else "")
        for name in names:
            file.write(format_line(LabelledImage(name, ("cat",), {"cat": 0.5}), ["cat"], " ", suffix == ".jsonl"))
    assert list(read_finished(out, ["cat"])) == names
    if suffix == ".csv":
        assert [row["image"] for row in rows(out)] == names
        assert pd.read_csv(out, keep_default_na=False)["image"].tolist() == names


def test_a_pipe_is_no_file_to_write_to(predict, tmp_path):
    os.mkfifo(tmp_path / "out.csv")
    with pytest.raises(ValueError, match="named pipe or a device; expected a file"):
        predict(tmp_path / "out.csv")


def test_a_name_that_is_not_utf8_is_found_again_in_the_output(tmp_path):
    name = "caf\udce9.jpg"  # what os.listdir makes of a byte that is no UTF-8
    for suffix in ("csv", "jsonl"):
        out = tmp_path / f"out.{suffix}"
        with out.open("w", **TEXT) as file:
            if suffix == "csv":
                file.write(csv_text(header(NAMES)))
            file.write(format_line(LabelledImage(name, problem="x"), NAMES, " ", suffix == "jsonl"))
        assert read_finished(out, NAMES) == {"caf\\udce9.jpg": "x"}


# ---- captions


IMAGES = ["a.jpg", "deep/b.jpg", "c.jpg"]


def test_captions_are_found_by_path_name_or_stem(tmp_path):
    (tmp_path / "c.csv").write_text('image,Caption\ndeep/b.jpg,"of ""b"""\na,of a\n')
    assert read_image_captions(tmp_path / "c.csv", IMAGES) == ["of a", 'of "b"', ""]


def test_one_name_that_two_images_may_have_is_refused_unless_it_is_the_path_of_one(tmp_path):
    (tmp_path / "c.csv").write_text("image,caption\n1.jpg,a cat\n")
    with pytest.raises(ValueError, match="'1.jpg' may be 'x/1.jpg' or 'y/1.jpg'; name them by their paths"):
        read_image_captions(tmp_path / "c.csv", ["x/1.jpg", "y/1.jpg"])
    assert read_image_captions(tmp_path / "c.csv", ["1.jpg", "y/1.jpg"]) == ["a cat", ""]


@pytest.mark.parametrize(
    "text, message",
    [
        ("image\na.jpg\n", "expected a column of images and one of captions"),
        ("image,caption\nz.jpg,a cat\n", "names none of the images, such as 'a.jpg'"),
        ("image,caption\na.jpg,a cat\na.jpg,a dog\nx.jpg,x\nz.jpg,z\n", "line 3: a second caption for 'a.jpg'"),
        ('image,caption\na.jpg,"a cat\n', "line 2"),
        ("image,caption\n\0,x\n", "NUL byte"),
        ("", "the file is empty"),
    ],
)
def test_a_captions_file_that_can_not_be_read_with_certainty_is_refused(tmp_path, text, message):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_image_captions(tmp_path / "c.csv", IMAGES)


def test_the_folder_is_listed_whole_and_in_order(folder):
    (folder / "notes.txt").write_text("")
    (folder / "._a.jpg").write_text("")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "a.jpg").write_text("")
    (folder / "dir.jpg").mkdir()
    images, note = list_images(folder)
    assert images == ["a.jpg", HOSTILE, "deep/b.jpeg"]
    assert note.startswith("passed over: 1 .txt; read are .avif, .bmp")
    with pytest.raises(ValueError, match="contains no image"):
        list_images(folder / "dir.jpg")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        list_images(folder / "gone")


# ---- which models the page of make serve uses


def test_the_page_uses_the_stack_as_predict_does_and_says_why(trained, tmp_path, monkeypatch):
    def served(**changes):
        given = {"comp": "toy", "bundle": None, "exp": "", "fast": False}
        return served_experiment(SimpleNamespace(**(given | changes)))

    monkeypatch.chdir(trained.root)
    assert served()[0] == "stack" and "as in make predict" in served()[1]
    assert served(exp="looks") == ("looks", "EXP=looks asks for it")
    assert served(fast=True)[0] == "fast" and "FAST=1 asks for one small model" in served(fast=True)[1]
    shutil.copytree(trained.root, tmp_path / "copied")
    shutil.rmtree(Paths("toy", tmp_path / "copied").experiment("stack"))
    monkeypatch.chdir(tmp_path / "copied")
    name, why = served()
    assert name == "join" and why.startswith("no stack that labels new images is trained (make submit COMP=toy)")

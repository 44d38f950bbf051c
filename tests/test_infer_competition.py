import shutil
import zipfile

import pytest

from tandem.__main__ import main
from tandem.config.competition import load_competition
from tandem.data.infer_competition import infer_competition
from tandem.data.label_codec import natural_key

COCO = {
    "train.csv": 'ImageID,Labels,Caption\n1.jpg,1 3,"A dog on a mat."\n2.jpg,3,"A "red" cat, seen once."\n'
    '3.jpg,10 1 3,"Two birds up high."\n',
    "test.csv": 'ImageID,Caption\n4.jpg,"A bird on a wire."\n',
    "data/1.jpg": "",
    "data/2.jpg": "",
    "data/3.jpg": "",
    "data/4.jpg": "",
}


def folder(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def images(where, suffix, names="1234"):
    return {f"{where}/{name}{suffix}": "" for name in names}


def infer_from(tmp_path, files):
    return infer_competition(folder(tmp_path, files))


def test_captions_and_one_column_of_label_codes(tmp_path):
    inference = infer_from(tmp_path, COCO)
    c = inference.competition
    assert (c.id, c.caption, c.images, c.suffix) == ("ImageID", "Caption", "data", "")
    assert (c.labels.format, c.labels.column, c.labels.separator) == ("separated", "Labels", " ")
    assert c.labels.names == ["1", "3", "10"]
    assert (c.least, c.most, c.metric) == (1, 3, "f1_samples")
    assert c.experiments == "default"
    assert inference.counts == {"1": 2, "3": 3, "10": 1}
    assert (inference.notes, inference.questions, inference.unused) == ([], [], [])
    assert len(inference.tables["train"].repaired) == 1


def test_tags_without_captions_and_ids_without_suffix(tmp_path):
    inference = infer_from(
        tmp_path,
        {
            "train_v2.csv": "image_name,tags\n1,haze primary\n2,clear primary\n3,clear water primary\n",
            "sample_submission_v2.csv": "image_name,tags\n4,primary\n",
            **images("comp/train-jpg", ".jpg"),
        },
    )
    c = inference.competition
    assert (c.id, c.caption, c.images, c.suffix) == ("image_name", None, "comp/train-jpg", ".jpg")
    assert (c.train, c.test, c.sample_submission) == ("train_v2.csv", *["sample_submission_v2.csv"] * 2)
    assert c.labels.names == ["clear", "haze", "primary", "water"]
    assert c.experiments == "photos"
    assert inference.questions == []
    assert inference.notes == ["no test table: the test ids are those of sample_submission_v2.csv"]


def test_one_column_of_flags_a_label_keeps_the_order_of_the_file(tmp_path):
    inference = infer_from(
        tmp_path,
        {
            "train.csv": "StudyID,wet,dry,old,Patient\n1,1,0,0,p1\n2,0,0,0,p1\n3,1,1,0.0,p2\n",
            "sampleSubmission.csv": "StudyID,wet,dry,old\n4,0,0,0\n",
            "test.csv": "StudyID\n4\n",
            **images("train", ".png"),
        },
    )
    c = inference.competition
    assert (c.labels.format, c.labels.names) == ("columns", ["wet", "dry", "old"])
    assert (c.least, c.most) == (0, 2)
    assert inference.counts == {"wet": 2, "dry": 1, "old": 0}
    assert inference.unused == ["column Patient: neither a caption nor in the sample submission"]
    assert inference.questions == []


def test_the_sample_submission_says_which_column_holds_the_labels(tmp_path):
    train = "id,source_tag,answer\n1,a b,x|y\n2,b,y\n3,a,x|z\n4,a b,z\n"
    files = {"train.csv": train, "test.csv": "id\n5\n", **images("i", ".jpg", "12345")}
    assert [question.key for question in infer_from(tmp_path / "a", files).questions] == ["labels.column"]
    inference = infer_from(tmp_path / "b", files | {"sample_submission.csv": "id,answer\n5,x\n"})
    assert (inference.competition.labels.column, inference.questions) == ("answer", [])


def test_a_title_and_a_text_are_the_caption_together(tmp_path):
    files = {
        "train.csv": "id,title,label,body\n"
        "1,A big red dog,a b,It is a big red dog indeed\n2,One two three,a,b c d e f\n4,Two,b,g h i\n",
        "test.csv": "id,title,body\n3,A b c,d e f g h\n",
        **images("i", ".jpg"),
    }
    inference = infer_from(tmp_path, files)
    assert inference.competition.caption == ["title", "body"]
    assert (inference.notes, inference.unused) == ([], [])


def test_ids_may_hold_the_folder_of_the_image(tmp_path):
    inference = infer_from(
        tmp_path,
        {
            "train.csv": "path,labels\ntrain/1.jpg,a b\ntrain/2.jpg,b\ntrain/3.jpg,a\n",
            "test.csv": "path\ntest/1.jpg\n",
            **images("images/train", ".jpg"),
            **images("images/test", ".jpg"),
        },
    )
    assert (inference.competition.images, inference.competition.suffix, inference.questions) == ("images", "", [])


def test_train_and_test_images_may_lie_in_two_folders(tmp_path):
    files = COCO | {"test_data/4.jpg": ""}
    del files["data/4.jpg"]
    inference = infer_from(tmp_path, files)
    assert inference.values["images"] == {"train": "data", "test": "test_data"}
    assert inference.questions == []


def test_missing_images_are_noted_and_no_images_need_no_folder(tmp_path):
    files = {k: v for k, v in COCO.items() if k != "data/2.jpg"}
    assert infer_from(tmp_path / "a", files).notes == ["1 of 3 train rows have no image: make check lists them"]
    files = {k: v for k, v in COCO.items() if not k.startswith("data")}
    c = infer_from(tmp_path / "b", files).competition
    assert (c.images, c.duplicates, c.experiments) == (None, "group", "captions")


def test_a_submission_of_another_form_is_noted(tmp_path):
    inference = infer_from(tmp_path, COCO | {"sample_submission.csv": "Id,Predicted\n4.jpg,1\n"})
    assert "its columns are Id, Predicted; expected ImageID, Labels" in inference.notes[0]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"data/1.jpg": ""}, "contains no CSV file; expected train.csv and test.csv"),
        ({"train.csv.zip": ""}, "unpack train.csv.zip first"),
        ({"test.csv": "id\n1\n"}, "contains no table of labelled rows"),
        ({"train.csv": "id,labels\n"}, "the table has no rows"),
        (
            {"train.csv": "id,labels\n1,a\n", "test.csv": "key\n1\n"},
            "no column is in both the training and the test table",
        ),
        (
            {"train.csv": "id,label\n1,a\n1,b\n2,a\n", **images("i", ".jpg")},
            "'id' names many images in more than one row",
        ),
        (
            {"train.csv": "id,labels\n1,\"[['a']]\"\n2,\"[['b']]\"\n", **images("i", ".jpg")},
            "not a name; expected a list of names",
        ),
    ],
)
def test_where_nothing_sensible_can_be_written_the_error_says_why(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        infer_from(tmp_path, files)


def run_import(tmp_path, monkeypatch, capsys, *args):
    monkeypatch.chdir(tmp_path)
    status = main(["import", "mine", *map(str, args)])
    out, err = capsys.readouterr()
    return status, out, err[err.find("error:") :]


def make_zip(tmp_path, files):
    with zipfile.ZipFile(tmp_path / "comp.zip", "w") as opened:
        for name, text in files.items():
            opened.writestr(f"comp/{name}", text)
    return tmp_path / "comp.zip"


def test_a_zip_becomes_a_competition_that_loads(tmp_path, monkeypatch, capsys):
    status, out, _ = run_import(tmp_path, monkeypatch, capsys, "--zip", make_zip(tmp_path, COCO))
    assert status == 0
    competition = load_competition(tmp_path / "input" / "mine" / "competition.toml")
    assert sorted(competition.labels.names, key=natural_key) == ["1", "3", "10"]
    for part in ("3 rows, 1 of them repaired (first on line 3)", "10:1", "data/<ImageID>", "COMP=mine"):
        assert part in out


def test_what_could_not_be_inferred_is_put_right_in_place(tmp_path, monkeypatch, capsys):
    broken = COCO | {"train.csv": COCO["train.csv"].replace('mat."', "mat.")}
    status, _, error = run_import(tmp_path, monkeypatch, capsys, "--zip", make_zip(tmp_path, broken))
    assert status == 2
    assert "input/mine/train.csv: line 2: the row does not end before the next one, on line 3" in error
    assert "then run: make import COMP=mine" in error
    assert not (tmp_path / "input" / "mine" / "competition.toml").exists()
    status, _, error = run_import(tmp_path, monkeypatch, capsys, "--zip", tmp_path / "comp.zip")
    assert status == 2 and "the row does not end before the next one" in error
    (tmp_path / "input" / "mine" / "train.csv").write_text(COCO["train.csv"])
    status, out, _ = run_import(tmp_path, monkeypatch, capsys, "--dir", "input/mine")
    assert status == 0
    assert "the files are already in input/mine" in out


def test_a_competition_that_brings_its_own_settings_keeps_them(tmp_path, monkeypatch, capsys):
    run_import(tmp_path, monkeypatch, capsys, "--zip", make_zip(tmp_path, COCO))
    written = tmp_path / "input" / "mine" / "competition.toml"
    sent = COCO | {"competition.toml": written.read_text().replace('"f1_samples"', '"f1_macro"')}
    shutil.rmtree(written.parent)
    status, out, _ = run_import(tmp_path, monkeypatch, capsys, "--zip", make_zip(tmp_path, sent))
    assert status == 0 and "competition.toml came with the files and stays as it is" in out
    assert written.read_text() == sent["competition.toml"] and "f1_macro" in written.read_text()


def test_test_ids_may_be_train_ids_where_their_images_lie_apart(tmp_path):
    files = {"train.csv": "id,labels\n1,a\n2,b\n3,a b\n", "test.csv": "id\n1\n2\n"}
    inference = infer_from(tmp_path, files | images("train", ".jpg", "123") | images("test", ".jpg", "12"))
    assert inference.values["images"] == {"train": "train", "test": "test"}


def test_an_import_of_nothing_says_how_to_call_it(tmp_path, monkeypatch, capsys):
    assert "run: make import COMP=mine ZIP=mine.zip" in run_import(tmp_path, monkeypatch, capsys)[2]
    assert "make import DIR=. COMP=mine" in run_import(tmp_path, monkeypatch, capsys, "--zip", ".")[2]


def test_a_folder_is_imported_too_but_not_as_the_sample(tmp_path, monkeypatch, capsys):
    source = folder(tmp_path / "source", COCO)
    assert run_import(tmp_path, monkeypatch, capsys, "--dir", source)[0] == 0
    assert main(["import", "sample", "--dir", str(source)]) == 2
    assert "give yours a name; run: make import COMP=source DIR=" in capsys.readouterr().err

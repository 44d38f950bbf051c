"""Captions of any language in columns, rows and files: inferred, joined, checked, and trained on one by one."""

import json

import numpy as np
import pytest
import toy
from PIL import Image

from tandem.config.competition import Competition, load_competition, to_toml
from tandem.config.encoders import CaptionEncoder
from tandem.config.experiments import HeadExperiment, TfidfExperiment
from tandem.config.questions import Question
from tandem.data.caption_files import find_image_column, match_images, read_caption_file
from tandem.data.caption_rows import join_caption_rows
from tandem.data.caption_words import word_counts
from tandem.data.check_competition import captions_digest, check_competition
from tandem.data.csv_reader import Table
from tandem.data.infer_captions import find_caption
from tandem.data.infer_competition import infer_competition
from tandem.data.split_tables import read_caption_lists, read_captions, write_captions
from tandem.explain.words import word_effects
from tandem.features.text_encoder import load_encoder
from tandem.inference.image_folder import read_image_captions
from tandem.models.base import TrainingRun
from tandem.models.inputs import Inputs
from tandem.models.tfidf import TfidfModel

CHINESE = ["猫在草地上", "狗在城市里", "猫和狗在家", "海在阳光下"]


def table(text: str) -> Table:
    header, *rows = [tuple(line.split(",")) for line in text.strip().split("\n")]
    return Table(header, rows, list(range(2, len(rows) + 2)))


def infer(tmp_path, files, names="123"):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "images").mkdir(exist_ok=True)
    for i, name in enumerate(names):
        noise = np.random.default_rng(i).integers(256, size=(20, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"{name}.jpg")
    return infer_competition(tmp_path)


def check(tmp_path, competition):
    return check_competition(competition, tmp_path, tmp_path / "scan.parquet")


# ---- which column


@pytest.mark.parametrize("name", ["caption", "Caption", "comment_text", "product_title", "Description", "sentence"])
def test_a_column_with_the_name_of_a_caption_counts_whatever_its_words(name):
    assert find_caption(table(f"size,{name}\n1,red\n2,blue"), ["size", name]) == name


@pytest.mark.parametrize("texts", [CHINESE, ["แมวอยู่บนหญ้า", "สุนัขในเมือง"], ["猫が草の上にいる", "犬が家にいる"]])
def test_texts_without_spaces_between_words_count(texts):
    assert find_caption(Table(("a",), [(text,) for text in texts], [2, 3]), ["a"]) == "a"


def test_paths_lists_and_numbers_are_no_texts():
    assert find_caption(table("a,b\nx/my_big_cat.jpg,1 2 3 4\nx/my_old_dog.jpg,5 6 7"), ["a", "b"]) is None


def test_numbered_captions_are_all_used_and_a_title_comes_before_its_text():
    assert find_caption(table("caption1,caption2\na cat,one cat"), ["caption1", "caption2"]) == ["caption1", "caption2"]
    assert find_caption(table("description,title\na cat,Cat"), ["description", "title"]) == ["title", "description"]


def test_columns_that_do_not_belong_together_are_a_question_with_examples():
    question = find_caption(table("caption,comment\na cat,well done"), ["caption", "comment"])
    assert question == Question(
        "caption", "columns ['caption', 'comment'] may all hold captions", {"caption": "a cat", "comment": "well done"}
    )


def test_captions_are_found_without_a_test_table_but_not_guessed(tmp_path):
    train = "id,words,{}\n1,a b,a cat on a mat\n2,b,two old brown dogs\n3,a,the sea at night\n"
    assert infer(tmp_path, {"train.csv": train.format("caption")}).competition.caption == "caption"
    inference = infer(tmp_path, {"train.csv": train.format("note")})
    (question,) = (question for question in inference.questions if question.key == "caption")
    assert question.candidates == {"note": "a cat on a mat", "": "it holds none"}


def test_none_and_na_are_words(tmp_path):
    files = {"train.csv": "id,tags,text\n1,a b,None\n2,b,NA\n3,a,null\n", "test.csv": "id,text\n1,N/A\n"}
    infer(tmp_path, files)
    competition = infer(tmp_path, files).competition
    assert check(tmp_path, competition).captions == {"train": [["None"], ["NA"], ["null"]], "test": [["N/A"]]}


# ---- several rows an image

FIVE = "image,labels,caption\n1.jpg,a|b,one\n1.jpg,a|b,two\n2.jpg,b,three\n2.jpg,b,four\n3.jpg,a,five\n3.jpg,a,six\n"
FIVE_TEST = "image,caption\n4.jpg,seven\n4.jpg,eight\n"


def test_the_caption_rows_of_an_image_are_one_row(tmp_path):
    inference = infer(tmp_path, {"train.csv": FIVE, "test.csv": FIVE_TEST}, "1234")
    assert inference.notes[0] == "train: 6 rows of 3 images; the captions of an image are joined"
    competition = inference.competition
    checked = check(tmp_path, competition)
    assert checked.rows == {"train": 3, "test": 1}
    assert checked.captions["train"] == [["one", "two"], ["three", "four"], ["five", "six"]]
    assert {issue.kind for issue in checked.issues} <= {"caption rows", "rare label", "too few groups"}


def test_caption_rows_of_an_image_with_other_labels_are_an_error_with_the_lines(tmp_path):
    wrong = FIVE.replace("2.jpg,b,four", "2.jpg,a,four")
    competition = infer(tmp_path, {"train.csv": wrong, "test.csv": FIVE_TEST}, "1234").competition
    (issue,) = (issue for issue in check(tmp_path, competition).issues if issue.kind == "caption rows differ")
    assert (issue.line, issue.message) == (4, "the rows of '2.jpg' on lines 4, 5 have other labels")


def test_one_id_that_is_repeated_by_mistake_is_still_an_error(tmp_path):
    train = "image,labels,caption\n1.jpg,a|b,one\n2.jpg,b,two\n3.jpg,a,five\n"
    competition = infer(tmp_path, {"train.csv": train, "test.csv": "image,caption\n4.jpg,x\n"}, "1234").competition
    (tmp_path / "train.csv").write_text(train + "3.jpg,a,six\n")
    assert "repeated id" in {issue.kind for issue in check(tmp_path, competition).issues}


def test_a_column_of_flags_does_not_name_the_images_of_caption_rows(tmp_path):
    train = "image,cat,dog,caption\n0.jpg,0,1,one\n1.jpg,1,1,two\n2.jpg,1,0,three\n3.jpg,1,0,four\n"
    inference = infer(tmp_path, {"train.csv": train, "test.csv": "image,caption\n4.jpg,x\n"}, "01234")
    assert (inference.competition.id, inference.notes) == ("image", [])


def test_joining_keeps_the_first_row_and_each_caption_once():
    joined, captions = join_caption_rows(table("id,n,caption\nx,0,a\ny,1,b\nx,2,c\nx,3,a"), "id", ["caption"])
    assert (joined.rows, joined.lines) == ([("x", "0", "a"), ("y", "1", "b")], [2, 3])
    assert captions == [["a", "c"], ["b"]]


def test_several_captions_are_stored_beside_the_joined_text(tmp_path):
    write_captions(tmp_path / "a", ["x", "y"], [["one", "two"], ["three"]])
    write_captions(tmp_path / "b", ["x", "y"], ["one two", "three"])
    assert read_captions(tmp_path / "a") == read_captions(tmp_path / "b") == (["x", "y"], ["one two", "three"])
    assert read_caption_lists(tmp_path / "a") == [["one", "two"], ["three"]]
    assert read_caption_lists(tmp_path / "b") == [["one two"], ["three"]]
    assert captions_digest(["x"], [["one", "two"]]) != captions_digest(["x"], [["one two"]])


# ---- files of captions


def test_a_table_of_captions_is_joined_by_the_names_of_the_images(tmp_path):
    files = {"train.csv": "id,labels\n1,a|b\n2,b\n3,a\n", "test.csv": "id\n4\n"}
    files["captions.txt"] = "n,image,caption\n0,3.jpg,three\n1,1.jpg,one\n2,1.jpg,uno\n3,4.jpg,four\n4,9.jpg,nine\n"
    inference = infer(tmp_path, files, "1234")
    competition = inference.competition
    assert (competition.caption, competition.captions) == ("caption", "captions.txt")
    assert "captions: captions.txt; 1 rows have none" in inference.notes
    checked = check(tmp_path, competition)
    assert checked.captions == {"train": [["one", "uno"], [""], ["three"]], "test": [["four"]]}
    messages = {issue.kind: issue.message for issue in checked.issues}
    assert messages["unused captions"] == "captions of 1 images that no row has, such as '9.jpg'"
    assert messages["empty caption"] == "the caption of '2' is empty"
    (tmp_path / "competition.toml").write_text(to_toml(competition))
    assert load_competition(tmp_path / "competition.toml") == competition


def test_a_table_of_something_else_is_not_taken_for_captions(tmp_path):
    files = {"train.csv": "id,labels\n1,a|b\n2,b\n3,a\n", "test.csv": "id\n4\n"}
    files |= {"classes.csv": "id,description\n1,a cat\n2,a dog\n", "sizes.csv": "id,width\n1,3\n2,4\n3,5\n"}
    inference = infer(tmp_path, files, "1234")
    assert (inference.competition.caption, inference.competition.captions) == (None, None)
    assert inference.notes == ["not used: classes.csv: captions of 2 training rows"]


def test_captions_as_ms_coco_writes_them_are_joined_from_all_their_files(tmp_path):
    files = {"train.csv": "image,labels\n1.jpg,a|b\n2.jpg,b\n3.jpg,a\n", "test.csv": "image\n4.jpg\n"}
    for split, names in (("train", "123"), ("val", "4")):
        images = [{"id": int(name) * 10, "file_name": f"{name}.jpg"} for name in names]
        annotations = [{"image_id": int(name) * 10, "caption": f"no {name}, {i}"} for name in names for i in (1, 2)]
        files[f"captions_{split}.json"] = json.dumps({"images": images, "annotations": annotations})
    files["sizes.json"] = "[1, 2]"
    competition = infer(tmp_path, files, "1234").competition
    assert (competition.caption, competition.captions) == ("caption", ["captions_train.json", "captions_val.json"])
    assert check(tmp_path, competition).captions["test"] == [["no 4, 1", "no 4, 2"]]


def test_json_lines_may_hold_the_captions(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"image": "1.jpg", "text": "one"}\n\n{"image": "2.jpg", "text": "two"}\n')
    assert read_caption_file(tmp_path / "c.jsonl", ["text"], ["1", "2"]).of(["2", "1"]) == ([["two"], ["one"]], [])
    (tmp_path / "c.jsonl").write_text('{"image": "1.jpg"}\n{"name": "2.jpg"}\n')
    with pytest.raises(ValueError, match="no column .text.; the columns are image, name"):
        read_caption_file(tmp_path / "c.jsonl", ["text"], ["1"])


def test_captions_files_need_the_name_of_their_column():
    labels = {"format": "columns", "names": ["a", "b"]}
    values = {"id": "id", "images": "i", "captions": "c.csv", "most": 1, "experiments": ["x"], "labels": labels}
    with pytest.raises(ValueError, match="needs caption = "):
        Competition.model_validate(values)


def test_a_name_that_fits_two_images_is_refused():
    assert match_images(["1.jpg", "a/2.jpg"], ["x/1.jpg", "1.jpg", "2.jpg"]) == {"1.jpg": "1.jpg", "2.jpg": "a/2.jpg"}
    with pytest.raises(ValueError, match="'1.jpg' may be 'a/1.jpg' or 'b/1.jpg'"):
        match_images(["1.jpg"], ["a/1.jpg", "b/1.jpg"])
    with pytest.raises(ValueError, match="'1.jpg' may be 'a/1.jpg' or 'b/1.jpg'"):
        match_images(["a/1.jpg", "b/1.jpg"], ["1.jpg"])


def test_a_counter_of_the_rows_names_no_image_where_another_column_does():
    rows = table("Unnamed: 0,image\n0,1.jpg\n1,2.jpg\n2,0.jpg")
    assert find_image_column(rows, rows.columns, ["0.jpg", "1.jpg", "2.jpg"]) == "image"
    assert find_image_column(rows, ["Unnamed: 0"], ["0.jpg", "1.jpg", "2.jpg"]) == "Unnamed: 0"
    twice = table("a,b\n1.jpg,2.jpg\n2.jpg,1.jpg")
    with pytest.raises(ValueError, match="name equally many images"):
        find_image_column(twice, twice.columns, ["1.jpg", "2.jpg"])


def test_predict_reads_the_captions_whatever_the_order_of_the_columns(tmp_path):
    images = ["0.jpg", "1.jpg"]
    for text in ("n,image,caption\n0,1.jpg,dog\n1,0.jpg,cat\n", "caption,image,n\ndog,1.jpg,0\ncat,0.jpg,1\n"):
        (tmp_path / "c.csv").write_text(text)
        assert read_image_captions(tmp_path / "c.csv", images) == ["cat", "dog"]
    (tmp_path / "c.csv").write_text("image,caption,comment\n0.jpg,a,b\n")
    with pytest.raises(ValueError, match="which of .'caption', 'comment'. holds the captions is not certain"):
        read_image_captions(tmp_path / "c.csv", images)
    assert read_image_captions(tmp_path / "c.csv", images, ["comment"]) == ["b", ""]


# ---- scripts, and each caption by itself


def test_a_list_of_captions_becomes_a_vector_for_each(tmp_path):
    model = toy.tiny_sentences(tmp_path / "tiny")
    joined, each = (CaptionEncoder(model=model, max_tokens=8, each_caption=views) for views in (False, True))
    (two,) = load_encoder(each)([["a cat", "a dog"], ["a dog", "a dog"]])
    (one,) = load_encoder(joined)(["a cat", "a dog"])
    assert two.shape == (2, 2, 48)
    assert np.allclose(two[0], one[:, 0], atol=1e-5) and np.allclose(two[1], one[[1, 1], 0], atol=1e-5)


def test_words_are_counted_in_every_script():
    assert word_counts(["two words", "猫在草地上", "GPU 猫", ""]).tolist() == [2, 3, 2, 0]


def test_tfidf_learns_the_words_of_a_language_without_spaces(tmp_path):
    texts = [f"{first}{rest}" for rest in ("在草地上", "在城市里", "在阳光下") for first in ("猫", "狗", "海")] * 4
    y = np.array([["猫" in text, "狗" in text] for text in texts], np.uint8)
    model = TfidfModel(TfidfExperiment(kind="tfidf"), 2)
    model.fit(Inputs([str(i) for i in range(len(texts))], captions=texts), y, TrainingRun(0))
    model.save(tmp_path / "m.safetensors")
    back = TfidfModel(TfidfExperiment(kind="tfidf"), 2).load(tmp_path / "m.safetensors")
    proba = back.predict_proba(Inputs(["x", "y"], captions=["一只狗在家", "一只猫在家"]))
    assert (proba > 0.5).tolist() == [[False, True], [True, False]]


def test_word_effects_divide_texts_without_spaces():
    effects = word_effects("猫在草地上 ok", lambda texts: np.array([[float("草" in text)] for text in texts]))
    assert effects.pieces == ("猫在", "草地", "上", " ok")
    assert effects.effects[:, 0].tolist() == [0, 1, 0, 0]


def test_caption_views_train_on_each_caption_and_predict_the_mean_of_their_logits():
    lists = [["a cat", "one cat"], ["a dog"], ["a cat", "my cat"], ["my dog", "one dog"]] * 5
    ids, y = [str(i) for i in range(20)], np.array([[1], [0], [1], [0]] * 5, np.uint8)
    model = TfidfModel(TfidfExperiment(kind="tfidf", caption_views=True), 1)
    model.fit(Inputs(ids, captions=[" ".join(row) for row in lists], caption_lists=lists), y, TrainingRun(0))

    def logit(*captions: str) -> float:
        p = model.predict_proba(Inputs(["x"], captions=[" ".join(captions)], caption_lists=[list(captions)]))
        return float(np.log(p / (1 - p))[0, 0])

    assert logit("a cat", "my dog", "one cat") == pytest.approx(
        (logit("a cat") + logit("my dog") + logit("one cat")) / 3
    )


def test_caption_views_are_views_of_the_features_and_change_no_other_key():
    caption = CaptionEncoder()
    joined, each = (HeadExperiment(kind="head", caption=caption, caption_views=views) for views in (False, True))
    assert joined.encoders[0].slug == caption.slug != each.encoders[0].slug
    assert "caption_views" not in joined.model_dump() and "each_caption" not in caption.model_dump()
    with pytest.raises(ValueError, match="no .image. section"):
        HeadExperiment.model_validate({"kind": "head", "image": {}, "caption": {}, "caption_views": True})

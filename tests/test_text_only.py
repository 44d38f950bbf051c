"""A competition of texts without images, from its CSV files to a submission, a report, a bundle and a page."""

import csv
import re
import threading

import numpy as np
import pytest
import toy
import uvicorn
from checked import run_tasks, write_experiment
from checked import train as train_experiments
from starlette.testclient import TestClient

from tandem import competition
from tandem.__main__ import main
from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition
from tandem.config.encoders import CaptionEncoder
from tandem.config.experiments import HeadExperiment
from tandem.config.training import Head, HeadTraining
from tandem.inference.labeler import Labeler
from tandem.stages import serve
from tandem.web.app import make_app
from tandem.web.service import LabelService

N, TEST = 60, 6
ANIMALS = ("cat", "dog")


def comment(i: int) -> str:
    """Names its labels, except that every tenth pair of rows has the same text."""
    first = i - i % 2 if i % 10 < 2 else i
    words = [name for j, name in enumerate(ANIMALS) if (first + 1) >> j & 1]
    return f"remark {first} of a {' and a '.join(words) or 'sea'}"


def flags(i: int) -> list[int]:
    return [int(f"a {name}" in comment(i)) for name in ANIMALS]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Submitted with text_tfidf and a head on a tiny caption model; not to be changed."""
    root = tmp_path_factory.mktemp("text")
    folder = root / "files"
    folder.mkdir()
    train = [[f"r{i}", comment(i), *flags(i)] for i in range(N)]
    test = [[f"r{i}", comment(i)] for i in range(N, N + TEST)]
    for name, header, rows in (
        ("train.csv", ["id", "comment_text", *ANIMALS], train),
        ("test.csv", ["id", "comment_text"], test),
        ("solution.csv", ["id", *ANIMALS], [[f"r{i}", *flags(i)] for i in range(N, N + TEST)]),
    ):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        paths = Paths("remarks")
        patch.setenv("TANDEM_THREADS", "1")
        caption = CaptionEncoder(model=toy.tiny_sentences(root / "tiny"), max_tokens=16)
        head = Head(hidden=8, dropout=0.0, input_dropout=0.0, bags=1)
        tiny = HeadExperiment(kind="head", caption=caption, head=head, train=HeadTraining(epochs=3, min_steps=30))
        assert main(["import", "COMP=remarks", f"DIR={folder}"]) == 0
        write_experiment(paths, "text_tiny", tiny)
        members = ("text_tfidf", "text_tiny")
        run_tasks(paths, "check", "folds")
        train_experiments(paths, *members)
        run_tasks(paths, "stack", "decode stack", "submit stack", members=members)
    return Paths("remarks", root)


@pytest.fixture
def inside(paths, monkeypatch):
    monkeypatch.chdir(paths.root)
    return paths


def test_the_import_finds_no_images_and_chooses_models_of_texts(paths):
    found = load_competition(paths.competition)
    assert (found.images, found.caption, found.experiments) == (None, "comment_text", "captions")
    assert "images" not in paths.competition.read_text().split("[labels]")[0].replace("of the images", "")


def test_rows_of_equal_texts_share_a_fold(paths):
    rows = {row["id"]: row for row in csv.DictReader(paths.folds.open())}
    assert rows["r10"]["group"] == rows["r11"]["group"] != rows["r12"]["group"]
    assert rows["r10"]["fold"] == rows["r11"]["fold"]


def test_the_submission_names_the_labels_of_the_texts(paths):
    rows = list(csv.DictReader(paths.submission("stack").open()))
    assert [row["id"] for row in rows] == [f"r{i}" for i in range(N, N + TEST)]
    made = read_json(paths.submission("stack").with_suffix(".json"))
    assert made["local_leaderboard"]["f1_micro"] > 0.8
    assert competition("remarks", paths.root).scores()["stack"].score > 0.6


def test_scores_and_report_show_no_images(inside, capsys):
    assert main(["scores", "COMP=remarks"]) == 0
    assert main(["report", "COMP=remarks"]) == 0
    page = next(inside.root.glob("reports/remarks/index.html")).read_text()
    assert "Image sizes" not in page and '"images": null' in page and 'class="text-only"' in page
    assert "text_tiny" in capsys.readouterr().out


def test_an_explanation_has_the_words_of_the_text_and_no_picture(inside, capsys):
    assert main(["explain", "COMP=remarks", "ID=r3"]) == 0
    out = capsys.readouterr().out
    assert "effect of each word" in out and "remark" in out
    (page,) = inside.root.glob("reports/remarks/explain/r3.*.html")
    assert "Word effects" in page.read_text() and 'class="photo"' not in page.read_text()


def test_the_rows_of_a_table_are_labelled(inside, tmp_path):
    (tmp_path / "new.csv").write_text("comment_text,id\na remark of a cat,x\n,y\n")
    out = tmp_path / "out.csv"
    assert main(["predict", "COMP=remarks", f"CAPTIONS={tmp_path / 'new.csv'}", f"OUT={out}"]) == 3
    cat, empty = csv.DictReader(out.open())
    assert (cat["image"], cat["labels"]) == ("x", "cat")
    assert (empty["image"], empty["problem"]) == ("y", "the caption is empty")


def test_images_for_a_competition_of_texts_are_refused_with_what_to_do(inside, tmp_path, capsys):
    assert main(["predict", "COMP=remarks", f"IMAGES={tmp_path}", "OUT=-"]) == 2
    assert "was trained on captions alone; run: make predict CAPTIONS=file.csv" in capsys.readouterr().err


def test_a_bundle_labels_texts_as_the_source_does(inside, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["bundle", "COMP=remarks"]) == 0
    assert re.search(r"rounding .*: F1 per row (\S+) → \1, .*, 0 of \d+ labels change", capsys.readouterr().out)
    bundle = inside.bundle
    assert "--captions captions.csv" in next(Labeler.load(bundle).paths.root.glob("README.md")).read_text()
    texts = ["remark of a cat", "remark of a dog and a cat"]
    labels = [set(found.labels) for found in Labeler.load(bundle).label(None, texts)]
    assert labels == [{"cat"}, {"cat", "dog"}]
    (tmp_path / "new.csv").write_text("text\nremark of a dog\n")
    out = tmp_path / "out.csv"
    assert main(["predict", f"BUNDLE={bundle}", f"CAPTIONS={tmp_path / 'new.csv'}", f"OUT={out}"]) == 0
    (row,) = csv.DictReader(out.open())
    assert (row["image"], row["labels"]) == ("1", "dog")


def test_the_page_labels_and_explains_a_text(inside):
    service = LabelService(Labeler.of(inside, "stack"))
    service.warm_up()
    client = TestClient(make_app(service), base_url="http://127.0.0.1:8000")
    assert client.get("/about").json()["uses_images"] is False
    body = client.post("/label", data={"caption": "remark of a cat"}).json()
    assert body["labels"] == ["cat"]
    explained = client.post("/explain", data={"caption": "remark of a cat", "label": "cat"}).json()
    assert explained["heat"] is None
    effects = {word["text"].strip(): word["effect"] for word in explained["words"]}
    assert effects["cat"] == max(effects.values())
    assert client.post("/label", data={"caption": " "}).json() == {"error": "the caption is empty"}


def test_nothing_is_made_again(inside, capsys):
    assert main(["submit", "COMP=remarks", "EXPS=text_tfidf text_tiny"]) == 0
    assert "Nothing to be done" in capsys.readouterr().out


def test_the_python_interface_needs_no_images(inside):
    proba = competition("remarks").labeler("text_tfidf").predict_proba(None, ["remark of a cat"])
    assert np.argmax(proba[0]) == 0


def test_the_page_has_a_box_for_the_text_and_none_for_a_photo(inside, page):
    listening = serve.listen(0)
    app = make_app(LabelService(Labeler.of(inside, "stack")))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        page.goto(f"http://127.0.0.1:{listening.getsockname()[1]}")
        page.wait_for_selector("#submit:enabled")
        assert not page.is_visible("#drop")
        page.fill("#caption", "remark of a cat")
        page.click("#submit")
        page.wait_for_selector("#words span.for")
        assert page.text_content("#labels") == "cat"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def test_the_report_of_texts_shows_its_cards_without_pictures(inside, page):
    assert main(["report", "COMP=remarks"]) == 0
    page.goto((inside.root / "reports/remarks/index.html").as_uri())
    page.wait_for_selector("#label-errors-title, #label_errors-title", state="attached")
    assert page.locator("img").count() == 0

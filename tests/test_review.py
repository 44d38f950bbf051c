"""`make review`: questions and answers, rejected requests, and a review of five rows in a browser."""

import csv
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from starlette.testclient import TestClient
from words_competition import set_keys

from tandem.__main__ import main
from tandem.artifacts.atomic_io import file_digest, write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition
from tandem.data.corrections import GivenLabels, Limits
from tandem.report.data_model import Split
from tandem.report.review_queue import Question
from tandem.stages import review
from tandem.web.local_server import listen, make_server
from tandem.web.review import make_review_app
from tandem.web.review_session import ReviewSession

HOST = "http://127.0.0.1:8000"


@pytest.fixture
def paths(submitted) -> Paths:
    return submitted


@pytest.fixture
def client(paths) -> TestClient:
    return TestClient(make_review_app(review.open_session(paths)), base_url=HOST)


@contextmanager
def serving(session: ReviewSession):
    listening = listen(0)
    server = make_server(make_review_app(session))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listening.close()


@pytest.fixture
def url(paths):
    with serving(review.open_session(paths)) as address:
        yield address


def written(paths: Paths) -> list[tuple[str, ...]]:
    """(id, label, was, now, suspected_by) of each line below the header."""
    if not paths.corrections.exists():
        return []
    with paths.corrections.open(newline="", encoding="utf-8") as file:
        return [tuple(row) for row in list(csv.reader(file))[1:]]


def answered(page, n: int) -> None:
    page.locator("#progress", has_text=f"{n} of ").wait_for()
    page.locator("main[aria-busy=false]").wait_for()


def test_a_review_of_five_rows_changes_the_next_submission(paths, url, page, accessible, capsys):
    submission, table = file_digest(paths.submission("words")), file_digest(paths.input / "train.csv")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.locator("#ask").wait_for()
    first = page.locator("#ask").inner_text()
    page.keyboard.press("s")
    page.locator("#progress", has_text="skipped").wait_for()
    answered(page, 0)
    page.keyboard.press("u")
    page.locator("#progress", has_not_text="skipped").wait_for()
    answered(page, 0)
    assert page.locator("#ask").inner_text() == first
    rows = []
    while len(set(rows)) < 5:  # one label of a row, or more
        row = page.locator("#id").inner_text()
        page.keyboard.press("n")
        answered(page, len(rows) + 1)
        rows.append(row)
    assert [(line[0], line[4]) for line in written(paths)] == [(row, "label errors of words") for row in rows]
    assert all({line[2], line[3]} == {"0", "1"} for line in written(paths))
    n = len(rows)
    page.click("#yes")
    answered(page, n + 1)
    assert written(paths)[n][2] == written(paths)[n][3]
    page.keyboard.press("u")
    answered(page, n)
    assert len(written(paths)) == n

    page.keyboard.press("e")
    assert page.locator("#labels tr.asked button").evaluate("node => node === document.activeElement")
    assert accessible(page) == []
    page.keyboard.press("Enter")
    assert page.locator("#labels tr.changed").count() == 1
    page.keyboard.press("Escape")
    page.locator("#answers").wait_for()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert accessible(page) == []
    assert page.evaluate("document.querySelector('#photo').naturalWidth") == 48
    assert page.locator("#next li").all_inner_texts()[1] == "make submit COMP=small"
    assert all(one.startswith((url, "data:")) for one in asked)

    set_keys(paths, corrections="true")
    assert main(["submit", "small", "EXPS=words"]) == 0
    assert f"{n} labels of 5 rows corrected" in capsys.readouterr().out
    assert file_digest(paths.submission("words")) != submission
    assert file_digest(paths.input / "train.csv") == table


def test_each_answer_is_written_at_once_and_is_not_asked_for_again(paths, client):
    about = client.get("/about").json()
    assert about["open"] == list(range(about["questions"])) and about["questions"] >= 5
    one = client.get("/question/0").json()
    (given,) = (label["given"] for label in one["labels"] if label["name"] == one["label"])
    assert client.post("/answer", json={"number": 0, "labels": {one["label"]: given}}).json()["labels"] == 0
    assert written(paths) == [(one["id"], one["label"], str(given), str(given), "label errors of words")]
    again = review.open_session(paths)
    assert again.progress()["open"] == about["open"][1:]
    assert client.post("/undo").json() == {**{k: about[k] for k in ("open", "labels", "rows", "undo")}, "number": 0}
    assert client.post("/undo").json()["number"] is None
    assert written(paths) == []


def test_without_photos_a_label_that_is_unknown_and_one_that_nobody_suspected_are_corrected_by_hand(tmp_path):
    paths = Paths("texts", tmp_path)
    labels = {"format": "columns", "names": ["cat", "sky", "sea"], "blank": "unknown"}
    made = {"id": "id", "caption": "text", "most": 3, "experiments": ["words"], "labels": labels}
    given = GivenLabels(["a"], labels["names"], np.array([[1, 0, 0]]), np.array([[True, True, False]]))
    train = Split(["a"], [], ["<b>blue</b>"], np.zeros((1, 3)))
    asked = [Question(0, 0, "mistakes of stack")]
    competition = Competition.model_validate(made)
    session = ReviewSession(paths, competition, "stack", train, given, np.array([[0.1, 0.8, 0.5]]), asked)
    one = session.question(0)
    assert (one["photo"], one["caption"], one["label"]) == (False, "<b>blue</b>", "cat")
    assert [(label["name"], label["given"]) for label in one["labels"]] == [("sky", 0), ("sea", None), ("cat", 1)]
    session.answer(0, {"cat": 1, "sky": 1, "sea": 0})
    assert written(paths) == [
        ("a", "cat", "1", "1", "mistakes of stack"),
        ("a", "sky", "0", "1", "by hand"),
        ("a", "sea", "unknown", "0", "by hand"),
    ]


def test_script_in_ids_captions_and_labels_is_text(tmp_path, browser):
    evil = ["<img src=x onerror=window.hit=1>", "</script><script>window.hit=1</script>", "{{ 7*7 }}\u2028\u202e'\""]
    paths, given = Paths("texts", tmp_path), GivenLabels([evil[0]], evil, np.array([[1, 0, 1]]), np.ones((1, 3), bool))
    labels = {"format": "columns", "names": evil}
    made = {"id": "id", "caption": "text", "most": 3, "experiments": ["words"], "labels": labels}
    train = Split([evil[0]], [], ["".join(evil)], np.zeros((1, 3)))
    asked = [Question(0, j, evil[j]) for j in range(3)]
    competition = Competition.model_validate(made)
    session = ReviewSession(paths, competition, evil[1], train, given, np.array([[0.1, 0.8, 0.5]]), asked)
    with serving(session) as url:
        page = browser.new_page()
        ran, requests = [], []
        page.on("console", lambda message: ran.append(message.text))
        page.on("pageerror", lambda error: ran.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(url)
        for _ in evil:
            page.locator("main[aria-busy=false]").wait_for()
            page.locator("#ask").wait_for()
            shown = page.locator("body").text_content()
            assert all(text in shown for text in evil)
            page.keyboard.press("y")
        page.locator("#done").wait_for()
        assert not page.evaluate("() => window.hit") and ran == []
        assert page.locator("body script, [onerror]").count() == 0
        assert all(one.startswith((f"{url}/", "data:")) for one in requests)
        page.close()


@pytest.mark.parametrize("number", ["-1", "x", "9" * 5000, "\u0663", "%00"])
def test_a_number_that_is_none_is_not_found(client, number):
    for path in ("question", "photo"):
        assert client.get(f"/{path}/{number}").status_code in (404, 422)
    assert client.post("/answer", content=b'{"number": ' + b"[" * 100_000).status_code == 422


def test_an_answer_that_does_not_fit_is_refused_and_nothing_is_written(paths, client):
    label = client.get("/question/0").json()["label"]
    for body, message in [
        ({"number": 10**6, "labels": {label: 1}}, "question 1000000: there are"),
        ({"number": 0, "labels": {label: 2}}, "is 2; expected 0 or 1"),
        ({"number": 0, "labels": {label: 1, "nothing": 1}}, "label 'nothing': expected one of cat, sky"),
        ({"number": 0, "labels": {}}, "is asked about and not among them"),
        ({"number": 0}, "expected {"),
    ]:
        answer = client.post("/answer", json=body)
        assert answer.status_code == 422 and message in answer.json()["error"]
    assert client.post("/answer", content=b"no JSON").status_code == 422
    assert not paths.corrections.exists()


def test_a_row_is_not_left_with_fewer_labels_than_the_competition_asks_for(paths):
    session = review.open_session(paths)
    session.limits = Limits(2, 2)
    with pytest.raises(ValueError, match="the row then has no labels, at least 2 .* edit all its labels at once"):
        session.answer(
            session.questions.index(next(q for q in session.questions if session.given.y[q.row].any())),
            {"cat": 0, "sky": 0},
        )
    assert not paths.corrections.exists()


def test_other_sites_and_other_hosts_are_refused(client):
    assert client.get("/about", headers={"host": "evil.example"}).status_code == 400
    assert client.post("/undo", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/%2e%2e/review.py").status_code == 404
    assert client.get("/").headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    photo = client.get("/photo/0")
    assert photo.headers["content-type"] == "image/jpeg" and photo.content[:2] == b"\xff\xd8"


def test_labels_of_a_table_that_changed_since_are_not_reviewed_but_new_corrections_are_no_such_change(paths):
    set_keys(paths, corrections="true")
    write_text(paths.corrections, "id,label,was,now,suspected_by\n0.jpg,cat,1,0,by hand\n")
    review.open_session(paths)
    table = paths.input / "train.csv"
    write_text(table, table.read_text().rstrip() + "\n\n")
    with pytest.raises(ValueError, match=r"older table \(input/small/train.csv changed\); run: make submit COMP=small"):
        review.open_session(paths)


def test_the_stage_ends_with_what_to_do_next(paths, monkeypatch, capsys):
    monkeypatch.setattr(review, "serve", lambda app, listening: None)
    write_text(paths.corrections, "id,label,was,now,suspected_by\n0.jpg,cat,1,0,by hand\n")
    assert main(["review", "small", "PORT=0"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].startswith("http://127.0.0.1:")
    assert printed[-3:] == [
        "input/small/corrections.csv: 1 label of 1 row corrected, 0 found to be right",
        "next: set corrections = true in input/small/competition.toml, above its first [section]",
        "next: make submit COMP=small",
    ]


def test_before_anything_is_scored_the_error_has_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["review", "none", "PORT=0"]) == 2
    assert "make import" in capsys.readouterr().err

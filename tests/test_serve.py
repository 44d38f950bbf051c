"""The page of `make serve`: results, rejected requests, temporary files, and one visit in a browser."""

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fusion_toy import NAMES, photo
from PIL import Image
from starlette.testclient import TestClient

from tandem.data import image_io as images
from tandem.data.image_loader import squares_of
from tandem.explain.occlusion import occlusion_maps
from tandem.inference.fold_models import NewRows
from tandem.inference.labeler import Labeler
from tandem.runtime import torch_setup as runtime
from tandem.stages import serve
from tandem.web import service as service_module
from tandem.web.app import make_app
from tandem.web.local_server import make_server
from tandem.web.service import LabelService

HOST = "http://127.0.0.1:8000"
SRC = Path(__file__).parents[1] / "src"


@pytest.fixture(autouse=True)
def one_thread_and_full_precision(monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "1")
    torch.set_num_threads(1)
    monkeypatch.setattr(runtime, "has_bfloat16", lambda kind: False)


@pytest.fixture(scope="module")
def service(fusion_toy) -> LabelService:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(fusion_toy.root)
        patch.setenv("TANDEM_THREADS", "1")
        return LabelService(Labeler.of(fusion_toy, "join"))


@pytest.fixture
def client(service) -> TestClient:
    return TestClient(make_app(service), base_url=HOST)


def png(image: Image.Image | None = None) -> bytes:
    file = io.BytesIO()
    (image or photo(True)).save(file, "PNG")
    return file.getvalue()


def post(client: TestClient, path: str = "/label", data: bytes | None = None, headers=None, **fields):
    files = {"photo": ("a.png", png() if data is None else data, "image/png")}
    return client.post(path, files=files, data=fields, headers=headers)


# ---- results


def test_an_image_and_its_caption_get_the_labels_of_the_labeler_and_terms_that_add_up(client, service, tmp_path):
    body = post(client, caption="a red thing").json()
    (tmp_path / "a.png").write_bytes(png())
    (found,) = service.labeler.label([tmp_path / "a.png"], ["a red thing"])
    assert body["labels"] == list(found.labels)
    assert {row["label"]: pytest.approx(row["proba"], abs=1e-6) for row in body["all"]} == found.proba
    assert [row["proba"] for row in body["all"]] == sorted((row["proba"] for row in body["all"]), reverse=True)
    for row in body["all"]:
        assert 1 / (1 + np.exp(-sum(row["terms"].values()))) == pytest.approx(row["proba"], abs=1e-6)
    assert body["heat"] and body["words"]


def test_without_a_caption_the_image_alone_is_used(client):
    body, read = post(client).json(), post(client, caption="a blue thing").json()
    assert not body["words"] and body["heat"]
    assert body == post(client, caption="  ").json() != read


def test_several_images_get_the_results_of_each_in_order_and_a_bad_one_an_error(client):
    captions = ["a red thing", "a blue thing", ""]
    files = [("photo", ("a.png", data)) for data in (png(), b"no image", png(photo(False)))]
    results = client.post("/label", files=files, data={"caption": captions}).json()["results"]
    assert results[1]["error"].startswith("unreadable: 8 bytes that are not one of JPEG, PNG, ")
    first, last = post(client, caption=captions[0]).json(), post(client, data=png(photo(False))).json()
    for found, alone in zip((results[0], results[2]), (first, last), strict=True):
        assert found["labels"] == alone["labels"] and found.keys() == alone.keys()
        p = {row["label"]: row["proba"] for row in alone["all"]}
        assert {row["label"]: row["proba"] for row in found["all"]} == pytest.approx(p, abs=1e-5)


def test_a_missing_caption_that_every_model_needs_is_the_error_of_that_image_alone(fusion_toy):
    labeler = Labeler.of(fusion_toy, "words")
    labeler.no_caption = None
    client = TestClient(make_app(LabelService(labeler)), base_url=HOST)
    files = [("photo", ("a.png", png())), ("photo", ("b.png", png()))]
    good, bad = client.post("/label", files=files, data={"caption": ["red", " "]}).json()["results"]
    assert good["labels"] and bad["error"].startswith("a caption is missing, and every trained experiment needs one")


def test_a_result_has_the_decision_with_the_next_set_and_a_reason_for_each_label(client, service):
    body, decoder = post(client, caption="a red thing").json(), service.labeler.predictor.decoder
    reasons = {row["label"]: row["reason"] for row in body["all"]}
    assert set(body["decision"]) == {"by", "expected", "runner_up"} and body["training"] is None
    if decoder.thresholds is None:
        assert body["decision"]["by"] == "in the set with the highest expected F1"
        assert body["decision"]["runner_up"]["expected"] <= body["decision"]["expected"]
    assert all((name in body["labels"]) == (not reason.startswith(("not", "probability below")))
               for name, reason in reasons.items())  # fmt: skip


def test_an_explanation_has_a_heat_map_of_the_images_shape_and_the_effect_of_each_word(client):
    wide = png(photo(True).resize((128, 64)))
    body = post(client, "/explain", wide, caption="a red thing", label="red").json()
    kind, _, data = body["heat"].partition(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (96, 48)
    assert [word["text"] for word in body["words"]] == ["a", " red", " thing"]
    labels = [post(client, data=wide, caption=c).json()["all"] for c in ("a red thing", "a thing")]
    logits = [sum(next(row for row in rows if row["label"] == "red")["terms"].values()) for rows in labels]
    assert body["words"][1]["effect"] == pytest.approx(logits[0] - logits[1], abs=1e-3)


def test_models_without_a_feature_map_have_a_heat_map_by_covering_when_asked(small, monkeypatch):
    monkeypatch.chdir(small.root)
    service = LabelService(Labeler.of(small, "looks"))
    client, name = TestClient(make_app(service), base_url=HOST), service.labeler.names[0]
    body = post(client).json()
    (member,), image = service.labeler.predictor.members, photo(True)
    assert body["heat"] and 0 < service._heat_seconds(member) <= service_module.SLOWEST
    assert body["heat_seconds"] == round(service._heat_seconds(member), 1)
    shown = post(client, "/explain", label=name).json()
    assert shown["covered"] and shown["heat_model"] == "looks"
    assert post(client, "/explain", label=name, heat="no").json()["heat"] is None
    squares = {size: [square] for size, square in squares_of(image, member.experiment.image_sizes).items()}
    row = NewRows(service.labeler.encoders, squares, [""])
    covered = service._covered_heat(member, row, image, False)
    assert np.allclose(covered, occlusion_maps(member.ensemble, member.inputs(row), [0, 1], image))
    service._seconds[member.name] = service_module.SLOWEST + 1
    assert not post(client).json()["heat"] and post(client, "/explain", label=name).json()["heat"] is None


def test_a_caption_of_one_word_is_compared_with_none(client):
    (word,) = post(client, "/explain", caption="red", label="red").json()["words"]
    logits = [
        sum(next(row for row in post(client, caption=c).json()["all"] if row["label"] == "red")["terms"].values())
        for c in ("red", "")
    ]
    assert word["effect"] == pytest.approx(logits[0] - logits[1], abs=1e-3)


def test_about_has_the_served_models_and_the_limits_of_the_input(client):
    about = client.get("/about").json()
    assert about["competition"] == "toy" and about["served"] == "join; 2 models"
    assert about["labels"] == list(NAMES)
    assert about["max_bytes"] == images.MAX_BYTES and about["max_photos"] == 16 and about["why"] == ""


# ---- rejected requests


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no image", "unreadable: 8 bytes that are not one of JPEG"),
        (b"", "unreadable: empty file"),
        (png()[:100], "truncated"),
    ],
)
def test_a_file_that_is_no_image_is_rejected_with_the_reason(client, data, reason):
    for path in ("/label", "/explain"):
        body = post(client, path, data, caption="", label="red")
        assert body.status_code == 422 and reason in body.json()["error"]
        assert "/tmp" not in body.json()["error"]


def test_too_many_pixels_are_rejected(client, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 63)
    body = post(client)
    assert body.status_code == 422 and "oversized: 64x64 pixels" in body.json()["error"]


def test_too_many_bytes_are_rejected_with_and_without_a_content_length(service, monkeypatch):
    monkeypatch.setattr(service_module, "MAX_BYTES", 1000)
    client, boundary = TestClient(make_app(service), base_url=HOST), "b"
    assert post(client, data=b"x" * 100_000).status_code == 413
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'.encode()

    def unannounced():
        yield head
        for _ in range(20):
            yield b"x" * 10_000

    kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
    assert client.post("/label", content=unannounced(), headers=kind).status_code == 413
    assert post(client).status_code == 200


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"caption": "x" * (service_module.MAX_CAPTION + 1), "label": "red"},
            "caption: 2,001 characters, expected at most 2,000",
        ),
        ({"label": "green"}, "label 'green': expected one of red, blue <b>&"),
        ({}, "label: expected a text"),
    ],
)
def test_a_field_that_is_not_as_expected_is_rejected(client, fields, reason):
    body = post(client, "/explain", **fields)
    assert body.status_code == 422 and reason in body.json()["error"]


def test_a_form_without_an_image_or_with_too_many_is_rejected(client):
    assert client.post("/label", data={"photo": "text"}).status_code == 422
    two = [("photo", ("a.png", png())), ("photo", ("b.png", png()))]
    assert client.post("/explain", files=two, data={"label": "red"}).status_code == 422
    assert client.post("/label", files=two * 8).status_code == 200
    assert client.post("/label", files=[*two * 8, two[0]]).status_code == 400
    answer = client.post("/label", files=two, data={"caption": ["one", "two", "three"]})
    assert answer.status_code == 422
    assert answer.json()["error"] == "caption: 3 texts and 2 photos; expected one each, or none"


def test_an_interrupted_upload_is_no_error_of_the_server(service, served, caplog):
    host = served(service).removeprefix("http://")
    head = f"POST /label HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    with socket.create_connection((host.split(":")[0], int(host.split(":")[1]))) as half:
        half.sendall(head.encode())
        time.sleep(0.1)
    with urllib.request.urlopen(f"http://{host}/about", timeout=5) as answer:
        assert answer.status == 200
    assert "Exception" not in caplog.text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000"])
def test_another_host_name_is_rejected(client, host):
    assert client.get("/about", headers={"host": host}).status_code == 400
    assert post(client, headers={"host": host}).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9000"},
        {"sec-fetch-site": "cross-site"},
        {"origin": HOST, "sec-fetch-site": "same-site"},
    ],
)
def test_cross_site_requests_are_rejected(client, headers):
    assert post(client, headers=headers).status_code == 403
    assert post(client, headers={"origin": HOST, "sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/page.js", "/shared/dom.js", "/about", "/none"])
def test_every_response_has_the_security_headers(client, path):
    headers = client.get(path).headers
    policy = dict(one.strip().split(" ", 1) for one in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' blob: data:" and policy["require-trusted-types-for"] == "'script'"
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/%2e%2e%2f%2e%2e%2flabeler.py"])
def test_no_file_outside_the_page_folder_is_served(client, path):
    assert client.get(path).status_code == 404


def test_nothing_is_left_behind(client, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    large = png(Image.fromarray(np.random.default_rng(0).integers(0, 255, (700, 700, 3), np.uint8)))
    assert len(large) > 2**20  # more than is kept in memory
    assert post(client, data=large).status_code == 200
    assert post(client, "/explain", data=b"no image", label="red").status_code == 422
    assert list(tmp_path.iterdir()) == []


# ---- a real server


class Slow(LabelService):
    """Waits, and counts how many wait at once."""

    at_once, most, gate = 0, 0, threading.Event()

    def label(self, photo, caption):
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.gate.wait(10)
        self.at_once -= 1
        return {}


@pytest.fixture
def served():
    """Serves on a free port until the test ends: service -> URL."""
    ends = []

    def start(service: LabelService) -> str:
        listening = serve.listen(0)
        server = make_server(make_app(service))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()

        def end():
            server.should_exit = True
            thread.join(10)
            listening.close()

        ends.append(end)
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for end in ends:
        end()


def test_images_are_processed_one_at_a_time_and_the_server_stays_responsive(service, served):
    slow = Slow(service.labeler)
    url = served(slow)
    form = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\nx\r\n--b--\r\n'
    request = urllib.request.Request(
        f"{url}/label", form, {"Content-Type": "multipart/form-data; boundary=b"}, method="POST"
    )
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(urllib.request.urlopen, request) for _ in range(2)]
        try:
            until = time.monotonic() + 10
            while not slow.at_once and time.monotonic() < until:
                time.sleep(0.01)
            with urllib.request.urlopen(f"{url}/about", timeout=5) as answer:
                assert answer.status == 200
            assert not any(one.done() for one in waiting)
        finally:
            slow.gate.set()
        assert [one.result().status for one in waiting] == [200, 200]
    assert slow.most == 1


def test_only_this_machine_reaches_it_and_a_port_in_use_says_what_to_do():
    with serve.listen(0) as taken:
        host, port = taken.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(ValueError, match=f"port {port} is in use .*make serve PORT={port + 1}"):
            serve.listen(port)
    with pytest.raises(ValueError, match="port 99999"):
        serve.listen(99999)


def test_the_stage_prints_its_address_and_ends_cleanly_when_interrupted(fusion_toy):
    words = ["serve", "toy", "--port", "0", "--exp", "join", "--folds", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tandem", *words],
        cwd=fusion_toy.root,
        env=os.environ | {"PYTHONPATH": str(SRC), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline().startswith("toy: join; 1 model; ")
            url = process.stdout.readline().split()[0]
            with urllib.request.urlopen(f"{url}/about", timeout=20) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGINT)
            assert process.stdout.read().strip() == "stopped"
            assert process.wait(10) == 0
        finally:
            process.kill()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), 1)


def test_without_a_name_and_a_trained_experiment_with_terms_the_stack_is_served(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="'stack' is not trained; run: make submit COMP=toy"):
        serve.main(SimpleNamespace(comp="toy", bundle=None, exp="", folds=0, port=0))


def test_the_python_lines_of_the_document_label_two_photos_in_one_request(
    service, served, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("a.jpg").write_bytes(png())
    Path("b.jpg").write_bytes(b"no image")
    document = (Path(__file__).parents[1] / "docs" / "labelling.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    exec(code.replace("http://127.0.0.1:8000", served(service)), {})
    expected = service.label(Path("a.jpg"), "a cat")["labels"]
    assert capsys.readouterr().out.splitlines()[0] == str(expected)
    shown = json.loads(re.findall(r"^```json\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)[0])
    assert shown.keys() == service.label(Path("a.jpg"), "").keys()
    assert shown["all"][0].keys() == service.label(Path("a.jpg"), "")["all"][0].keys()


# ---- a browser


DROPPED = """(data) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "a.png", { type: "image/png" }));
  return transfer;
}"""


def drop(page, data: bytes) -> None:
    transfer = page.evaluate_handle(DROPPED, base64.b64encode(data).decode())
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def test_a_dropped_image_shows_its_labels_and_their_explanation(service, served, page, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    expected = service.label(tmp_path / "a.png", "<img src=x> red")
    url, asked = served(service), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.locator("#served", has_text="toy: join; 2 models").wait_for()
    page.fill("#caption", "<img src=x> red")
    drop(page, png())
    page.locator("#labels li").first.wait_for()
    assert page.locator("#labels li").all_inner_texts() == expected["labels"]
    assert page.locator("#rows .name").all_inner_texts() == [row["label"] for row in expected["all"]]
    page.locator("#words span").first.wait_for()
    assert [text.split("\n")[0] for text in page.locator("#words > span").all_inner_texts()] == [
        "<img",
        "src=x>",
        "red",
    ]
    assert page.locator("#word-effects bdi").inner_text() == expected["labels"][0]
    page.locator("#heat-note").wait_for()
    last = page.locator("#rows button").last
    last.focus()
    page.keyboard.press("Enter")
    page.locator("#word-effects bdi", has_text=expected["all"][-1]["label"]).wait_for()
    assert last.get_attribute("aria-pressed") == "true"
    page.locator('#results[aria-busy="false"]').wait_for()
    assert page.locator("#error").is_hidden()
    assert all(one.startswith((url, "blob:", "data:")) for one in asked)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_file_that_is_no_image_shows_an_error_and_the_next_one_is_labelled(service, served, browser):
    page = browser.new_page()
    try:
        page.goto(served(service))
        page.locator("#served", has_text="toy").wait_for()
        drop(page, b"no image")
        page.locator("#error", has_text="unreadable: 8 bytes").wait_for()
        assert page.locator("#output").is_hidden()
        drop(page, png())
        page.locator("#labels li").first.wait_for()
        assert page.locator("#error").is_hidden()
        page.locator("#hint", has_text="predicted by join from the image only. The caption term is then").wait_for()
    finally:
        page.close()


def test_the_page_has_the_palette_of_the_report(client):
    from tandem.artifacts.vocabulary import palette_css

    answer = client.get("/palette.css")
    assert answer.text == palette_css() and answer.headers["content-type"].startswith("text/css")
    assert 'href="palette.css"' in client.get("/").text


DROPPED_MANY = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, data] of files) {
    transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name));
  }
  return transfer;
}"""


def drop_many(page, files: dict[str, bytes]) -> None:
    listed = [[name, base64.b64encode(data).decode()] for name, data in files.items()]
    page.dispatch_event("#drop", "drop", {"dataTransfer": page.evaluate_handle(DROPPED_MANY, listed)})


def saved_csv(page) -> list[str]:
    with page.expect_download() as download:
        page.click("#save")
    return Path(download.value.path()).read_text().splitlines()


def test_many_photos_are_labelled_in_a_table_corrected_and_saved_in_the_form_of_the_submission(
    service, served, page, accessible, tmp_path
):
    url = served(service)
    page.goto(url)
    page.locator("#served", has_text="toy").wait_for()
    captions = b"image,caption\na.png,a red thing\nb.png,a blue thing\n"
    drop_many(page, {"b.png": png(photo(False)), "a.png": png(), "c.png": b"no image", "list.csv": captions})
    page.locator("#progress-text", has_text="2 of 3 photos labelled").wait_for()
    page.locator("#message", has_text="list.csv: captions of 2 of 3 photos").wait_for()
    page.locator("#stop").wait_for(state="hidden")
    assert page.locator("#table .open").all_inner_texts() == ["a.png", "b.png", "c.png"]
    assert [box.input_value() for box in page.locator(".caption-box").all()] == ["a red thing", "a blue thing", ""]
    rows = page.locator("#table tbody tr")
    assert rows.nth(0).locator("li").all_inner_texts() == ["red"]
    assert rows.nth(1).locator("li").all_inner_texts() == ["blue <b>&"]
    assert "unreadable: 8 bytes" in rows.nth(2).inner_text()
    page.locator("#problems summary", has_text="1 photo could not be labelled").wait_for()

    rows.nth(0).locator(".chip").focus()  # by keyboard: out of the set, and another one into it
    page.keyboard.press("Enter")
    assert rows.nth(0).locator(".chip").get_attribute("aria-pressed") == "false"
    box = rows.nth(0).locator(".chips input")
    box.fill("green")
    box.press("Enter")
    assert "“green” is not a label; expected red" in box.evaluate("box => box.validationMessage")
    box.fill("blu")
    box.press("Enter")
    assert rows.nth(0).locator(".chip").all_inner_texts() == ["red", "blue <b>&"]
    page.locator("#progress-text", has_text="2 of 3 photos labelled, 1 corrected").wait_for()
    assert page.evaluate("() => !dispatchEvent(new Event('beforeunload', {cancelable: true}))")
    assert saved_csv(page) == ["id,red,blue <b>&", "a.png,0,1", "b.png,0,1"]
    page.locator("#message", has_text="2 photos. Left out: 1 photo without labels").wait_for()
    assert page.evaluate("() => dispatchEvent(new Event('beforeunload', {cancelable: true}))")

    assert accessible(page) == []
    for shown, names in {
        "errors": ["c.png"],
        "corrected": ["a.png"],
        "label:red": [],
        "all": ["a.png", "b.png", "c.png"],
    }.items():
        page.select_option("#show", shown)
        assert page.locator("#table .open").all_inner_texts() == names
    page.select_option("#order", "sure")
    sure = [float(text) for text in page.locator("td.sure").all_inner_texts() if text]
    assert sure == sorted(sure) and page.locator("#table .open").last.inner_text() == "c.png"

    page.locator("#table .open", has_text="a.png").press("Enter")  # one photo, with its explanation
    assert page.locator("#caption").input_value() == "a red thing"
    page.locator("#words span").first.wait_for()
    page.locator("#corrected", has_text="Corrected by hand").wait_for()
    page.locator('#results[aria-busy="false"]').wait_for()
    assert accessible(page) == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "a.png"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert rows.nth(0).locator(".sure").is_visible() and rows.nth(0).locator(".caption-box").is_visible()
    assert accessible(page) == []


def test_a_caption_stays_with_its_photo_and_a_bad_file_leaves_no_broken_picture(service, served, browser):
    page = browser.new_page()
    try:
        page.goto(served(service))
        page.locator("#served", has_text="toy").wait_for()
        page.fill("#caption", "a red thing")
        drop_many(page, {"a.png": png()})
        page.locator("#labels li").first.wait_for()
        assert page.locator("#caption").input_value() == "a red thing"
        assert page.locator("#steps").is_hidden()
        page.locator("#labels .chip").first.click()  # a corrected photo can be saved, alone too
        page.click("#back")
        assert saved_csv(page)[1].startswith("a.png,0,")
        drop_many(page, {"b.png": png(photo(False))})
        page.locator("#name", has_text="b.png").wait_for()
        assert page.locator("#caption").input_value() == ""
        drop_many(page, {"c.png": b"no image"})
        page.locator("#error", has_text="unreadable: 8 bytes").wait_for()
        assert page.locator("#image").is_hidden() and page.locator("#submit").is_disabled()
        page.click("#back")
        assert [box.input_value() for box in page.locator(".caption-box").all()] == ["a red thing", "", ""]
    finally:
        page.close()


class Held(LabelService):
    """Holds the first batch back until `gate` is set, and keeps the captions of all."""

    def label_many(self, photos, captions):
        found = super().label_many(photos, captions)
        self.asked = [*getattr(self, "asked", []), *captions]
        self.gate.wait(10)
        return found


def test_a_caption_that_changes_while_its_photo_is_labelled_is_not_lost(service, served, page):
    held = Held(service.labeler)
    held.gate = threading.Event()
    try:
        page.goto(served(held))
        page.locator("#served", has_text="toy").wait_for()
        with page.expect_request("**/label"):
            drop_many(page, {"a.png": png(), "b.png": png(photo(False))})
        page.locator(".caption-box").nth(0).fill("a blue thing")
        page.locator(".caption-box").nth(0).press("Tab")
        drop_many(page, {"list.csv": b"image,caption\nb.png,a red thing\n"})
        page.locator("#message", has_text="list.csv: captions of 1 of 2 photos").wait_for()
    finally:
        held.gate.set()
    page.locator("#stop").wait_for(state="hidden")
    assert held.asked == ["", "", "a blue thing", "a red thing"]
    captions = [box.input_value() for box in page.locator(".caption-box").all()]
    assert captions == ["a blue thing", "a red thing"]


def test_a_folder_with_folders_is_read_whole_and_photos_of_one_name_are_told_apart(service, served, page, tmp_path):
    for name, red in {"x/1.png": True, "x/y/1.png": False, "x/.hidden.png": True, "x/notes.md": True}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(photo(red)))
    page.goto(served(service))
    page.locator("#served", has_text="toy").wait_for()
    page.set_input_files("#folder", tmp_path / "x")
    page.locator("#progress-text", has_text="2 of 2 photos labelled").wait_for()
    assert page.locator("#table .open").all_inner_texts() == ["x/1.png", "x/y/1.png"]
    page.locator("#message", has_text="1 file not shown").wait_for()
    assert [line.split(",")[0] for line in saved_csv(page)] == ["id", "x/1.png", "x/y/1.png"]


@pytest.mark.slow
def test_a_table_of_5000_photos_stays_responsive(service, served, page):
    """No task of the page takes 200 ms; the labels come from a server that answers at once."""
    photos = {f"{i:04}.png": png(Image.new("RGB", (8, 8), (i % 256, i // 256, 0))) for i in range(5000)}
    row = {
        "label": "red",
        "proba": 0.9,
        "terms": dict.fromkeys(("image", "caption", "fusion", "joint", "context", "base"), 0),
    }

    class Instant(LabelService):
        def label_many(self, photos, captions):
            return [{"labels": ["red"], "all": [row], "served": "", "heat": False, "words": False}] * len(captions)

    page.goto(served(Instant(service.labeler)))
    page.locator("#served", has_text="toy").wait_for()
    page.evaluate(
        "() => { window.longest = 0; new PerformanceObserver((list) => { for (const one of list.getEntries()) "
        "window.longest = Math.max(window.longest, one.duration); }).observe({type: 'longtask'}); }"
    )
    drop_many(page, photos)
    page.evaluate("window.longest = 0")
    page.locator("#progress-text", has_text="5,000 of 5,000 photos labelled").wait_for(timeout=120_000)
    assert page.locator("#table tbody tr").count() == 50
    page.fill("#find", "4321")
    assert page.locator("#table .open").all_inner_texts() == ["4321.png"]
    page.fill("#find", "")
    assert page.evaluate("window.longest") < 200
    assert len(saved_csv(page)) == 5001


# ---- POST /csv and /captions


def test_labels_are_written_in_the_form_of_the_submission_and_file_names_become_ids(client):
    rows = [{"id": "0.png", "labels": ["red"]}, {"id": "new.png", "labels": []}]
    answer = client.post("/csv", json={"rows": rows})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text == "id,red,blue <b>&\n0.png,1,0\nnew.png,0,0\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "Expecting property name"),
        (b"[]", 'expected {"rows"'),
        (b'{"rows": []}', "rows: expected a list of objects"),
        (b'{"rows": [{"id": "a"}]}', "row 1: labels is None; expected a list"),
        (b'{"rows": [{"id": "a", "labels": ["green"]}]}', "row 1: label 'green': expected one of red, blue"),
        (b'{"rows": [{"labels": []}]}', "row 1: expected an object with a text `id`"),
        (b'{"rows": [{"id": "a", "labels": []}, {"id": "a", "labels": []}]}', "row 2: the id 'a' is that of row 1 too"),
        (b'{"rows": [{"id": "a", "labels": [], "proba": {"red": 2}}]}', "row 1: proba: expected a number for each"),
    ],
)
def test_rows_that_cannot_be_written_are_rejected_with_the_reason(client, content, reason):
    answer = client.post("/csv", content=content)
    assert answer.status_code == 422 and reason in answer.json()["error"]


def test_captions_of_a_table_find_their_photos_or_the_reason_why_not(client):
    def ask(table: bytes):
        files = {"table": ("t.csv", table), "names": ("names.json", b'["x/1.png", "x/2.png"]')}
        return client.post("/captions", files=files)

    assert ask(b"image,caption\n2,two words\n").json() == {"captions": ["", "two words"]}
    answer = ask(b"image,caption\n7,two words\n")
    assert answer.status_code == 422 and answer.json()["error"].startswith("column 'image' (such as '7') names none")


# ---- script in texts

SCRIPTS = [
    "<img src=x onerror=window.hit=1>",
    "</script><script>window.hit=1</script>",
    "\"'><svg onload=window.hit=1>",
    "{{ 7*7 }}{% raw %}",
    "a\u2028window.hit=1//",
    "javascript:window.hit=1",
    "\u202egpj.a",
]


class Hostile(LabelService):
    """Its labels and other texts are SCRIPTS."""

    @property
    def about(self):
        form = dict.fromkeys(("form", "ids"), SCRIPTS[0]) | {"values": "labels"}
        texts = dict.fromkeys(("competition", "served", "why", "note", "without_caption"), SCRIPTS[1])
        return super().about | texts | {"labels": SCRIPTS, "csv": form}

    def label_many(self, photos, captions):
        def told(found):
            rows = [found["all"][0] | {"label": text, "reason": text} for text in SCRIPTS]
            return found | {"labels": SCRIPTS, "all": rows, "served": SCRIPTS[0], "training": {"note": SCRIPTS[0]}}

        return [
            told(found) if "error" not in found else {"error": SCRIPTS[0]}
            for found in super().label_many(photos, captions)
        ]

    def explain(self, photo, caption, label, with_heat=True):
        words = [{"text": text, "effect": 1 - i} for i, text in enumerate(SCRIPTS)]
        return super().explain(photo, caption, self.labeler.names[0], with_heat) | {
            "words": words,
            "heat_model": SCRIPTS[0],
        }


def test_script_in_names_labels_captions_and_errors_is_text_and_no_request_leaves_the_page(service, served, browser):
    url = served(Hostile(service.labeler))
    page = browser.new_page()
    asked, ran = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: ran.append(dialog.message))
    page.on("console", lambda message: ran.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: ran.append(str(error)))
    try:
        page.goto(url)
        page.locator("#served", has_text=SCRIPTS[1]).wait_for()
        files = {f"{text.replace('/', '')}.png": png(photo(bool(i % 2))) for i, text in enumerate(SCRIPTS)}
        captions = "image,caption\n" + "".join(f'"{name}","{SCRIPTS[0]}"\n' for name in files if '"' not in name)
        drop_many(page, files | {"<img src=x onerror=window.hit=1>.csv": captions.encode(), "b.png": b"no image"})
        page.locator("#progress-text", has_text=f"{len(files)} of {len(files) + 1} photos labelled").wait_for()
        page.locator("#problems summary").click()
        assert SCRIPTS[0] in page.locator("#problems").inner_text()
        page.locator("#table .open").first.click()
        page.locator("#words span").first.wait_for()
        page.locator('#results[aria-busy="false"]').wait_for()
        shown = page.locator("body").text_content()
        assert all(text in shown for text in SCRIPTS)
        assert set(page.locator("#labels .chip").all_text_contents()) == set(SCRIPTS)
        page.locator("#labels .chip").first.click()
        page.click("#back")
        assert not page.evaluate("() => window.hit") and ran == []
        assert page.locator("body script, body svg, body img[src='x'], [onerror], [onload]").count() == 0
        assert all(one.startswith((f"{url}/", f"blob:{url}/", "data:")) for one in asked)
    finally:
        page.close()


def test_the_policy_stops_a_script_that_text_would_bring_and_a_request_to_elsewhere(service, served, browser):
    """The control of the test above: what it looks for is stopped by the browser, were the page to let it in."""
    page = browser.new_page()
    try:
        page.goto(served(service))
        page.locator("#served", has_text="toy").wait_for()
        for risky in ("document.body.innerHTML = '<img src=x onerror=window.hit=1>'", "eval('window.hit = 1')"):
            tried = f"try {{ {risky}; resolve('ran'); }} catch (error) {{ resolve(error.name); }}"
            later = f"() => new Promise((resolve) => setTimeout(() => {{ {tried} }}))"  # evaluate itself may do both
            assert page.evaluate(later) in ("TypeError", "EvalError")
        refused = "addEventListener('securitypolicyviolation', (event) => resolve(event.effectiveDirective))"
        fetched = "fetch('http://127.0.0.1:9/').catch(() => {})"
        assert page.evaluate(f"() => new Promise((resolve) => {{ {refused}; {fetched}; }})") == "connect-src"
        assert not page.evaluate("() => window.hit")
    finally:
        page.close()

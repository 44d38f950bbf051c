"""What a server of pages on this machine does with slow, broken and too many requests."""

import csv
import io
import json
import os
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import httpx2 as httpx
import pytest
import toy
from starlette.testclient import TestClient

from tandem.inference.labeler import Labeler
from tandem.web import app as app_module
from tandem.web import connection, limits, submission_rows
from tandem.web.app import make_app
from tandem.web.local_server import listen, make_server
from tandem.web.service import LabelService

HOST = "http://127.0.0.1:8000"
HEAD = (
    "POST /label HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000000\r\n"
    "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
)
PHOTO = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'


@pytest.fixture(scope="module")
def service(packed, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        made = LabelService(Labeler.load(packed))
        made.warm_up()
        yield made


@pytest.fixture
def client(service) -> TestClient:
    return TestClient(make_app(service), base_url=HOST)


@pytest.fixture
def jpeg(tmp_path) -> bytes:
    toy.draw(tmp_path / "a.jpg", blue=True, seed=0)
    return (tmp_path / "a.jpg").read_bytes()


class Held(LabelService):
    """Labels once `gate` is set, and counts."""

    def __init__(self, labeler: Labeler) -> None:
        super().__init__(labeler)
        self.gate, self.begun = threading.Event(), 0

    def label(self, photo, caption):
        self.begun += 1
        self.gate.wait(20)
        return super().label(photo, caption)


@pytest.fixture
def serve():
    """service -> (host, port) of a server that ends with the test."""
    ends = []

    def start(service: LabelService) -> tuple[str, int]:
        listening = listen(0)
        server = make_server(make_app(service))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        ends.append((server, thread, listening))
        return listening.getsockname()

    yield start
    for server, thread, listening in ends:
        server.should_exit = True
        thread.join(10)
        listening.close()


def until(holds) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def label(address: tuple[str, int], data: bytes, caption: str = "a cat"):
    return httpx.post(
        f"http://127.0.0.1:{address[1]}/label", files={"photo": data}, data={"caption": caption}, timeout=30
    )


# ---- slow


def test_a_body_that_comes_a_byte_at_a_time_ends_with_408_and_holds_up_nobody(service, serve, jpeg, monkeypatch):
    monkeypatch.setattr(limits, "GRACE", 0.5)
    address = serve(service)
    with ThreadPoolExecutor(1) as pool, socket.create_connection(address, 10) as slow:
        slow.sendall(HEAD.encode() + PHOTO)
        other, answer, begun = pool.submit(label, address, jpeg), b"", time.monotonic()
        slow.settimeout(0.05)
        while b"}" not in answer and time.monotonic() < begun + 10:  # head and body may come apart
            try:
                answer += slow.recv(4096)
            except TimeoutError:
                slow.sendall(b"x")
        assert other.result().status_code == 200
    assert answer.startswith(b"HTTP/1.1 408")  # and the rest is read, so that the answer is not lost in a reset
    assert b"too slow: " in answer and b"content-security-policy" in answer.lower()


@pytest.mark.parametrize(
    "sent", ["", "GET / HTT", "GET /about HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nx"]
)
def test_a_connection_that_is_silent_before_or_after_an_answer_is_closed(service, serve, monkeypatch, sent):
    monkeypatch.setattr(connection, "PATIENCE", 0.3)
    with socket.create_connection(serve(service), 5) as silent:
        silent.sendall(sent.encode())
        if "about" in sent:
            answer = silent.recv(10_000)
            while not answer.endswith(b"}}"):  # head and body may come apart
                answer += silent.recv(10_000)
            assert answer.startswith(b"HTTP/1.1 200")
            silent.sendall(b"x")
        start = time.monotonic()
        assert silent.recv(10_000) == b""
        assert time.monotonic() - start < 3


def test_a_body_of_more_than_a_second_is_read_where_it_comes_fast_enough(service, serve, jpeg, monkeypatch):
    monkeypatch.setattr(limits, "GRACE", 0.3)
    monkeypatch.setattr(limits, "SLOWEST", 1000)
    body = PHOTO + jpeg + b"\r\n--b--\r\n"
    with socket.create_connection(serve(service), 5) as steady:
        steady.sendall(HEAD.replace("5000000", str(len(body))).encode())
        for start in range(0, len(body), 500):
            steady.sendall(body[start : start + 500])
            time.sleep(0.8 / (len(body) / 500))
        assert steady.recv(4096).startswith(b"HTTP/1.1 200")


# ---- many


def test_more_uploads_than_may_wait_are_told_when_to_come_again(service, serve, jpeg, monkeypatch):
    monkeypatch.setattr(app_module, "UPLOADS", 2)
    held = Held(service.labeler)
    address = serve(held)
    with ThreadPoolExecutor(3) as pool:
        sent = {pool.submit(label, address, jpeg) for _ in range(3)}
        try:
            refused = next(as_completed(sent, timeout=60))  # whichever comes last: the others are held
            answer = refused.result()
            assert answer.status_code == 503 and answer.headers["retry-after"] == "2"
            assert answer.json()["error"] == "busy: 2 requests are waiting already; send this one again in 2 seconds"
            assert label(address, jpeg).status_code == 503
            assert httpx.get(f"http://127.0.0.1:{address[1]}/about").status_code == 200
        finally:
            held.gate.set()
        assert [one.result().status_code for one in sent - {refused}] == [200, 200]
    assert label(address, jpeg).status_code == 200


def test_the_page_says_that_the_server_is_busy_and_sends_the_photo_again(service, serve, jpeg, monkeypatch, browser):
    monkeypatch.setattr(app_module, "UPLOADS", 1)
    monkeypatch.setattr(limits, "RETRY", 1)
    held = Held(service.labeler)
    address = serve(held)
    page = browser.new_page()  # the browser writes each 503 to its console, which `page` does not allow
    page.goto(f"http://127.0.0.1:{address[1]}")
    page.locator("#served", has_text="toy").wait_for()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(label, address, jpeg)
        try:
            until(lambda: held.begun)
            page.set_input_files("#photo", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": jpeg})
            page.locator("#message", has_text="The server is busy with other requests").wait_for()
        finally:
            held.gate.set()
        assert other.result().status_code == 200
    page.locator("#labels li").first.wait_for()
    page.locator("#message").wait_for(state="hidden")
    page.close()


def test_what_a_client_waited_for_that_has_gone_away_is_not_computed(service, serve, jpeg):
    held = Held(service.labeler)
    address = serve(held)
    body = PHOTO + jpeg + b"\r\n--b--\r\n"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(label, address, jpeg)
        until(lambda: held.begun)
        for _ in range(3):
            with socket.create_connection(address, 5) as gone:
                gone.sendall(HEAD.replace("5000000", str(len(body))).encode() + body)
                time.sleep(0.1)
        time.sleep(0.1)
        held.gate.set()
        assert first.result().status_code == 200
    assert label(address, jpeg).status_code == 200
    assert held.begun == 2


def test_a_client_that_goes_away_in_the_middle_leaves_no_file(service, serve, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    address = serve(service)
    httpx.get(f"http://127.0.0.1:{address[1]}/about", headers={"connection": "close"})
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with socket.create_connection(address, 5) as gone:
            gone.sendall(HEAD.encode() + PHOTO + bytes(2_000_000))  # more than is kept in memory
    until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert list(tmp_path.iterdir()) == [] and "Traceback" not in caplog.text


# ---- broken

BROKEN = {
    "nested too deeply": b"[" * 100_000,
    "Exceeds the limit (4300 digits)": b'{"rows": %s}' % (b"1" * 5000),
    "can't decode byte": b"\xff\xfe\x00",
}


@pytest.mark.parametrize(("reason", "body"), BROKEN.items(), ids=list(BROKEN))
def test_json_that_cannot_be_read_is_an_error_of_the_request(client, reason, body):
    names = {"table": ("t.csv", b"image,caption\n1,a\n"), "names": ("n", body)}
    for answer in (client.post("/csv", content=body), client.post("/captions", files=names)):
        assert answer.status_code == 422
    assert reason in client.post("/csv", content=body).json()["error"]


@pytest.mark.parametrize(
    "table", [b"[" * 100_000, b'{"images": [], "annotations": 7}', b'{"images": {}, "annotations": []}']
)
def test_a_json_file_that_is_no_table_of_captions_is_an_error_of_the_request(client, table):
    files = {"table": ("t.json", table), "names": ("n", b'["1.jpg"]')}
    answer = client.post("/captions", files=files)
    assert answer.status_code == 422 and "/tmp" not in answer.json()["error"]


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "", "multipart/form-data; boundary=b; charset=unicode_escape", "multipart/form-data; charset=utf-7"],
)
def test_a_body_that_is_no_form_in_utf_8_is_refused(client, kind):
    body = PHOTO + b"x\r\n--b\r\nContent-Disposition: form-data; name=caption\r\n\r\n\\ud800\r\n--b--\r\n"
    answer = client.post("/label", content=body, headers={"content-type": kind})
    assert answer.status_code == 415 and "expected " in answer.json()["error"]


def test_a_form_of_ten_thousand_fields_is_refused_at_once(client):
    field = b'--b\r\nContent-Disposition: form-data; name="caption"\r\n\r\nx\r\n'
    kind = {"content-type": "multipart/form-data; boundary=b"}
    start = time.monotonic()
    for body in (field * 10_000, field.replace(b'"caption"', b'"caption"\r\nX: y' + b"\r\nX: y" * 10_000)):
        assert client.post("/label", content=body, headers=kind).status_code == 400
    assert time.monotonic() - start < 2


def test_every_error_is_json_and_has_the_security_headers(client, service, monkeypatch):
    def broken(rows):
        raise KeyError("rows")

    answers = {
        400: client.get("/about", headers={"host": "evil.example"}),
        403: client.get("/about", headers={"origin": "http://evil.example"}),
        404: client.get("/none"),
        405: client.put("/about"),
        413: client.post("/label", content=b"x", headers={"content-length": str(10**12)}),
        416: client.get("/page.js", headers={"range": "bytes=99999999-"}),
    }
    monkeypatch.setattr(service.rows, "to_csv", broken)
    faulty = TestClient(make_app(service), base_url=HOST, raise_server_exceptions=False)
    answers[500] = faulty.post("/csv", json={"rows": []})
    for status, answer in answers.items():
        assert (answer.status_code, set(answer.json())) == (status, {"error"})
        assert answer.json()["error"] and answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answers[405].headers["allow"] == "GET, HEAD"


def test_tables_have_a_limit_of_bytes_and_rows_one_of_cells(client, monkeypatch):
    much = {"content-length": str(app_module.TABLE + 1)}
    assert client.post("/csv", content=b"x", headers=much).status_code == 413
    monkeypatch.setattr(submission_rows, "MAX_CELLS", 4)
    rows = [{"id": str(i), "labels": []} for i in range(3)]
    answer = client.post("/csv", json={"rows": rows})
    assert answer.json() == {"error": "rows: 3 of 2 labels; expected at most 2 in one request"}


# ---- names, and pages of other sites


def test_names_with_line_ends_and_half_characters_stay_one_cell_each(client):
    names = ["a\nb,", "c\rd", 'e"f', "=1+1", "\ud800"]
    rows = [{"id": name, "labels": ["cat"]} for name in names]
    answer = client.post("/csv", content=json.dumps({"rows": rows}))
    read = list(csv.reader(io.StringIO(answer.content.decode(), newline="")))
    assert read == [["id", "labels"], *([name, "cat"] for name in [*names[:4], "\\ud800"])]


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "..\\..\\x", "x" * 3000, "\0", "%00", "=cmd", "a\u202egpj"])
def test_the_name_of_a_file_changes_neither_its_labels_nor_where_it_is_kept(client, jpeg, name, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = client.post("/label", files={"photo": ("a.jpg", jpeg)}).json()
    assert client.post("/label", files={"photo": (name, jpeg)}).json() == before
    files = {"table": (f"{name}.csv", b"image,caption\n1,a cat\n"), "names": ("n", b'["../../1.jpg"]')}
    assert client.post("/captions", files=files).json() == {"captions": ["a cat"]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


@pytest.mark.parametrize("path", ["/about", "/", "/shared/dom.js", "/label", "/none"])
def test_pages_of_other_sites_read_nothing_but_may_link_to_the_page(client, path):
    other = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get(path, headers=other).status_code == 403
    assert client.get(path, headers={"origin": "http://evil.example"}).status_code == 403
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get(path, headers=link).status_code == (404 if path in ("/label", "/none") else 200)
    assert client.post("/label", headers=link).status_code == 403

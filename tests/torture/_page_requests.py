"""Hostile requests to the page of `make serve`, as bytes or as what a client does, and the answers that are right."""

import io
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from PIL import Image

MOST = 64 * 2**20  # bytes of a request, as the page says
SECONDS = 240  # in which every request has its answer


@dataclass(frozen=True)
class Hostile:
    """What is sent, piece by piece, and the statuses that may answer it; 0: the connection is closed without a word."""

    name: str
    pieces: Callable[[random.Random], Iterator[bytes]]
    right: frozenset[int]
    pause: float = 0  # seconds between two pieces
    leaves: bool = False  # the client goes away instead of reading the answer


@dataclass(frozen=True)
class Answer:
    status: int  # 0 where the connection was closed
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def head(method: str = "POST", path: str = "/label", **headers: str) -> bytes:
    """The head of a request; `content_type` is the header Content-Type."""
    lines = {"host": "127.0.0.1"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return "\r\n".join([f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in lines.items()), "", ""]).encode(
        "latin-1"
    )


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """The body of a form: (field, name of a file or None, content)."""
    out = []
    for name, file, content in parts:
        named = "" if file is None else f'; filename="{file}"'
        out.append(f'--b\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + content + b"\r\n")
    return b"".join(out) + b"--b--\r\n"


FORM = "multipart/form-data; boundary=b"


def whole(body: bytes, path: str = "/label", content_type: str = FORM, **headers: str) -> bytes:
    return head(path=path, content_length=str(len(body)), content_type=content_type, **headers) + body


def image(kind: str, size: tuple[int, int] = (40, 40), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind)
    return file.getvalue()


def once(request: bytes) -> Callable[[random.Random], Iterator[bytes]]:
    return lambda rng: iter([request])


def _damaged(rng: random.Random) -> Iterator[bytes]:
    data = bytearray(image(rng.choice(["JPEG", "PNG", "GIF", "BMP", "WEBP"])))
    yield whole(form(("photo", "a", bytes(data[: rng.randrange(12)]) + rng.randbytes(rng.randrange(2000)))))


def _byte_by_byte(begin: bytes) -> Callable[[random.Random], Iterator[bytes]]:
    def pieces(rng: random.Random) -> Iterator[bytes]:
        yield begin
        while True:
            yield b"x"

    return pieces


def _huge(rng: random.Random) -> Iterator[bytes]:
    """In chunks of an unknown number."""
    begin = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    yield head(transfer_encoding="chunked", content_type=FORM) + b"%x\r\n%s" % (len(begin), begin)
    for _ in range(MOST // 2**20 + 8):
        yield b"\r\n100000\r\n" + bytes(2**20)


def _leaving(rng: random.Random) -> Iterator[bytes]:
    body = form(("photo", "a", image("JPEG") + bytes(rng.choice([0, 3_000_000]))))
    yield whole(body)[: rng.choice([20, 200, -5, 10**9])]


def _path(rng: random.Random) -> Iterator[bytes]:
    step = rng.choice(
        ["..", "%2e%2e", "..%2f..", ".%2e", "..%5c..", "%00", "shared/../..", "a" * 5000, "%ff", "%c0%ae"]
    )
    yield head("GET", f"/{step}/{rng.choice(['app.py', 'etc/passwd', 'service.py', '..%2fapp.py'])}")


def _line(rng: random.Random) -> Iterator[bytes]:
    yield rng.choice(
        [
            rng.randbytes(200) + b"\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"\r\n" * 9 + b"GET\r\n\r\n",
            b"\x16\x03\x01" * 99,
        ]
    )
    yield b"\r\n\r\n"


PHOTO, JSON = form(("photo", "a", image("JPEG"))), "application/json"
TABLE, NAMES = ("table", "t.csv", b"image,caption\n1,a\n"), ("names", "n", b'["1.jpg"]')
DEEP = b"[" * 200_000


def hostile(name: str, sent: bytes | Callable[[random.Random], Iterator[bytes]], *right: int, **how: float) -> Hostile:
    return Hostile(name, once(sent) if isinstance(sent, bytes) else sent, frozenset(right), **how)


def photo_and(*fields: tuple[str, bytes]) -> bytes:
    return form(("photo", "a", image("PNG")), *((name, None, text) for name, text in fields))


HOSTILE = [
    hostile("another host", whole(PHOTO, host="evil.example"), 400),
    hostile("another origin", whole(PHOTO, origin="http://evil.example"), 403),
    hostile("a page of another site", head("GET", "/about", sec_fetch_site="cross-site"), 403),
    hostile("two lengths", whole(PHOTO, **{"Content-length": "3"}), 400),
    hostile("a length that is none", head(content_length="-1", content_type=FORM), 400),
    hostile("a huge length", head(content_length="9" * 15, content_type=FORM), 413),
    hostile("a huge body", _huge, 413, 0),
    hostile("a head of a megabyte", head("GET", "/", x="y" * 2**20), 400, 0),
    hostile("no HTTP", _line, 400, 0),
    hostile("a path out of the folder", _path, 404, 400),
    hostile("another method", lambda rng: iter([head(rng.choice(["PUT", "TRACE", "DELETE", "X"]))]), 405),
    hostile("no boundary", whole(PHOTO, content_type="multipart/form-data"), 400),
    hostile("another boundary", whole(PHOTO, content_type=f"{FORM}c"), 400),
    hostile("another charset", whole(PHOTO, content_type=f"{FORM}; charset=unicode_escape"), 415),
    hostile("no form", lambda rng: iter([whole(rng.randbytes(500), content_type="text/plain")]), 415),
    hostile("half a form", whole(PHOTO[:-40]), 400, 422),
    hostile("10,000 fields", whole(form(*[("caption", None, b"x")] * 10_000)), 400),
    hostile("10,000 lines of a part", whole(PHOTO.replace(b"\r\n\r\n", b"\r\nX: y" * 10_000 + b"\r\n\r\n", 1)), 400),
    hostile("17 photos", whole(form(*[("photo", "a", image("PNG"))] * 17)), 400),
    hostile("no photo", whole(form(("caption", None, b"a cat"))), 422),
    hostile("a long caption", whole(photo_and(("caption", b"x" * 3000))), 422),
    hostile("a broken image", _damaged, 422),
    hostile("a bomb", whole(form(("photo", "a", image("PNG", (20_000, 20_000), "1")))), 422),
    hostile("an unknown label", whole(photo_and(("label", b"{{7*7}}")), "/explain"), 422),
    hostile("deep JSON", whole(DEEP, "/csv", JSON), 422),
    hostile("half a character", whole(b'{"rows": [{"id": "a", "labels": ["\\ud800"]}]}', "/csv", JSON), 422),
    hostile("deep names", whole(form(TABLE, ("names", "n", DEEP)), "/captions"), 422),
    hostile("a deep table", whole(form(("table", "t.json", DEEP), NAMES), "/captions"), 422),
    hostile("a binary table", whole(form(("table", "t.csv", bytes(999)), NAMES), "/captions"), 422),
    hostile("a slow body", _byte_by_byte(head(content_length="99999", content_type=FORM) + PHOTO[:-9]), 408, pause=0.2),
    hostile("a slow head", _byte_by_byte(b"GET / HTTP/1.1\r\nX: "), 0, pause=0.2),
    hostile("a client that leaves", _leaving, 0, leaves=True),
]


def send(port: int, what: Hostile, rng: random.Random) -> Answer:
    """Raises TimeoutError where no answer comes in SECONDS."""
    end = time.monotonic() + SECONDS
    with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
        try:
            for piece in what.pieces(rng):
                client.sendall(piece)
                if what.pause and (early := _readable(client, what.pause)) is not None:
                    return parsed(early + rest(client, end))
                if time.monotonic() > end:
                    raise TimeoutError
        except (BrokenPipeError, ConnectionResetError):
            pass  # the answer may have come before the end of the request
        if what.leaves:
            time.sleep(rng.choice([0, 0.05]))
            return Answer(0)
        try:
            return parsed(rest(client, end))
        except ConnectionResetError:
            return Answer(0)


def _readable(client: socket.socket, seconds: float) -> bytes | None:
    client.settimeout(seconds)
    try:
        return client.recv(65536)
    except TimeoutError:
        return None
    finally:
        client.settimeout(SECONDS)


def rest(client: socket.socket, end: float) -> bytes:
    """What comes until the answer is complete or the connection is closed."""
    found = b""
    while not (answer := parsed(found)).status or len(answer.body) < int(answer.headers.get("content-length", 10**9)):
        client.settimeout(max(0.01, end - time.monotonic()))
        piece = client.recv(65536)
        if not piece:
            break
        found += piece
    return found


def parsed(text: bytes) -> Answer:
    top, _, body = text.partition(b"\r\n\r\n")
    line, *lines = top.decode("latin-1").split("\r\n")
    if not line.startswith("HTTP/1.1 "):
        return Answer(0)
    headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
    return Answer(int(line.split()[1]), body[: int(headers.get("content-length", len(body)))], headers)

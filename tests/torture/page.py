"""`make serve` under good, hostile and slow requests, hundreds at once: each good photo gets the labels that it gets
without the page, each hostile request a plain refusal; memory has a limit, no file and no traceback is left."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier

import numpy as np
import toy

from tandem.inference.labeler import Labeler
from tandem.runtime.leftovers import OWNER, PREFIX
from torture._page_requests import HOSTILE, SECONDS, Answer, Hostile, form, head, once, send, whole
from torture.campaign import Outcome, Task

QUICK, LONG = 48, 512  # a third of the quick ones are good uploads, and half of the others
AT_ONCE = 400  # requests in flight: 200 uploads and 200 others
MEMORY = 1500  # MB of the server, at most
MEMBERS = ["looks", "words"]
CAPTIONS = [b"a cat", b"a dog", b"", b"<img src=x onerror=alert(1)> a cat"]
NAMES = ["a.jpg", "../../a.jpg", "/etc/passwd", "..\\a", "=cmd", "a%0d%0a.jpg", "x" * 3000, "\u202egpj.a"]
SRC = Path(__file__).parents[2] / "src"
SERVE = """
import sys
from tandem.__main__ import main
from tandem.web import connection, limits
limits.GRACE = connection.PATIENCE = float(sys.argv[1])
sys.exit(main(["serve", "toy", "--port", "0"]))
"""

Expected = dict[tuple[int, bytes], tuple[list[str], dict[str, float]]]  # of photo and caption: labels, probabilities


@dataclass
class Upload:
    """1 to 3 photos with a caption each."""

    photos: list[int]
    captions: list[bytes]
    file: str

    def request(self, data: list[bytes]) -> bytes:
        fields = [("caption", None, one) for one in self.captions]
        return whole(form(*(("photo", self.file, data[one]) for one in self.photos), *fields))


@dataclass
class Server:
    """A running `make serve`."""

    process: subprocess.Popen
    port: int
    folder: Path  # its temporary files
    errors: Path
    turned_away: list[int] = field(default_factory=list)

    @property
    def peak(self) -> int:
        """MB of memory, at most, since it began."""
        (kilobytes,) = re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(kilobytes) // 1024

    @property
    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def run(task: Task) -> Outcome:
    quick = task.tries <= QUICK
    one_in = 3 if quick else 2  # is a good upload
    with chdir(task.folder):
        toy.make(task.folder / "toy", MEMBERS)
    outcome, beside = Outcome(), ThreadPoolExecutor(1)
    known = beside.submit(prepared, toy.Paths("toy", task.folder / "toy"))  # while the server starts
    with beside, serving(task.folder, 1.0 if quick else 15.0) as server:
        data, expected = known.result()
        outcome.faults += [f"control: {what} passed" for what in control(expected)]
        upload(server, Upload([0], [b"a cat"], "a"), data, expected)  # opens its files
        before, numbers = server.open_files, list(task.numbers())
        together = Barrier(min(AT_ONCE, len(numbers)))

        def attempt(number: int) -> tuple[str, float]:
            if number < together.parties:
                together.wait(60)
            rng, begin = np.random.default_rng([task.seed, number]), time.monotonic()
            if number % one_in:
                return refused(server, HOSTILE[(number - number // one_in - 1) % len(HOSTILE)], number, task.seed), 0.0
            n = int(rng.choice([1, 1, 1, 2, 3]))
            photos, captions = rng.integers(0, len(data), n).tolist(), [CAPTIONS[i] for i in rng.integers(0, 4, n)]
            one = Upload(photos, captions, NAMES[int(rng.integers(len(NAMES)))])
            return upload(server, one, data, expected), time.monotonic() - begin

        with ThreadPoolExecutor(together.parties) as pool:
            found = list(pool.map(attempt, numbers))
        outcome.tries = len(found)
        outcome.faults += [f"try {number}: {fault}" for number, (fault, _) in zip(numbers, found, strict=True) if fault]
        seconds = np.sort([took for _, took in found if took])
        outcome.figures = {
            "uploads": f"{len(seconds)}, {len(server.turned_away)} sent again after a 503",
            "p50": f"{np.quantile(seconds, 0.5):.2f} s",
            "p95": f"{np.quantile(seconds, 0.95):.2f} s",
            "memory": f"{server.peak} MB",
        }
        outcome.faults += [f"after all: {fault}" for fault in left(server, before, data, expected) if fault]
    outcome.faults += ended(server)
    return outcome


def prepared(paths: toy.Paths) -> tuple[list[bytes], Expected]:
    """Photos, and what the labeler says of each with each caption, without the page."""
    files, labeler = [paths.input / "data" / f"{i}.jpg" for i in range(8)], Labeler.of(paths)
    pairs = [(i, caption) for i in range(len(files)) for caption in CAPTIONS]
    found = labeler.label([files[i] for i, _ in pairs], [caption.decode() for _, caption in pairs])
    expected = {pair: (list(one.labels), one.proba or {}) for pair, one in zip(pairs, found, strict=True)}
    assert len({tuple(labels) for labels, _ in expected.values()}) > 1, "all photos have the same labels"
    return [file.read_bytes() for file in files], expected


@contextmanager
def serving(folder: Path, patience: float) -> Iterator[Server]:
    """The server of the competition in `folder`/toy; it is ended by SIGTERM while uploads come."""
    temporary, errors = folder / "tmp", folder / "errors.txt"
    temporary.mkdir()
    env = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(SRC), "PYTHONUNBUFFERED": "1"}
    env |= {"TANDEM_THREADS": "1", "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": str(folder / "torch")}
    with errors.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(patience)],
            cwd=folder / "toy",
            env=env,
            stdout=subprocess.PIPE,
            stderr=file,
        )
    try:
        printed = b""
        while not (address := re.search(rb"http://127\.0\.0\.1:(\d+)", printed)):
            line = process.stdout.readline() if process.stdout else b""
            assert line, f"the server has ended: {errors.read_text()[-2000:]}"
            printed += line
        server = Server(process, int(address[1]), temporary, errors)
        yield server
        with ThreadPoolExecutor(8) as pool:
            half = Hostile("", once(head(content_length="999999") + bytes(500_000)), frozenset(), leaves=True)
            waiting = [pool.submit(attempted, server.port, half, i) for i in range(8)]
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            for one in waiting:
                one.result()
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def attempted(port: int, what: Hostile, number: int, seed: int = 0) -> Answer | str:
    """The answer, or why there is none."""
    try:
        return send(port, what, random.Random(seed * 10_000 + number))
    except TimeoutError:
        return f"no answer in {SECONDS} s"
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def refused(server: Server, what: Hostile, number: int, seed: int) -> str:
    """Sends a hostile request; "" or what is wrong with the answer. One that is turned away is sent again."""
    end = time.monotonic() + SECONDS
    while True:
        answer = attempted(server.port, what, number, seed)
        if isinstance(answer, str):
            return f"{what.name}: {answer}"
        if answer.status != 503 or time.monotonic() > end:
            return judge_refusal(what, answer)
        server.turned_away.append(number)
        time.sleep(1)


def judge_refusal(what: Hostile, answer: Answer) -> str:
    text = answer.body.decode("utf-8", "replace")
    if answer.status not in what.right:
        return f"{what.name}: status {answer.status}, expected {sorted(what.right)}: {text[:200]}"
    if answer.status and (len(text) > 2000 or "Traceback" in text or re.search(r"/(tmp|home|usr|work)/", text)):
        return f"{what.name}: no plain message: {text[:200]}"
    if "content-security-policy" in answer.headers and not re.fullmatch(r'\{"error":".+"\}', text):
        return f"{what.name}: no message: {text[:200]}"
    return ""


def upload(server: Server, one: Upload, data: list[bytes], expected: Expected) -> str:
    """Sends photos until they are taken; "" or what is wrong with their labels."""
    end, sent = time.monotonic() + SECONDS, Hostile("upload", once(one.request(data)), frozenset({200}))
    while True:
        answer = attempted(server.port, sent, 0)
        if isinstance(answer, str):
            return f"upload: {answer}"
        if answer.status != 503 or time.monotonic() > end:
            return judge_labels(one, answer, expected)
        server.turned_away.append(0)
        time.sleep(float(answer.headers.get("retry-after", 1)))


def judge_labels(one: Upload, answer: Answer, expected: Expected) -> str:
    if answer.status != 200:
        return f"upload of {one.photos} as {one.file[:20]!r}: status {answer.status}: {answer.body[:200]!r}"
    content = json.loads(answer.body)
    results = content.get("results", [content])
    for i, (photo, caption) in enumerate(zip(one.photos, one.captions, strict=True)):
        labels, proba = expected[photo, caption]
        p = {row["label"]: row["proba"] for row in results[i]["all"]}
        if results[i]["labels"] != labels or any(abs(p[name] - proba[name]) > 1e-3 for name in proba):
            return f"photo {photo} with {caption!r}: {results[i]['labels']} {p}, expected {labels} {proba}"
    return "" if len(results) == len(one.photos) else f"{len(results)} results of {len(one.photos)} photos"


def control(expected: Expected) -> Iterator[str]:
    """What a wrong answer would be that nobody finds."""
    (photo, caption), (labels, proba) = next(iter(expected.items()))
    rows = [{"label": name, "proba": 1 - p} for name, p in proba.items()]
    wrong = Answer(200, json.dumps({"labels": labels, "all": rows}).encode())
    judges: dict[str, Callable[[], str]] = {
        "a wrong probability": lambda: judge_labels(Upload([photo], [caption], "a"), wrong, expected),
        "an internal error": lambda: judge_refusal(HOSTILE[0], Answer(500, b"")),
        "a hostile request that is let in": lambda: judge_refusal(HOSTILE[0], Answer(200, b"{}")),
        "a path": lambda: judge_refusal(HOSTILE[0], Answer(400, b"no such file: /tmp/a")),
    }
    return (what for what, judge in judges.items() if not judge())


def left(server: Server, before: int, data: list[bytes], expected: Expected) -> Iterator[str]:
    """Faults of a server that nobody asks any more: it still labels and has let all go."""
    yield upload(server, Upload([1], [b"a dog"], "a"), data, expected)
    end = time.monotonic() + 25
    while (now := (server.open_files, leftovers(server.folder))) and (now[0] > before or now[1]):
        if time.monotonic() > end:
            yield f"{now[0]} open files, {before} before; temporary files: {now[1]}"
            break
        time.sleep(0.1)
    yield f"{server.peak} MB of memory, expected at most {MEMORY}" if server.peak > MEMORY else ""


def leftovers(folder: Path) -> list[str]:
    """Temporary files but the folder that a process has as long as it runs, and the lock in it."""
    kept = [path for path in folder.iterdir() if path.name.startswith(PREFIX)]
    inside = [path.name for one in kept for path in one.iterdir() if path.name != OWNER]
    return inside + [path.name for path in folder.iterdir() if path not in kept]


def ended(server: Server) -> Iterator[str]:
    """Faults of a server that was ended while uploads came."""
    if server.process.returncode not in (0, -signal.SIGTERM):
        yield f"ended by SIGTERM: exit status {server.process.returncode}"
    if found := os.listdir(server.folder):
        yield f"ended by SIGTERM: temporary files: {found}"
    if "Traceback" in (text := server.errors.read_text()):
        yield f"traceback: {text[text.index('Traceback') :][:2000]}"

"""A small Kaggle on loopback: answers the requests of the package `kagglesdk`, and fails where a test asks it to."""

import base64
import json
import re
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

PORT = 7777  # KAGGLE_API_ENVIRONMENT=TEST sends the package there
SLUG, TOKEN = "toy-birds", "good-token"
MESSAGES = {401: "Unauthenticated", 403: "You must accept this competition's rules", 404: "Not found"}


class Stub(ThreadingHTTPServer):
    """One competition. `plan[method]` is what happens to its next requests, before they are answered as usual:

    a status (an error of Kaggle's, in JSON), "cut" (no answer), "lost" (done, but no answer), "page" (a web page),
    "no id" or "silent"; of "GET", the download, the number of bytes after which it is cut, "all" (no part of it can be
    asked for) or "too much".
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", PORT), Handler)
        self.reset()

    def reset(self) -> None:
        self.competition: dict[str, Any] = {
            "id": 1,
            "title": "Toy birds",
            "evaluationMetric": "Mean F1-Score",
            "userHasEntered": True,
            "maxDailySubmissions": 5,
            "teamCount": 0,
            "awardsPoints": True,
        }
        self.limits = {"numToday": 3, "numTotal": 3, "numAllowedNow": 2, "limitedByTotal": False}
        self.archive, self.tag = b"", '"v1"'
        self.looks = 0  # at a submission, before it is scored
        self.on_look: Callable[[], object] = int
        self.scored: dict[str, Any] = {"status": "COMPLETE", "publicScore": "0.87654"}
        self.teams: list[tuple[str, float]] = []
        self.plan: dict[str, list[Any]] = defaultdict(list)
        self.retry_after = ""
        self.calls: list[str] = []
        self.ranges: list[str] = []
        self.blobs: dict[str, bytes] = {}
        self.submissions: list[dict[str, Any]] = []
        self.released = threading.Event()
        self.datasets: dict[str, list[dict[str, Any]]] = {}  # by owner/name: the request of each version
        self.dataset_status = ["BLOBS_RECEIVED", "READY"]  # the last one stays
        self.kernels: list[dict[str, Any]] = []

    def handle_error(self, *_: Any) -> None:
        """A client that ended early is no error here."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stub

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        method = self.path.rsplit("/", 1)[-1]
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        self.server.calls.append(method)
        planned = self.server.plan[method].pop(0) if self.server.plan[method] else None
        if not self._signed_in():
            return self.refuse(401)
        if body.get("competitionName", SLUG) != SLUG:
            return self.refuse(404)
        if isinstance(planned, int):
            return self.refuse(planned)
        if planned == "silent":
            self.server.released.wait(20)
        if planned in ("cut", "silent"):
            return self.cut()
        if planned == "page":
            return self.send("<!DOCTYPE html><title>Sign in to this network</title>", kind="text/html")
        answer = getattr(self, method)(body)
        if planned == "no id":
            answer.pop("ref")
        if planned == "lost":
            return self.cut()
        return self.send(answer) if answer is not None else None

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.plan["PUT"] and self.server.plan["PUT"].pop(0) == "cut":
            return self.cut()
        assert "Authorization" not in self.headers, "the address is signed: no credentials belong there"
        self.server.blobs[self.path.rsplit("/", 1)[-1]] = content
        return self.send({})

    def do_GET(self) -> None:
        """The storage, to which a download is redirected."""
        content, given = self.server.archive, self.headers.get("Range", "")
        planned = self.server.plan["GET"].pop(0) if self.server.plan["GET"] else None
        self.server.ranges.append(given)
        same = self.headers.get("If-Range", self.server.tag) == self.server.tag
        start = int(given.removeprefix("bytes=").rstrip("-")) if given and same and planned != "all" else 0
        body = content if planned == "too much" else content[start:]
        partial = bool(start) or (planned == "too much" and bool(given))
        self.send_response(206 if partial else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.server.tag)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if isinstance(planned, int):
            self.wfile.write(body[:planned])
            return self.cut()
        self.wfile.write(body)
        return None

    def _signed_in(self) -> bool:
        given = self.headers.get("Authorization", "")
        return given in (f"Bearer {TOKEN}", "Basic " + base64.b64encode(b"me:good-key").decode())

    def cut(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()

    def refuse(self, status: int) -> None:
        self.send({"code": status, "message": MESSAGES.get(status, "Something is wrong")}, status)

    def send(self, answer: Any, status: int = 200, kind: str = "application/json") -> None:
        text = (answer if kind == "text/html" else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        if self.server.retry_after and status >= 400:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()
        self.wfile.write(text)

    def paged(self, rows: list[Any], body: dict[str, Any]) -> dict[str, Any]:
        start, size = int(body.get("pageToken", 0) or 0), body["pageSize"]
        more = {"nextPageToken": str(start + size)} if start + size < len(rows) else {}
        return {"submissions": rows[start : start + size], **more}

    def GetCompetition(self, body: Any) -> Any:
        return self.server.competition

    def GetSubmissionLimits(self, body: Any) -> Any:
        return self.server.limits

    def StartSubmissionUpload(self, body: Any) -> Any:
        token = f"t{len(self.server.calls)}-{body['contentLength']}-{body['fileName']}"
        return {"token": token, "createUrl": f"http://localhost:{PORT}/upload/{token}"}

    def StartBlobUpload(self, body: Any) -> Any:
        return self.StartSubmissionUpload(body | {"fileName": body["name"]})

    def GetDatasetStatus(self, body: Any) -> Any:
        if f"{body['ownerSlug']}/{body['datasetSlug']}" not in self.server.datasets:
            return self.send({"code": 403, "message": "Permission 'datasets.get' was denied"}, 403)
        there = self.server.dataset_status
        return {"status": there.pop(0) if len(there) > 1 else there[0]}

    def CreateDataset(self, body: Any) -> Any:
        return self._version(f"{body['ownerSlug']}/{body['slug']}", body, new=True)

    def CreateDatasetVersion(self, body: Any) -> Any:
        return self._version(f"{body['ownerSlug']}/{body['datasetSlug']}", body["body"], new=False)

    def _version(self, name: str, body: Any, new: bool) -> Any:
        if new is (name in self.server.datasets):
            return {"status": "error", "error": "The requested title is already in use by a dataset"}
        for file in body["files"]:
            assert len(self.server.blobs[file["token"]]) == int(file["token"].split("-")[1])
        self.server.datasets.setdefault(name, []).append(body)
        return {"status": "ok", "ref": name}

    def SaveKernel(self, body: Any) -> Any:
        wrong = [name for name in body["competitionDataSources"] if name != SLUG]
        missing = [name for name in body["datasetDataSources"] if name not in self.server.datasets]
        if not wrong and not missing:
            self.server.kernels.append(body)
        return {"url": f"https://www.kaggle.com/code/{body['slug']}", "versionNumber": len(self.server.kernels),
                "invalidCompetitionSources": wrong, "invalidDatasetSources": missing}  # fmt: skip

    def CreateSubmission(self, body: Any) -> Any:
        limits, token = self.server.limits, body["blobFileTokens"]
        if limits["numAllowedNow"] < 1 and limits["numTotal"]:
            return self.send({"code": 400, "message": "daily limit reached"}, 400)
        length, name = re.fullmatch(r"t\d+-(\d+)-(.+)", token).groups()  # type: ignore[union-attr]
        assert len(self.server.blobs[token]) == int(length)
        made = {
            "ref": 1000 + len(self.server.submissions),
            "date": "2026-11-27T18:03:21.123Z",
            "fileName": name,
            "description": body.get("submissionDescription", ""),
            "teamName": "us",
        }
        self.server.submissions.insert(0, made)
        self.server.limits = {**limits, "numToday": limits["numToday"] + 1, "numTotal": limits["numTotal"] + 1,
                              "numAllowedNow": limits["numAllowedNow"] - 1}  # fmt: skip
        return {"message": "Successfully submitted", "ref": made["ref"]}

    def GetSubmission(self, body: Any) -> Any:
        self.server.looks -= 1
        self.server.on_look()
        (made,) = (one for one in self.server.submissions if one["ref"] == body["ref"])
        if self.server.looks < 0:
            made.update(self.server.scored)
        return made

    def ListSubmissions(self, body: Any) -> Any:
        return self.paged(self.server.submissions, body)

    def GetLeaderboard(self, body: Any) -> Any:
        rows = [
            {"teamId": i, "teamName": name, "score": str(score)} for i, (name, score) in enumerate(self.server.teams)
        ]
        return self.paged(rows, body)

    def DownloadDataFiles(self, body: Any) -> None:
        self.send_response(302)
        self.send_header("Location", f"http://localhost:{PORT}/storage/archive.zip?signature=x")
        self.send_header("Content-Length", "0")
        self.end_headers()


def signed_in(patch: pytest.MonkeyPatch, home: Path) -> None:
    """The client talks to the stub, with no other credentials than its token."""
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        patch.delenv(name, raising=False)
    patch.setenv("HOME", str(home))
    patch.setenv("NO_PROXY", "localhost")
    patch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    patch.setenv("KAGGLE_API_TOKEN", TOKEN)


@contextmanager
def serving() -> Iterator[Stub]:
    """Holds a lock of the machine meanwhile, as there is one such port."""
    with FileLock(Path(tempfile.gettempdir()) / f"kaggle-stub-{PORT}.lock"), Stub() as stub:
        thread = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield stub
        stub.released.set()
        stub.shutdown()
        thread.join()

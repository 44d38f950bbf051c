"""Downloads a competition's files as one zip; a download that was cut goes on where it stopped."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.kaggle_client.client import Kaggle
from tandem.runtime.progress import progress

MB = 1_000_000
CHUNK = 1 << 14  # bytes; of a part that is cut, nothing is kept


def download(kaggle: Kaggle, target: Path) -> Path:
    """All files of the competition, in `target`; its size is that which the server names."""
    retries = kaggle.retries
    while True:
        arrived = [retries.clock()]  # when the last bytes came: a slow download is no failed try
        try:
            _try(kaggle, target, arrived)
            return target
        except requests.RequestException as error:
            with kaggle.explained():
                retries.wait_after(error, retries.clock() - arrived[0])


def discard(target: Path) -> None:
    """Removes a download, also one that was cut."""
    for file in (target, _partial(target), _record(target)):
        file.unlink(missing_ok=True)


def _partial(target: Path) -> Path:
    return target.with_suffix(".partial")


def _record(target: Path) -> Path:
    """Which file of the server's the local one is: its size and tag."""
    return target.with_suffix(".json")


def _try(kaggle: Kaggle, target: Path, arrived: list[float]) -> None:
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

    request = ApiDownloadDataFilesRequest()
    request.competition_name = kaggle.slug
    response = kaggle.api.download_data_files(request)  # it has followed the redirect to the storage
    about, partial = _about(response), _partial(target)
    same = _record(target).exists() and bool(about["tag"]) and read_json(_record(target)) == about
    if same and target.exists() and target.stat().st_size == about["size"]:
        response.close()
        return
    if not same:
        discard(target)
        write_json(_record(target), about)
    done = partial.stat().st_size if partial.exists() else 0
    if done and done >= about["size"] > 0:
        response.close()
    else:
        if done:
            response = _rest(kaggle, response, done, about["tag"])
        done = done if response.status_code == 206 else 0
        for _ in _save(response, partial, done, about["size"]):
            arrived[0] = kaggle.retries.clock()
    size = partial.stat().st_size
    if about["size"] and size < about["size"]:
        raise requests.ConnectionError("the server ended the file early")
    if about["size"] and size > about["size"]:
        discard(target)
        raise ValueError(
            f"{kaggle.slug}: {size:,} bytes came, and Kaggle names {about['size']:,}; they are removed: run the same "
            "command again"
        )
    os.replace(partial, target)


def _about(response: requests.Response) -> dict[str, Any]:
    """The size, 0 where the server does not name that of the file, and the tag, which changes with the content."""
    headers = response.headers
    size = 0 if headers.get("Content-Encoding") else int(headers.get("Content-Length", 0))
    return {"size": size, "tag": headers.get("ETag") or headers.get("Last-Modified") or ""}


def _rest(kaggle: Kaggle, first: requests.Response, done: int, tag: str) -> requests.Response:
    """The answer with the bytes from `done` on (206), or with all of them (200) where the file has changed."""
    first.close()
    sent = first.request.headers  # without the credentials, where the redirect led to another host
    headers = {key: sent[key] for key in ("Authorization", "User-Agent") if key in sent}
    headers |= {"Range": f"bytes={done}-", "If-Range": tag, "Accept-Encoding": "identity"}
    response = requests.get(first.url, headers=headers, stream=True, timeout=kaggle.retries.timeout)
    response.raise_for_status()
    return response


def _save(response: requests.Response, file: Path, done: int, size: int) -> Iterator[int]:
    """Appends the bytes, from `done` on; gives the size of the file after each part."""
    bar = progress(-(-size // MB), "download", "MB", done=done // MB)
    with file.open("ab" if done else "wb") as out, bar:
        for chunk in response.iter_content(CHUNK):
            out.write(chunk)
            bar.update((done + len(chunk)) // MB - done // MB)
            done += len(chunk)
            yield done

"""Creates a dataset and a notebook at Kaggle, or new versions of those that are there, from a folder of make kernel."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.zip_file import files_below, write_zip
from tandem.kaggle_client.client import Kaggle
from tandem.kaggle_client.retries import status_of

DATASET, KERNEL = "dataset-metadata.json", "kernel-metadata.json"
POLL, PATIENCE = 3.0, 1800.0  # seconds between two looks at a new dataset, and at most
NONE = (403, 404)  # what Kaggle answers about a dataset that it does not have
READY, FAILED = "READY", ("FAILED", "DELETED")


def push_dataset(kaggle: Kaggle, folder: Path, work: Path, note: str) -> str:
    """The address of the dataset, which has a new version with the files of `folder` afterwards; its folders are zipped
    in `work`, and Kaggle unpacks them."""
    about = read_json(folder / DATASET)
    owner, _, name = about["id"].partition("/")
    tokens = [upload(kaggle, file) for file in files_to_send(folder, work)]
    with kaggle.explained():
        answer = kaggle.retries.call(lambda: _publish(kaggle, owner, name, about, tokens, note))
    if answer.error:
        raise ValueError(f"dataset {about['id']}: Kaggle answers: {answer.error}")
    return f"https://www.kaggle.com/datasets/{about['id']}"


def files_to_send(folder: Path, work: Path) -> Iterator[Path]:
    """The files of `folder` but its metadata, and a zip of each folder in it, as Kaggle's own command sends them."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            write_zip(work / f"{path.name}.zip", files_below(path))
            yield work / f"{path.name}.zip"
        elif path.name != DATASET:
            yield path


def upload(kaggle: Kaggle, file: Path) -> str:
    """The token of the uploaded file."""
    with kaggle.explained():
        return kaggle.retries.call(lambda: _upload(kaggle, file))


def _upload(kaggle: Kaggle, file: Path) -> str:
    from kagglesdk.blobs.types.blob_api_service import ApiBlobType, ApiStartBlobUploadRequest

    request, about = ApiStartBlobUploadRequest(), file.stat()
    request.type, request.name, request.content_length = ApiBlobType.DATASET, file.name, about.st_size
    request.last_modified_epoch_seconds = int(about.st_mtime)
    started = kaggle.client.blobs.blob_api_client.start_blob_upload(request)
    with file.open("rb") as content:
        # the address is signed: credentials are not sent to it
        requests.put(started.create_url, data=content, timeout=kaggle.retries.timeout).raise_for_status()
    return started.token


def _publish(kaggle: Kaggle, owner: str, name: str, about: dict[str, Any], tokens: list[str], note: str) -> Any:
    """Sent again after a lost answer, it finds the dataset there and makes another version of the same files."""
    from kagglesdk.datasets.types import dataset_api_service as types

    api, files = kaggle.client.datasets.dataset_api_client, []
    for token in tokens:
        file = types.ApiDatasetNewFile()
        file.token = token
        files.append(file)
    if dataset_status(kaggle, owner, name):
        version = types.ApiCreateDatasetVersionRequest()
        version.owner_slug, version.dataset_slug = owner, name
        version.body = types.ApiCreateDatasetVersionRequestBody()
        version.body.version_notes, version.body.files = note, files
        return api.create_dataset_version(version)
    new = types.ApiCreateDatasetRequest()
    new.owner_slug, new.slug, new.title, new.files = owner, name, about["title"], files
    new.license_name, new.is_private = about["licenses"][0]["name"], True
    return api.create_dataset(new)


def dataset_status(kaggle: Kaggle, owner: str, name: str) -> str:
    """Such as READY; "" where there is no such dataset of this account."""
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetStatusRequest

    request = ApiGetDatasetStatusRequest()
    request.owner_slug, request.dataset_slug = owner, name
    try:
        found = kaggle.client.datasets.dataset_api_client.get_dataset_status(request)
    except requests.RequestException as error:
        if status_of(error) in NONE:
            return ""
        raise
    return found.status.name


def wait_for_dataset(kaggle: Kaggle, folder: Path, sleep: Callable[[float], None] = time.sleep) -> None:
    """Returns once Kaggle has unpacked the dataset; raises ValueError where it can't, or takes too long."""
    owner, _, name = read_json(folder / DATASET)["id"].partition("/")
    waited = 0.0
    while True:
        with kaggle.explained():
            status = kaggle.retries.call(lambda: dataset_status(kaggle, owner, name))
        if status == READY:
            return
        if status in FAILED or waited >= PATIENCE:
            where = f"look at https://www.kaggle.com/datasets/{owner}/{name}, then run the same command again"
            raise ValueError(f"dataset {owner}/{name}: {status.lower() or 'not there'} after {waited:.0f} s; {where}")
        sleep(POLL)
        waited += POLL


def push_kernel(kaggle: Kaggle, folder: Path) -> str:
    """The address of the notebook, which runs at Kaggle from now on; raises ValueError where an input of it is not
    there."""
    from kagglesdk.kernels.types.kernels_api_service import ApiSaveKernelRequest

    about, request = read_json(folder / KERNEL), ApiSaveKernelRequest()
    book = json.loads((folder / about["code_file"]).read_text(encoding="utf-8"))
    for cell in book["cells"]:
        cell["source"] = "".join(cell["source"])  # the server expects one text
    request.slug, request.new_title, request.text = about["id"], about["title"], json.dumps(book)
    request.language, request.kernel_type, request.is_private = about["language"], about["kernel_type"], True
    request.enable_gpu, request.enable_internet = about["enable_gpu"], about["enable_internet"]
    request.dataset_data_sources, request.competition_data_sources = (
        about["dataset_sources"], about["competition_sources"])  # fmt: skip
    with kaggle.explained():
        answer = kaggle.retries.call(lambda: kaggle.client.kernels.kernels_api_client.save_kernel(request))
    refused = [*answer.invalid_dataset_sources, *answer.invalid_competition_sources]
    if answer.error or refused:
        why = answer.error or f"no such input, or not open to this account: {', '.join(refused)}"
        raise ValueError(f"notebook {about['id']}: Kaggle answers: {why}")
    return answer.url or f"https://www.kaggle.com/code/{about['id']}"

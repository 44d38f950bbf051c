"""The routes: the page and its palette, GET /about, POST /label with up to 16 images, POST /explain with one, POST
/captions with a table of captions, and POST /csv with labels."""

import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from python_multipart.multipart import parse_options_header
from starlette.applications import Starlette
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tandem.runtime.leftovers import scratch_folder
from tandem.web.answers import Json, read_json
from tandem.web.limits import Slots
from tandem.web.pages import page_routes
from tandem.web.security import HANDLERS, guards
from tandem.web.service import LabelService

PAGE = Path(__file__).with_name("page")
TABLES = (".csv", ".tsv", ".txt", ".json")  # of captions
FORM = 2**16  # bytes of a form without the image
TABLE = 32 * 2**20  # bytes of a request with a table
CSV_AT_ONCE = 4  # requests with rows; they are kept in memory
UPLOADS = 32  # requests with a form at a time; each may have as many open files as images


def make_app(service: LabelService) -> Starlette:
    """Requests are computed one at a time, in a thread, so that the server stays responsive."""
    about, limiter, uploads = service.about, CapacityLimiter(1), Slots(UPLOADS)

    def label(form: FormData) -> dict:
        """One result, or `results` of several images."""
        photos = read_photos(form) if about["uses_images"] else None
        captions = read_captions(form, None if photos is None else len(photos), about["max_caption"])
        with saved(photos) as files:
            if len(captions) == 1:
                return service.label(files[0] if files else None, captions[0])
            return {"results": service.label_many(files, captions)}

    def explain(form: FormData) -> dict:
        photos = read_photos(form, 1) if about["uses_images"] else None
        (caption,) = read_captions(form, 1, about["max_caption"])
        label = read_text("label", form.get("label"), about["max_caption"])
        with saved(photos) as files:
            return service.explain(files[0] if files else None, caption, label, form.get("heat") != "no")

    def captions(form: FormData) -> dict:
        with saved_table(form) as (table, images):
            return {"captions": service.captions(table, images)}

    def csv(body: bytes) -> bytes:
        return service.to_csv(read_rows(body)).encode("utf-8", "backslashreplace")

    async def compute(request: Request, method: Callable, given: FormData | bytes) -> Any:
        """In turn; what is computed for a client that has gone away meanwhile would be for nobody."""
        async with limiter:
            if await request.is_disconnected():
                raise ClientDisconnect
            return await run_sync(method, given)

    def form_endpoint(method: Callable[[FormData], dict]) -> Callable:
        async def answer(request: Request) -> Response:
            check_form(request)
            most = about["max_photos"]
            async with request.form(max_files=most, max_fields=most + 2, max_part_size=FORM) as form:
                return Json(await compute(request, method, form))

        return endpoint(answer, uploads)

    async def write_csv(request: Request) -> Response:
        return Response(await compute(request, csv, await request.body()), media_type="text/csv")

    table = [Middleware(RequestBodyLimitMiddleware, max_body_size=TABLE)]
    return Starlette(
        routes=[
            Route("/about", lambda request: Json(about)),
            Route("/label", form_endpoint(label), methods=["POST"]),
            Route("/explain", form_endpoint(explain), methods=["POST"]),
            Route("/captions", form_endpoint(captions), methods=["POST"], middleware=table),
            Route("/csv", endpoint(write_csv, Slots(CSV_AT_ONCE)), methods=["POST"], middleware=table),
            *page_routes(PAGE),
        ],
        middleware=guards(about["max_bytes"] + FORM),
        exception_handlers=HANDLERS,
    )


def endpoint(answer: Callable[[Request], Awaitable[Response]], slots: Slots) -> Callable:
    """`answer` in one of the slots; what it finds wrong is an error of the request."""

    async def guarded(request: Request) -> Response:
        try:
            with slots.taken():
                return await answer(request)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        except ClientDisconnect as error:
            raise HTTPException(400, "the upload was interrupted") from error

    return guarded


def check_form(request: Request) -> None:
    """Raises HTTPException (415) unless the request has a form in UTF-8."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind not in (b"multipart/form-data", b"application/x-www-form-urlencoded"):
        raise HTTPException(415, f"content type {kind.decode('latin-1')!r:.80}: expected multipart/form-data")
    if (charset := options.get(b"charset", b"utf-8").lower()) != b"utf-8":
        raise HTTPException(415, f"charset {charset.decode('latin-1')!r:.80}: expected utf-8")


def read_photos(form: FormData, most: int | None = None) -> list[BinaryIO]:
    """The image files; raises ValueError where there is none, or more than `most`."""
    photos = [photo.file for photo in form.getlist("photo") if isinstance(photo, UploadFile)]
    if not photos or len(photos) < len(form.getlist("photo")):
        raise ValueError("photo: expected a file")
    if most and len(photos) > most:
        raise ValueError(f"photo: {len(photos)} files, expected {most}")
    return photos


def read_captions(form: FormData, photos: int | None, most: int) -> list[str]:
    """The caption of each of so many photos, "" where there are none; of texts without photos (None) one or more.
    Raises ValueError with what was expected."""
    captions = [read_text("caption", text, most) for text in form.getlist("caption")]
    expected = photos or max(1, len(captions))
    if len(captions) not in (0, expected):
        raise ValueError(f"caption: {len(captions)} texts and {expected} photos; expected one each, or none")
    return captions or [""] * expected


def read_text(field: str, text: object, most: int) -> str:
    """The text of a field; raises ValueError where it is none, or longer than `most` characters."""
    if not isinstance(text, str):
        raise ValueError(f"{field}: expected a text")
    if len(text) > most:
        raise ValueError(f"{field}: {len(text):,} characters, expected at most {most:,}")
    return text


@contextmanager
def saved(photos: Sequence[BinaryIO] | None) -> Iterator[list[Path] | None]:
    """Temporary copies of the images; None without images."""
    if photos is None:
        yield None
        return
    with scratch_folder() as folder:
        files = [folder / f"photo{i}" for i in range(len(photos))]
        for path, photo in zip(files, photos, strict=True):
            with path.open("wb") as file:
                shutil.copyfileobj(photo, file)
        yield files


@contextmanager
def saved_table(form: FormData) -> Iterator[tuple[Path, list[str]]]:
    """A temporary copy of the file `table`, and the names of images in the file `names`, a list in JSON."""
    table, names = form.get("table"), form.get("names")
    if not isinstance(table, UploadFile) or not isinstance(names, UploadFile):
        raise ValueError("expected the files `table` and `names`")
    images = read_json(names.file.read())
    if not isinstance(images, list) or not images or not all(isinstance(name, str) for name in images):
        raise ValueError("names: expected a list of file names")
    suffix = Path(table.filename or "").suffix.lower()
    with scratch_folder() as folder:
        path = folder / f"captions{suffix if suffix in TABLES else '.csv'}"
        with path.open("wb") as file:
            shutil.copyfileobj(table.file, file)
        try:
            yield path, images
        except ValueError as error:
            raise ValueError(str(error).replace(f"{path}: ", "")) from error


def read_rows(body: bytes) -> object:
    """`rows` of the JSON object; raises ValueError where it has none."""
    content = read_json(body)
    if not isinstance(content, dict) or "rows" not in content:
        raise ValueError('expected {"rows": [{"id": ..., "labels": [...]}, ...]}')
    return content["rows"]

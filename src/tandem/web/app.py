"""The routes: the files of the page, GET /about, and POST /label and /explain with an uploaded image."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tandem.web.security import safe_headers, same_origin
from tandem.web.service import LabelService

PAGE = Path(__file__).with_name("page")
HOSTS = ["127.0.0.1", "localhost"]
FORM = 2**16  # bytes of a form without the image


def make_app(service: LabelService) -> Starlette:
    """Images are processed one at a time, in a thread, so that the server stays responsive."""
    about, limiter = service.about, CapacityLimiter(1)

    def image_endpoint(method: Callable[..., dict], *fields: str) -> Callable:
        async def endpoint(request: Request) -> JSONResponse:
            try:
                async with request.form(max_files=1, max_fields=4, max_part_size=FORM) as form:
                    photo = read_photo(form) if about["uses_images"] else None
                    texts = read_texts(form, ("caption", *fields), about["max_caption"])
                    result = await run_sync(_call_with_file, method, photo, *texts, limiter=limiter)
            except ValueError as error:
                raise HTTPException(422, str(error)) from error
            except ClientDisconnect as error:
                raise HTTPException(400, "the upload was interrupted") from error
            return JSONResponse(result)

        return endpoint

    return Starlette(
        routes=[
            Route("/about", lambda request: JSONResponse(about)),
            Route("/label", image_endpoint(service.label), methods=["POST"]),
            Route("/explain", image_endpoint(service.explain, "label"), methods=["POST"]),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        middleware=[
            Middleware(safe_headers),
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
            Middleware(same_origin),
            Middleware(RequestBodyLimitMiddleware, max_body_size=about["max_bytes"] + FORM),
        ],
        exception_handlers={HTTPException: _error_response},
    )


def read_photo(form: FormData) -> BinaryIO:
    """The image file; raises ValueError where there is none."""
    photo = form.get("photo")
    if not isinstance(photo, UploadFile):
        raise ValueError("photo: expected a file")
    return photo.file


def read_texts(form: FormData, fields: Sequence[str], most: int) -> list[str]:
    """The text of each field; the caption is optional. Raises ValueError with what was expected."""
    texts = []
    for field in fields:
        text = form.get(field, "" if field == "caption" else None)
        if not isinstance(text, str):
            raise ValueError(f"{field}: expected a text")
        if len(text) > most:
            raise ValueError(f"{field}: {len(text):,} characters, expected at most {most:,}")
        texts.append(text)
    return texts


def _call_with_file(method: Callable[..., dict], photo: BinaryIO | None, *texts: str) -> dict:
    """Calls `method` with the path of a temporary copy of the image, None without one."""
    if photo is None:
        return method(None, *texts)
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        path = Path(folder) / "photo"
        with path.open("wb") as file:
            shutil.copyfileobj(photo, file)
        return method(path, *texts)


async def _error_response(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # it handles no other
    return JSONResponse({"error": error.detail}, error.status_code)

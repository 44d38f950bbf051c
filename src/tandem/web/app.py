"""The routes: the page's files, /about, and two questions about an uploaded photo, /label and /why."""

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

from tandem.web.security import SafeHeaders, SameOrigin
from tandem.web.service import Answers

PAGE = Path(__file__).with_name("page")
HOSTS = ["127.0.0.1", "localhost"]
FORM = 2**16  # bytes of a form beside the photo


def make_app(answers: Answers) -> Starlette:
    """One photo is looked at at a time, in a thread, so that the page stays there meanwhile."""
    about, limiter = answers.about, CapacityLimiter(1)

    async def get_about(request: Request) -> JSONResponse:
        del request
        return JSONResponse(about)

    def asks(question: Callable[..., dict], *fields: str) -> Callable:
        async def endpoint(request: Request) -> JSONResponse:
            try:
                async with request.form(max_files=1, max_fields=4, max_part_size=FORM) as form:
                    photo, texts = read_form(form, ("caption", *fields), about["max_caption"])
                    found = await run_sync(_ask, question, photo, *texts, limiter=limiter)
            except ValueError as error:
                raise HTTPException(422, str(error)) from error
            except ClientDisconnect as error:
                raise HTTPException(400, "the upload was broken off") from error
            return JSONResponse(found)

        return endpoint

    return Starlette(
        routes=[
            Route("/about", get_about),
            Route("/label", asks(answers.label), methods=["POST"]),
            Route("/why", asks(answers.why, "label"), methods=["POST"]),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        middleware=[
            Middleware(SafeHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
            Middleware(SameOrigin),
            Middleware(RequestBodyLimitMiddleware, max_body_size=about["max_bytes"] + FORM),
        ],
        exception_handlers={HTTPException: _refused},
    )


def read_form(form: FormData, fields: Sequence[str], most: int) -> tuple[BinaryIO, list[str]]:
    """(the photo, the text of each field); a caption may be left out. Raises ValueError with what was expected."""
    photo, texts = (
        form.get("photo"),
        [form.get(field, "" if field == "caption" else None) for field in fields],
    )
    if not isinstance(photo, UploadFile):
        raise ValueError("photo: expected a file")
    for field, text in zip(fields, texts, strict=True):
        if not isinstance(text, str):
            raise ValueError(f"{field}: expected a text")
        if len(text) > most:
            raise ValueError(f"{field}: {len(text):,} characters, at most {most:,} are read")
    return photo.file, texts


def _ask(question: Callable[..., dict], photo: BinaryIO, *texts: str) -> dict:
    """With the photo as a file, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        path = Path(folder) / "photo"
        with path.open("wb") as file:
            shutil.copyfileobj(photo, file)
        return question(path, *texts)


async def _refused(request: Request, error: HTTPException) -> JSONResponse:
    del request
    return JSONResponse({"error": error.detail}, error.status_code)

"""The routes of the review page: GET /about, /question/N and /photo/N, POST /answer and /undo."""

import io
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tandem.data.image_io import load_rgb
from tandem.web.answers import Json, read_json
from tandem.web.pages import page_routes
from tandem.web.review_session import ReviewSession
from tandem.web.security import HANDLERS, guards

PAGE = Path(__file__).with_name("review_page")
PHOTO = 1280  # pixels of the longest side, at most
BODY = 2**20  # bytes of an answer
DIGITS = 9  # of the number of a question


def make_review_app(session: ReviewSession) -> Starlette:
    """Answers are written one at a time, in the order in which they come."""
    limiter = CapacityLimiter(1)

    async def question(request: Request) -> Json:
        return _json(session.question, _number(request))

    async def photo(request: Request) -> Response:
        try:
            file = session.photo(_number(request))
            if file is None:
                raise ValueError("this competition has no images")
            return Response(await run_sync(_jpeg, file, limiter=limiter), media_type="image/jpeg")
        except (ValueError, OSError) as error:
            raise HTTPException(404, str(error)) from error

    async def answer(request: Request) -> Json:
        given = await _body(request)
        if type(given.get("number")) is not int or not isinstance(given.get("labels"), dict):
            raise HTTPException(422, 'expected {"number": 0, "labels": {"cat": 1}}')
        return _json(session.answer, given["number"], given["labels"])

    async def undo(request: Request) -> Json:
        return _json(session.undo)

    async def about(request: Request) -> Json:
        return _json(lambda: session.about)

    return Starlette(
        routes=[
            Route("/about", about),
            Route("/question/{number}", question),
            Route("/photo/{number}", photo),
            Route("/answer", answer, methods=["POST"]),
            Route("/undo", undo, methods=["POST"]),
            *page_routes(PAGE),
        ],
        middleware=guards(BODY),
        exception_handlers=HANDLERS,
    )


def _number(request: Request) -> int:
    """Of a question; raises HTTPException (404) where it is none."""
    text = request.path_params["number"]
    if not (text.isascii() and text.isdecimal()) or len(text) > DIGITS:
        raise HTTPException(404, f"question {text!r:.20}: expected a number")
    return int(text)


def _json(method: Any, *args: Any) -> Json:
    try:
        return Json(method(*args))
    except (ValueError, OSError) as error:  # also a file that was edited by hand, and a full disk
        raise HTTPException(422, str(error)) from error


async def _body(request: Request) -> dict[str, Any]:
    try:
        given = read_json(await request.body())
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    return given if isinstance(given, dict) else {}


def _jpeg(file: Path) -> bytes:
    """Encoded again: what others made is never sent as it is."""
    image, out = load_rgb(file), io.BytesIO()
    image.thumbnail((PHOTO, PHOTO), Image.Resampling.LANCZOS)
    image.save(out, "JPEG", quality=88)
    return out.getvalue()

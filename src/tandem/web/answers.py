"""Answers in JSON, errors too, and JSON that a client has sent."""

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse


class Json(JSONResponse):
    """In ASCII, so that any text can be sent, half of a surrogate pair too."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def read_json(text: str | bytes) -> Any:
    """Raises ValueError where it is none, or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"expected JSON: {error}") from error


async def error_response(request: Request, error: Exception) -> Json:
    """The message of an HTTPException as `{"error": message}`."""
    assert isinstance(error, HTTPException)  # it handles no other
    return Json({"error": error.detail}, error.status_code, error.headers)

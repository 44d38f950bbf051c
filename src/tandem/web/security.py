"""Security middleware: rejects requests of other sites and hosts, limits bodies, sets headers on all responses."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

from tandem.web.answers import Json, error_response
from tandem.web.limits import timed_body

HOSTS = ["127.0.0.1", "localhost"]
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def guards(max_body: int) -> list[Middleware]:
    """Of a server for this machine's own pages: Host and Origin are checked; `max_body` bytes a request, at most."""
    return [
        Middleware(safe_answers),
        Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
        Middleware(same_origin),
        Middleware(RequestBodyLimitMiddleware, max_body_size=max_body),
        Middleware(timed_body),
    ]


def same_origin(app: ASGIApp) -> ASGIApp:
    """Rejects requests of pages of other sites (403), but not a link to a page; programs other than browsers send none
    of these headers and pass."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
            is_link = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
            if origin not in (None, f"http://{headers.get('host')}") or not (
                site in ("same-origin", "none") or is_link
            ):
                return await Json({"error": "cross-site request"}, 403)(scope, receive, send)
        return await app(scope, receive, send)

    return guarded


def safe_answers(app: ASGIApp) -> ASGIApp:
    """Adds HEADERS to every response, and makes an error's plain text `{"error": text}`."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        plain: Message | None = None  # the start of an answer that is an error's plain text

        async def send_safely(message: Message) -> None:
            nonlocal plain
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if message["status"] >= 400 and headers.get("content-type", "").startswith("text/plain"):
                    plain = message
                    return
            if plain is not None:
                start, plain = plain, None
                told = Json({"error": message.get("body", b"").decode() or "not possible"}, start["status"])
                MutableHeaders(scope=start).update(told.headers)
                await send(start)
                message = {"type": "http.response.body", "body": told.body}
            await send(message)

        await app(scope, receive, send_safely)

    return guarded


async def fault_response(request: Request, error: Exception) -> Json:
    """Of an error that nobody has foreseen: the terminal has its traceback, and it is sent past the middleware."""
    return Json({"error": f"{type(error).__name__}: a fault of the server; its terminal shows where"}, 500, HEADERS)


HANDLERS: dict[type[Exception] | int, ExceptionHandler] = {HTTPException: error_response, Exception: fault_response}

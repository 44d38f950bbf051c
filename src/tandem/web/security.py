"""Security middleware: rejects cross-site requests and sets security headers on all responses."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ["127.0.0.1", "localhost"]
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def guards(max_body: int) -> list[Middleware]:
    """Of a server for this machine's own pages: Host and Origin are checked; `max_body` bytes a request, at most."""
    return [
        Middleware(safe_headers),
        Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
        Middleware(same_origin),
        Middleware(RequestBodyLimitMiddleware, max_body_size=max_body),
    ]


def same_origin(app: ASGIApp) -> ASGIApp:
    """Rejects requests from pages of other sites (403); programs other than browsers send no Origin header and pass."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            headers = Headers(scope=scope)
            origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
            if origin not in (None, f"http://{headers.get('host')}") or site not in ("same-origin", "none"):
                return await JSONResponse({"error": "cross-site request"}, 403)(scope, receive, send)
        return await app(scope, receive, send)

    return guarded


def safe_headers(app: ASGIApp) -> ASGIApp:
    """Adds HEADERS to every response."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await app(scope, receive, send_with_headers)

    return guarded


async def error_response(request: Request, error: Exception) -> JSONResponse:
    """The message of an HTTPException as `{"error": message}`."""
    assert isinstance(error, HTTPException)  # it handles no other
    return JSONResponse({"error": error.detail}, error.status_code)

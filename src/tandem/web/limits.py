"""How much a server for this machine's pages answers at once, and how slowly a request may come."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

GRACE = 15.0  # seconds for which the server waits for a body, however slowly it comes
SLOWEST = 2**16  # bytes a second, on average, of a body that takes longer
RETRY = 2  # seconds after which a request that was turned away may be sent again


class Slots:
    """So many requests at a time, those that wait included; one more is turned away."""

    def __init__(self, size: int) -> None:
        self.size, self.used = size, 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Raises HTTPException (503) where none is free."""
        if self.used == self.size:
            busy = f"busy: {self.size} requests are waiting already; send this one again in {RETRY} seconds"
            raise HTTPException(503, busy, {"Retry-After": str(RETRY)})
        self.used += 1
        try:
            yield
        finally:
            self.used -= 1


def timed_body(app: ASGIApp) -> ASGIApp:
    """Ends a request whose body comes too slowly (408). Only the time in which the server waits for it counts."""

    async def timed(scope: Scope, receive: Receive, send: Send) -> None:
        waited, size, complete = 0.0, 0, False

        async def receive_in_time() -> Message:
            nonlocal waited, size, complete
            if complete:
                return await receive()  # what may come now is that the client has gone away
            start = time.monotonic()
            try:
                with anyio.fail_after(GRACE + size / SLOWEST - waited):
                    message = await receive()
            except TimeoutError as error:
                seconds = waited + time.monotonic() - start
                slow = f"too slow: {size:,} bytes came in {seconds:.1f} seconds, expected {SLOWEST:,} a second"
                raise HTTPException(408, slow) from error
            waited += time.monotonic() - start
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            return message

        await app(scope, receive_in_time if scope["type"] == "http" else receive, send)

    return timed

"""The server's end of a connection: it is closed where the client takes too long."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE = 15.0  # seconds for the head of a request, and for the rest of one that is answered already


class TimedConnection(H11Protocol):
    """uvicorn ends a connection that is idle after an answer; this one ends those that are slow before and after it."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Whether a head or the rest of an answered body is awaited; a body that is read has limits of its own."""
        is_read = self.conn.their_state is not h11.IDLE and self.conn.our_state is not h11.DONE
        if is_read or self.transport.is_closing():
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(PATIENCE, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

"""A server that only this machine reaches."""

import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.applications import Starlette

if TYPE_CHECKING:
    import uvicorn

CONNECTIONS = 400  # at a time: with their files, fewer than the 1,024 that many systems let a process open


def listen(port: int, target: str = "serve") -> socket.socket:
    """A socket that only this machine reaches; raises ValueError where the port is taken.

    target  the make target that the message names
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("127.0.0.1", port))
        found.listen()
    except (OSError, OverflowError) as error:
        found.close()
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise ValueError(
                f"port {port} is in use by another program; stop it, or choose another port: "
                f"make {target} PORT={port + 1}"
            ) from error
        raise ValueError(f"port {port}: {error}; choose another port: make {target} PORT=8000") from error
    return found


def make_server(app: Starlette) -> "uvicorn.Server":
    """Ready to run; one more than CONNECTIONS is answered with 503."""
    import uvicorn

    from tandem.web.connection import TimedConnection

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=TimedConnection,
            ws="none",
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=3,
        )
    )


def serve(app: Starlette, listening: socket.socket) -> None:
    """Until it is interrupted."""
    with suppress(KeyboardInterrupt):  # uvicorn raises it after it has ended
        make_server(app).run(sockets=[listening])

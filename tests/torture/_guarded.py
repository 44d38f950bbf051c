"""Runs a function in a forked process with limits of memory and time, so that a crash of a native parser is seen."""

import faulthandler
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

REFUSED = (ValueError, OSError)  # what a command prints as one line
MESSAGE = 4000  # bytes


def virtual_bytes() -> int:
    """Of this process; a limit on it counts what is mapped already."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def guarded(function: Callable[[], object], more_bytes: int, seconds: float) -> tuple[str, str]:
    """("read", its value), ("refused", message), or a fault: ("error" | "killed" | "late", what)."""
    limit = virtual_bytes() + more_bytes
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run(function, limit, writer)
    os.close(writer)
    try:
        answer = _answer(reader, time.monotonic() + seconds)
    finally:
        os.close(reader)
        if answer is None:
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    if answer is None:
        return "late", f"longer than {seconds:.0f} s"
    if not answer:
        return "killed", f"ended by {status}"
    kind, text = json.loads(answer)
    return kind, text


def _run(function: Callable[[], object], limit: int, writer: int) -> None:
    """In the child; never returns."""
    try:
        faulthandler.disable()  # the parent tells how it ended
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open(os.devnull, "w") as quiet:
            os.dup2(quiet.fileno(), 1)
            os.dup2(quiet.fileno(), 2)
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        try:
            found = "read", str(function())
        except REFUSED as error:
            found = "refused", str(error)
        except BaseException as error:
            found = "error", f"{type(error).__name__}: {error}"
        os.write(writer, json.dumps([found[0], found[1][:MESSAGE]])[: 2 * MESSAGE].encode())
    finally:
        os._exit(0)


def _answer(reader: int, ends: float) -> bytes | None:
    """What the child wrote; empty where it ended without a word, None where it is late."""
    found = b""
    while True:
        ready, _, _ = select.select([reader], [], [], max(ends - time.monotonic(), 0))
        if not ready:
            return None
        if not (block := os.read(reader, 65536)):
            return found
        found += block

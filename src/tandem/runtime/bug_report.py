"""An error that no code expected: one message instead of a traceback, which goes into a file to be reported."""

import platform
import shlex
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import tandem

STATUS = 70  # EX_SOFTWARE of sysexits.h
SHOWN = 300  # characters of an error's text
MEMORY = "memory ran out; the same command continues from here: make CORES=1 runs one thing at a time"
NESTED = "something is nested too deeply to be read, such as lists within lists"


def is_memory_error(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or of a GPU: torch has classes and texts of its own."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def answer(error: BaseException, command: Sequence[str], folder: Path) -> tuple[str, int]:
    """The message about an error that is neither ValueError nor OSError, and the exit status."""
    if is_memory_error(error):
        return f"error: {MEMORY}", 2
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] != "tandem":
        return f"error: the package {error.name} is not installed; run: make setup", 2
    text = " ".join(str(error).split())
    what = f"{type(error).__name__}: {text[:SHOWN]}" if text else type(error).__name__
    what = NESTED if isinstance(error, RecursionError) else what
    file = write_report(error, command, folder)
    where = f"with the file {file}" if file else "with this message: no file could be written"
    return f"error: {what}\nthis is a bug in Tandem: please report it {report_place()}, {where}", STATUS


def report_place() -> str:
    """Where to report, by the metadata of the installed package."""
    with suppress(metadata.PackageNotFoundError):
        for entry in metadata.metadata("tandem").get_all("Project-URL") or []:
            name, _, url = entry.partition(", ")
            if name.lower() in ("issues", "bug tracker", "tracker"):
                return f"at {url}"
    return "on the issues page of its repository"


def write_report(error: BaseException, command: Sequence[str], folder: Path) -> Path | None:
    """The file with the traceback, the command and the versions, in `folder` or else in the temporary folder; nothing
    of the environment. None where no file can be written."""
    lines = [
        f"Tandem {tandem.__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"command: {shlex.join(['tandem', *command])}",
        "",
        *traceback.format_exception(error),
    ]
    name = f"bug-report-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6:06}.txt"
    for place in (folder, Path(tempfile.gettempdir())):
        with suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            file = place / name
            with file.open("x", encoding="utf-8", errors="backslashreplace") as opened:
                opened.write("\n".join(line.rstrip("\n") for line in lines) + "\n")
            return file
    return None

"""Temporary folders, which never outlive their process for long: those of a killed one are removed by the next.

Each process has one folder in the folder for temporary files, and holds the lock on a file in it. The operating system
frees the lock when the process ends, also when it is killed.
"""

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from filelock import FileLock, Timeout

PREFIX = "tandem-"
OWNER = ".owner"  # the file whose lock the process holds
AGE = 7 * 86400.0  # seconds; a folder without an owner, as those on the nodes of a cluster, is kept for so long

_one_thread = Lock()
_owned: dict[int, tuple[Path, FileLock]] = {}  # by process: a forked one needs its own


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder, which is removed at the end of the block, or with the process."""
    folder = process_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def process_folder() -> Path:
    """A new temporary folder, which is removed when the process ends."""
    with _one_thread:
        process = os.getpid()
        if process not in _owned or not (_owned[process][0] / OWNER).exists():  # perhaps the machine cleans old files
            remove_abandoned()
            root = Path(tempfile.mkdtemp(prefix=PREFIX))
            lock = FileLock(root / OWNER, thread_local=False)
            lock.acquire(timeout=0)
            _owned[process] = root, lock
            atexit.register(remove_own)
        return Path(tempfile.mkdtemp(dir=_owned[process][0]))


def remove_own() -> None:
    """Removes the folders of this process; also called where it ends without the interpreter's exit."""
    if owned := _owned.pop(os.getpid(), None):
        shutil.rmtree(owned[0], ignore_errors=True)
        owned[1].release()


def remove_abandoned() -> None:
    """Removes the folders of processes that are gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):  # another user's, another process is faster, or its owner is alive
            if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
                continue
            if (folder / OWNER).exists():
                with FileLock(folder / OWNER, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
            elif time.time() - folder.stat().st_mtime > AGE:
                shutil.rmtree(folder, ignore_errors=True)


def is_running(process: int) -> bool:
    """Whether this machine has a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

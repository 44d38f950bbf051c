"""Runs functions in new processes, which end with the process that started them."""

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from copy import copy
from functools import cache
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import wait
from multiprocessing.synchronize import Event
from threading import Lock, Thread
from typing import TypeVar

from tandem.runtime.leftovers import remove_own
from tandem.runtime.resources import by_torchrun, resident_gb
from tandem.runtime.signals import ignore

R = TypeVar("R")
KEPT_GB = 1.0  # a process that holds more memory than this after its work is not used again

_idle: list[ProcessPoolExecutor] = []  # of one process each, which has loaded torch or LightGBM already
_one_event = Lock()


def end_with_parent(stop: Event | None = None) -> None:
    """Called in a new process: ends it at once when its parent has ended, even if killed, or soon when `stop` is
    set."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        while not wait([parent.sentinel], 0.5) and not (stop and stop.is_set()):
            pass
        remove_own()
        os._exit(1)

    ignore()
    Thread(target=watch, daemon=True).start()


@cache
def _stop() -> Event:
    # Python's own process for what is shared ignores Ctrl-C; it must not end with a closed terminal before the others
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return get_context("spawn").Event()


def stop_processes() -> None:
    """Ends the processes of `run_in_new_process`; later ones get a new event."""
    with _one_event:
        _stop().set()
        _stop.cache_clear()
    end_idle_processes()


def end_idle_processes() -> None:
    """Ends the processes that are kept for more work."""
    while _idle:
        _idle.pop().shutdown()


def run_in_new_process(function: Callable[..., R], *args: object) -> R:
    """The result of `function`, run in another process, which is kept for the next function where it holds little
    memory.

    Raises what the function raises, and OSError where the process was killed.
    """
    if by_torchrun():  # its processes are those that there are
        return function(*args)
    with _one_event:
        stop = _stop()
    try:
        pool = _idle.pop()
    except IndexError:
        pool = ProcessPoolExecutor(1, get_context("spawn"), end_with_parent, (stop,))
    keep = False
    try:
        result, held = pool.submit(_measured, function, *args).result()
        keep = held < KEPT_GB and not stop.is_set()
        return result
    except BrokenProcessPool as error:
        raise OSError(
            "a process was killed, perhaps because memory ran out; the same command continues from here: "
            "make CORES=1 runs one thing at a time"
        ) from error
    except KeyboardInterrupt:
        stop_processes()  # else the interpreter waits at its end for what this one still does
        raise
    finally:
        # waits: at its own end Python writes to the pipes of pools that are still ending, which may be closed already
        _idle.append(pool) if keep else pool.shutdown()


def _measured(function: Callable[..., R], *args: object) -> tuple[R, float]:
    try:
        result = function(*args)
    except Exception as error:
        raise sendable(error) from error
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # else a process that waits for more work keeps a GPU's memory from the others
    return result, resident_gb()


def sendable(error: Exception) -> Exception:
    """The error, or one of a plain class with the same text: one that can't be made again from its arguments would
    end the process that receives it.

    >>> from tandem.data.csv_repair import CsvError
    >>> sendable(KeyError("a")), sendable(CsvError(3, "no row"))
    (KeyError('a'), ValueError('no row'))
    """
    try:
        copy(error)  # calls the class with the arguments, as the receiver does
        return error
    except Exception:
        plain = next((kind for kind in (ValueError, OSError, MemoryError) if isinstance(error, kind)), RuntimeError)
        return plain(str(error) if plain is not RuntimeError else f"{type(error).__name__}: {error}")

"""Runs functions in new processes, which end with the process that started them."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from threading import Thread
from typing import TypeVar

R = TypeVar("R")


def end_with(parent: int, stop: Event | None = None) -> None:
    """Called in a new process: ends it when `parent` has ended, even if killed, or when `stop` is set."""

    def watch() -> None:
        while os.getppid() == parent and not (stop and stop.is_set()):
            time.sleep(0.5)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


@cache
def _stop() -> Event:
    return get_context("spawn").Event()


def stop_processes() -> None:
    """Ends the processes of `run_in_new_process` that are running; later ones get a new event."""
    _stop().set()
    _stop.cache_clear()


def run_in_new_process(function: Callable[..., R], *args: object) -> R:
    """The result of `function`, run in a new process so that its memory is freed afterwards.

    Raises what the function raises, and OSError where the process was killed.
    """
    try:
        with ProcessPoolExecutor(1, get_context("spawn"), end_with, (os.getpid(), _stop())) as pool:
            return pool.submit(function, *args).result()
    except BrokenProcessPool as error:
        message = "a process was killed, perhaps because memory ran out; the same command continues from here"
        raise OSError(message) from error

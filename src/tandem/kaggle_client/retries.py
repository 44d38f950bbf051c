"""Repeats requests that failed for a passing reason: a cut connection, no answer in time, an error of the server."""

import time
from collections.abc import Callable
from typing import TypeVar

import requests

from tandem.runtime.progress import log_line

T = TypeVar("T")
LIMIT = 60.0  # seconds that all failed tries and the waits after them take together
LONGEST_WAIT = 16.0
TIMEOUT = 20.0  # seconds without a byte from the server
PASSING = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
LASTING = (requests.exceptions.SSLError, requests.exceptions.ProxyError)


class Retries:
    """One for a command: its limit holds for all requests of the command together."""

    def __init__(
        self,
        limit: float = LIMIT,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.limit, self.clock, self.sleep = limit, clock, sleep
        self.spent, self.failures = 0.0, 0

    @property
    def timeout(self) -> float:
        """Seconds that a request may wait for a byte, so that the limit holds."""
        return max(1.0, min(TIMEOUT, self.limit - self.spent))

    def call(self, attempt: Callable[[], T]) -> T:
        """The result of the first try that does not fail; raises the last error once the limit is reached."""
        while True:
            started = self.clock()
            try:
                return attempt()
            except requests.RequestException as error:
                self.wait_after(error, self.clock() - started)

    def wait_after(self, error: Exception, seconds: float) -> None:
        """Waits before the next try; raises the error where another try makes no sense or comes too late.

        seconds  that the failed try took
        """
        if not is_passing(error):
            raise error
        self.spent += seconds
        wait = max(min(2.0**self.failures, LONGEST_WAIT), asked_wait(error))
        if self.spent + wait >= self.limit:
            raise error
        log_line(f"{reason(error)}; trying again in {wait:.0f} s")
        self.failures += 1
        self.sleep(wait)
        self.spent += wait


def is_passing(error: Exception) -> bool:
    if isinstance(error, LASTING):
        return False
    return isinstance(error, PASSING) or status_of(error) in (408, 429) or status_of(error) >= 500


def status_of(error: Exception) -> int:
    """The status of the answer, or that in its JSON where it says 200 and means an error; 0 without an answer."""
    if not isinstance(error, requests.RequestException) or error.response is None:
        return 0
    status = error.response.status_code
    if status < 400:
        try:
            return int(error.response.json().get("code", status))
        except (ValueError, AttributeError, TypeError):
            return status
    return status


def asked_wait(error: Exception) -> float:
    """Seconds of the header Retry-After; 0 where there is none."""
    response = getattr(error, "response", None)
    text = "" if response is None else response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0


def reason(error: Exception) -> str:
    """What happened, in a few words."""
    if status := status_of(error):
        return f"Kaggle answers {status}"
    return "no answer from Kaggle in time" if isinstance(error, requests.Timeout) else "the connection was cut"

"""What the campaign of archives counts as a fault is seen, and what it does not, passes."""

import os
import signal
import time
from pathlib import Path

import pytest
from torture._guarded import guarded
from torture.archives import _problem

GB = 2**30


def refuse() -> None:
    raise ValueError("a.zip: damaged")


def fail() -> None:
    raise KeyError("x")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda: 5, ("read", "5")),
        (refuse, ("refused", "a.zip: damaged")),
        (fail, ("error", "KeyError: 'x'")),
        (lambda: len(bytearray(4 * GB)), ("error", "MemoryError: ")),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), ("killed", f"ended by {int(signal.SIGSEGV)}")),
        (lambda: time.sleep(60), ("late", "longer than 0 s")),
    ],
)
def test_each_end_of_a_try_is_told_apart(function, expected):
    assert guarded(function, GB, 0.4 if expected[0] == "late" else 60) == expected


@pytest.mark.parametrize(
    ("got", "text", "must", "problem"),
    [
        ("read", "5", "read", ""),
        ("refused", "/x/a.zip: damaged", "refused", ""),
        ("refused", "/x/a.zip: damaged", "read", "expected read"),
        ("read", "5", "refused", "expected refused"),
        ("error", "KeyError: 'x'", "either", "error: KeyError"),
        ("refused", "damaged", "either", "does not name a.zip"),
        ("refused", "/x/a.zip: two\nlines", "either", "line breaks"),
    ],
)
def test_a_fault_is_reported_and_nothing_else(got, text, must, problem):
    found = _problem(got, text, must, Path("/x/place/a.zip"))
    assert problem in found and bool(problem) == bool(found)

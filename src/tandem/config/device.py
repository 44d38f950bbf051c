"""Which device computes: DEVICE= of the command line, else `device` of competition.toml, else the best there is."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from tandem.artifacts.paths import Paths
from tandem.config.toml_files import parse_toml
from tandem.runtime.resources import DEVICE
from tandem.runtime.wrong_values import listed, unknown

NAMES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def _checked(name: str) -> str:
    if not NAMES.fullmatch(name):
        raise ValueError(f"{name!r}: expected auto, cpu, cuda, cuda:0 (or another number) or mps")
    return name


DeviceName = Annotated[str, AfterValidator(_checked)]


@contextmanager
def chosen_device(comp: str, given: str) -> Iterator[None]:
    """Within it, this process and those that it starts compute on the device `given`, as DEVICE= has it, or that of the
    competition.

    Raises WrongValue or ValueError where the device is not there.
    """
    before = os.environ.get(DEVICE, "")
    name = given or before
    try:
        file = Paths(comp).competition
    except ValueError:
        file = Path()  # no name of a competition: the stage says so
    from_file = "" if name or not file.is_file() else parse_toml(file).get("device", "")
    if isinstance(from_file, str) and NAMES.fullmatch(from_file):  # else reading the file says what is wrong with it
        name = from_file
    if name and (there := _missing(name)):
        if not from_file:
            raise unknown("DEVICE", name, "there is no such device", there)
        raise ValueError(f"{file}: device = {name!r}: there is no such device; {listed(there)}")
    os.environ[DEVICE] = name
    try:
        yield
    finally:
        os.environ[DEVICE] = before


def _missing(name: str) -> list[str]:
    """The devices there are, where `name` is none of them; else none. Loads torch only to look for one."""
    if name in ("auto", "cpu"):
        return []
    from tandem.runtime.torch_setup import devices

    there = devices()
    return [] if name in there or (name == "cuda" and "cuda:0" in there) else ["auto", *there]

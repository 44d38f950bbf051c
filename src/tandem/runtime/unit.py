"""A unit of work: what an executor runs in one go."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Unit:
    """A call `function(paths, *args)`.

    name      such as "concat fold 2"
    task      the task that it is a part of, such as "train concat"
    function  "module:name", so that a unit is described without loading what it runs
    args      plain values and settings, which can be sent to another process
    threads   that it computes with, the same in every run; 0: it computes nothing
    gpus      1 where it computes on a GPU if there is one
    needs     names of the units of the same task that come first
    here      runs in the process of the run, one after another: what loads neither torch nor LightGBM
    rank      of two units that could begin, the one with the lower rank does
    reads     names of the files that it reads, where it can run on another machine; none: it runs on this one
    writes    names of the files that it may write, the record that says that the others are there last
    of        units whose work it begins: of a shard of features those that put them together
    """

    name: str
    task: str
    function: str
    args: tuple[Any, ...] = ()
    threads: int = 1
    gpus: int = 0
    needs: tuple[str, ...] = ()
    here: bool = False
    rank: int = 0
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    of: "tuple[Unit, ...]" = ()


def call(function: str, *args: object) -> Any:
    """
    >>> call("tandem.runtime.progress:time_left", 230)
    'about 4 min left'
    """
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)(*args)

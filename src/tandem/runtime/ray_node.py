"""What runs on the nodes of a Ray cluster: one unit of work, and the events of all for the run's line."""

import hashlib
import os
import socket
import tempfile
from collections.abc import Mapping
from contextlib import chdir, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np

import tandem
from tandem.runtime.executor import run_unit
from tandem.runtime.leftovers import PREFIX, scratch_folder
from tandem.runtime.node_files import Parcel, collect, unpack
from tandem.runtime.progress import EVENTS, TASK, report
from tandem.runtime.resources import NODE, environment
from tandem.runtime.unit import Unit


@dataclass(frozen=True)
class Order:
    """A unit as it is sent.

    folder     of the run, on the machine where it was started
    token      a file in it, which a node that shares the folder finds
    run        names the run: nodes without the folder keep its files apart from those of others
    parcels    what the unit reads; None: nothing was sent yet
    version    of Tandem's code
    variables  of the environment
    """

    unit: Unit
    paths: object
    folder: str
    token: str
    run: str
    parcels: tuple[Parcel, ...] | None
    version: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """`files`: what the unit wrote, of a node without the folder; None: it needs the files that it reads first."""

    node: str
    files: dict[str, np.ndarray] | None


class Events:
    """Lines that units report, until the run takes them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, lines: list[str]) -> None:
        self.lines += lines

    def take(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


def scratch(run: str, node: str) -> Path:
    """Where a node keeps the files of a run."""
    return Path(tempfile.gettempdir()) / f"{PREFIX}{run}" / node.replace("/", "-")


def node_name() -> str:
    import ray

    return f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:4]}"


def work(order: Order, events: Any) -> Outcome:
    """Runs a unit in the folder of the run, or where that is not there in a folder with what the unit reads."""
    import ray
    from threadpoolctl import threadpool_limits

    node = node_name()
    if order.version != version():
        raise ValueError(
            f"{node}: its copy of Tandem differs from the one that started the run; bring both to the same commit"
        )
    shared = (Path(order.folder) / order.token).exists()
    if not shared and order.parcels is None:
        return Outcome(node, None)
    folder = Path(order.folder) if shared else scratch(order.run, node)
    folder.mkdir(parents=True, exist_ok=True)
    if not shared:
        os.utime(folder.parent)  # it is in use: see `remove_abandoned`
    for parcel in () if shared else order.parcels or ():
        unpack(parcel, ray.get, folder)
    unit, variables = order.unit, {**order.variables, NODE: node}
    with scratch_folder() as own, chdir(folder):
        lines = own / "events"
        lines.touch()
        cores = int(order.variables["TANDEM_CORES"])  # of the head: sums are in the order of the local pool
        blas = threadpool_limits(cores, user_api="blas")
        with environment(**variables, **{EVENTS: str(lines)}), blas, _sent(lines, events):
            report(unit=unit.name, node=node, task=unit.task)
            run_unit(unit.task, unit.threads, unit.function, order.paths, *unit.args)
        return Outcome(node, {} if shared else collect(unit.writes, Path()))


class _sent:
    """Sends the lines of a file to `events` as they come."""

    def __init__(self, file: Path, events: Any) -> None:
        self.file, self.events, self.read, self.ended = file, events, 0, Event()

    def __enter__(self) -> None:
        self.thread = Thread(target=self._watch, daemon=True)
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        self._send()

    def _watch(self) -> None:
        while not self.ended.wait(0.5):
            self._send()

    def _send(self) -> None:
        import ray
        from ray.exceptions import RayError

        text = self.file.read_text(encoding="utf-8")[self.read :]
        whole = text[: text.rfind("\n") + 1]
        self.read += len(whole)
        if whole:
            with suppress(RayError):  # the run's line is not worth a job
                ray.get(self.events.add.remote(whole.splitlines()))


@cache
def version() -> str:
    """Digest of the code of this package."""
    found = hashlib.sha256()
    for file in sorted(Path(tandem.__path__[0]).rglob("*.py")):
        found.update(file.read_bytes())
    return found.hexdigest()


def variables() -> dict[str, str]:
    """Those of this process that a unit depends on."""
    own = (EVENTS, TASK, NODE)
    named = {name for name in os.environ if name.startswith(("TANDEM_", "HF_")) or name == "TRUST"}
    kept = {name: os.environ[name] for name in named if name not in own}
    return {**kept, "TANDEM_CORES": str(os.cpu_count() or 1)}

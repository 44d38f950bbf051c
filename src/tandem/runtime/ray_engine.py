"""The engine "ray": units of work as tasks of a Ray cluster, on this machine or at RAY_ADDRESS."""

import json
import logging
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from tandem.runtime.executor import LocalPool
from tandem.runtime.node_files import Sender, write_files
from tandem.runtime.progress import EVENTS
from tandem.runtime.ray_node import Events, Order, Outcome, variables, version, work
from tandem.runtime.resources import DEVICE
from tandem.runtime.unit import Unit

RETRIES = 3  # of a unit whose node or process was lost
ADDRESS = "RAY_ADDRESS"
ANSWER = 10  # seconds in which the first machine of a cluster must answer


class RayCluster(LocalPool):
    """Units that say what they read run on any node; the others in processes of this machine."""

    sends = True

    def __enter__(self) -> Self:
        self.shared = True  # until a node says that it does not see the folder
        self.sent: dict[Future[Any], tuple[Unit, Any]] = {}
        self.units: dict[str, Unit] = {}
        self.said: set[str] = set()  # names of units of which an event said that they have begun
        self.name = secrets.token_hex(6)
        self.token = Path(getattr(self.paths, "build", "")) / f".ray-{self.name}.partial"
        self.ended = Event()
        return self

    @cached_property
    def ray(self) -> Any:
        """Connected when the first unit needs it."""
        ray = _started(self.cores)
        self.token.parent.mkdir(parents=True, exist_ok=True)
        self.token.touch()
        return ray

    @property
    def folder(self) -> str:
        """Of the run; a node that finds the token in it shares it."""
        return str(Path.cwd())

    @cached_property
    def sender(self) -> Sender:
        return Sender(self.ray.put)

    @cached_property
    def remote(self) -> Any:
        return self.ray.remote(num_cpus=1, max_retries=RETRIES)(work)

    @cached_property
    def events(self) -> Any:
        """The actor that collects what units report; its lines are taken twice a second."""
        here = self.ray.get_runtime_context().get_node_id()
        strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=True)
        actor = self.ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=strategy)(Events).remote()
        self.watcher = Thread(target=self._watch, args=(actor,), daemon=True)
        self.watcher.start()
        return actor

    @property
    def width(self) -> int:
        there = self.ray.cluster_resources()
        return max(1, int(there.get("GPU" if self._uses_gpus(there) else "CPU", 1)))

    @staticmethod
    def _uses_gpus(resources: Mapping[str, float]) -> bool:
        """Whether units compute on GPUs where a cluster or node has these resources."""
        return bool(resources.get("GPU")) and os.environ.get(DEVICE) != "cpu"

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            super().__exit__(kind, error, at)
        finally:
            self.ended.set()
            if "events" in vars(self):
                self.watcher.join()
            if "ray" in vars(self):
                self.ray.shutdown()  # ends what this run has started on every node
                self.token.unlink(missing_ok=True)

    def submit(self, unit: Unit) -> None:
        if not unit.reads:
            super().submit(unit)
            return
        self.units[unit.name] = unit
        self._send(unit)

    def results(self) -> Iterator[Unit]:
        while self.waiting or self.running or self.sent:
            self._begin()
            for future in wait([*self.running, *self.sent], return_when=FIRST_COMPLETED).done:
                if future in self.running:
                    unit = self.running.pop(future)
                    future.result()
                    yield unit
                elif self._taken(unit := self.sent[future][0], future):
                    yield unit

    def cancel(self) -> None:
        super().cancel()
        for _, reference in self.sent.values():
            self.ray.cancel(reference, force=True)
        self.sent.clear()

    def _send(self, unit: Unit) -> None:
        parcels = None if self.shared else tuple(self.sender.parcels(unit.reads))
        sent = replace(unit, reads=())
        order = Order(sent, self.paths, self.folder, str(self.token), self.name, parcels, version(), variables())
        cpus, gpus = self._share(unit)
        reference = self.remote.options(num_cpus=cpus, num_gpus=gpus).remote(order, self.events)
        self.sent[reference.future()] = unit, reference

    def _share(self, unit: Unit) -> tuple[float, int]:
        """CPUs and GPUs of a node that a unit takes: no more CPUs than the largest node has, for each of its GPUs."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if unit.gpus and any(map(self._uses_gpus, nodes)):
            cpus, gpus = [node.get("CPU", 0) // node["GPU"] for node in nodes if node.get("GPU")], unit.gpus
        else:
            cpus, gpus = [node.get("CPU", 0) for node in nodes], 0
        return min(unit.threads, max(cpus, default=1) or 1), gpus

    def _taken(self, unit: Unit, future: Future[Any]) -> bool:
        """Whether the unit is done, its files written here; False where it was sent again with what it reads."""
        from ray.exceptions import RayError, RayTaskError

        self.sent.pop(future)
        try:
            outcome: Outcome = future.result()
        except RayTaskError as error:
            raise error.cause or error from None
        except RayError as error:
            raise OSError(
                f"{unit.name}: its process or node was lost {RETRIES + 1} times, perhaps because memory ran out; the "
                f"same command continues from here ({type(error).__name__})"
            ) from error
        if outcome.files is None:
            self.shared = False
            self._send(unit)
            return False
        write_files(outcome.files)
        self._take_events(self.events)
        if unit.name not in self.said:  # its event was lost with a node
            self.begun(unit, outcome.node)
        return True

    def _watch(self, events: Any) -> None:
        while not self.ended.wait(0.5):
            self._take_events(events)

    def _take_events(self, events: Any) -> None:
        """Events of the nodes, into the file of the run's line."""
        from ray.exceptions import RayError

        try:
            lines: list[str] = self.ray.get(events.take.remote())
        except RayError:  # the cluster is gone: the units say so
            return
        for event in map(json.loads, lines):
            if "unit" in event:
                self.said.add(event["unit"])
                self.begun(self.units[event["unit"]], event["node"])
        if lines and EVENTS in os.environ:
            with open(os.environ[EVENTS], "a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))


def _started(cores: int) -> Any:
    """Ray, connected to the cluster at RAY_ADDRESS, or with a cluster of its own on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # the work is what the machine is for
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise ValueError(
            "ENGINE=ray: Ray is not installed; run: .venv/bin/python -m pip install -r requirements-ray.txt"
        ) from error
    address = os.environ.get(ADDRESS)
    if address and address != "auto":
        _require_answer(address)
    options: dict[str, Any] = {"address": address} if address else {"address": "local", "num_cpus": cores}
    if not address:
        options["include_dashboard"] = False
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ValueError(
            f"{ADDRESS}={address}: no Ray cluster answers there; on its first machine run: ray status"
        ) from error
    return ray


def _require_answer(address: str) -> None:
    """Ray itself waits for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        raise ValueError(f"{ADDRESS}={address}: expected auto or HOST:PORT, such as 10.0.0.5:6379")
    try:
        socket.create_connection((host, int(port)), ANSWER).close()
    except OSError as error:
        raise ValueError(
            f"{ADDRESS}={address}: nothing answers there ({error}); on the cluster's first machine run: ray status"
        ) from error

"""Experiment trackers behind one interface: MLflow, and Weights & Biases; each is imported only where it is used.

Where a tracker is, its own environment variables say (MLFLOW_TRACKING_URI, WANDB_MODE and others). Without them
nothing leaves this machine: MLflow writes an SQLite file, Weights & Biases works offline.
"""

import logging
import math
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

KEY = "tandem.key"  # the tag that says which training a run shows
WAIT = 10  # seconds in which a server must answer
DEFAULTS = {  # variables of the user's own count first
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(WAIT),
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
}
OF_WANDB: dict[str, Any] = {  # by default it waits for minutes
    "init_timeout": WAIT,
    "login_timeout": WAIT,
    "finish_timeout": 6 * WAIT,
    "finish_timeout_raises": True,
    "x_graphql_timeout_seconds": WAIT,
    "x_graphql_retry_max": 2,
    "x_file_stream_retry_max": 2,
    "x_file_transfer_retry_max": 2,
    "console": "off",
    "disable_git": True,
    "save_code": False,
    "x_disable_stats": True,
}
AT_ONCE = 1000  # metrics in one request of MLflow
PARAMS_AT_ONCE = 100


class Tracker(Protocol):
    """One run at a time: `start`, then what it shows, then `end`."""

    def start(self, name: str, key: str, tags: Mapping[str, str]) -> bool:
        """Begins a run, or goes on with the finished one of this key; whether it is a new one."""

    def params(self, values: Mapping[str, object]) -> None: ...

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Values after an epoch; without `step`, of the whole run. What is no finite number is left out."""

    def artifact(self, file: Path) -> None: ...

    def end(self, failed: bool = False) -> None: ...


class Mlflow:
    """Runs of an MLflow experiment, which has the name of the project."""

    def __init__(self, folder: Path, project: str) -> None:
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        address = os.environ.get("MLFLOW_TRACKING_URI", "")
        self.client = MlflowClient(tracking_uri=address or f"sqlite:///{(folder / 'mlflow.db').resolve()}")
        files = None if address else (folder / "mlflow").resolve().as_uri()
        found = self.client.get_experiment_by_name(project)
        self.experiment = found.experiment_id if found else self.client.create_experiment(project, files)
        self.run = ""
        self.points: list[Any] = []

    def start(self, name: str, key: str, tags: Mapping[str, str]) -> bool:
        asked = f"tags.`{KEY}` = '{key}' and attributes.status = 'FINISHED'"
        found = self.client.search_runs([self.experiment], asked, max_results=1)
        self.points = []
        if found:
            self.run = found[0].info.run_id
            for tag, value in tags.items():
                self.client.set_tag(self.run, tag, value)
        else:
            self.run = self.client.create_run(self.experiment, tags={**tags, KEY: key}, run_name=name).info.run_id
        return not found

    def params(self, values: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        params = [Param(_name(name), str(value)) for name, value in values.items()]
        for i in range(0, len(params), PARAMS_AT_ONCE):
            self.client.log_batch(self.run, params=params[i : i + PARAMS_AT_ONCE])

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.points += [Metric(_name(name), value, now, step or 0) for name, value in _finite(values).items()]

    def artifact(self, file: Path) -> None:
        self.client.log_artifact(self.run, str(file))

    def end(self, failed: bool = False) -> None:
        for i in range(0, 0 if failed else len(self.points), AT_ONCE):
            self.client.log_batch(self.run, metrics=self.points[i : i + AT_ONCE])
        self.client.set_terminated(self.run, "FAILED" if failed else "FINISHED")


class Wandb:
    """Runs of a project of Weights & Biases; WANDB_MODE=online sends them, `wandb sync` does it later."""

    def __init__(self, folder: Path, project: str) -> None:
        import requests
        import wandb

        self.wandb, self.project = wandb, project
        self.folder = Path(os.environ.get("WANDB_DIR") or folder)
        self.mode = os.environ.get("WANDB_MODE") or "offline"
        if self.mode == "online":  # else its own process waits without an end for a server that does not answer
            requests.get(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai", timeout=WAIT)
        self.run: Any = None

    def start(self, name: str, key: str, tags: Mapping[str, str]) -> bool:
        id = f"{name[:60]}-{key}"
        complete = any((self.folder / "wandb").glob(f"offline-run-*-{id}/files/{COMPLETE}"))
        self.folder.mkdir(parents=True, exist_ok=True)
        resume = None if self.mode == "offline" else "allow"
        about = {"project": self.project, "name": name, "id": id, "mode": self.mode, "resume": resume}
        self.run = self.wandb.init(dir=str(self.folder), settings=self.wandb.Settings(**OF_WANDB), **about)
        self.run.config.update({**tags, KEY: key}, allow_val_change=True)
        return not (complete or self.run.resumed)

    def params(self, values: Mapping[str, object]) -> None:
        self.run.config.update(dict(values), allow_val_change=True)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        if step is None:
            self.run.summary.update(_finite(values))
        else:
            self.run.log({"epoch": step, **_finite(values)}, step=step)

    def artifact(self, file: Path) -> None:
        copy = Path(shutil.copy(file, self.run.dir))  # else only a link, to what the next training replaces
        self.run.save(str(copy), base_path=self.run.dir, policy="end")

    def end(self, failed: bool = False) -> None:
        if not failed:
            Path(self.run.dir, COMPLETE).touch()
        self.run.finish(exit_code=int(failed))
        self.wandb.teardown()  # ends its process


COMPLETE = "complete"  # a file of a run of Weights & Biases that was logged to its end
TRACKERS: dict[str, type[Mlflow] | type[Wandb]] = {"mlflow": Mlflow, "wandb": Wandb}


def open_tracker(kind: str, folder: Path, project: str) -> Tracker:
    """Raises ImportError where its package is not installed; `folder` holds what stays on this machine."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    folder.mkdir(parents=True, exist_ok=True)
    return TRACKERS[kind](folder, project)


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def _name(name: str) -> str:
    """With the characters that MLflow allows.

    >>> _name("loss/fold0"), _name("a#b")
    ('loss/fold0', 'a_b')
    """
    return re.sub(r"[^\w\-. /:]", "_", name)

"""What an experiment costs."""

from collections.abc import Mapping
from typing import Any


def training_seconds(run: Mapping[str, Any], runs: Mapping[str, Mapping[str, Any]]) -> float:
    """Training time of a run.json; of a stack including its members, whose run.json are in `runs` by their names.

    >>> training_seconds({"seconds": 2.0, "members": {"a": {}}}, {"a": {"seconds": 5.0}})
    7.0
    """
    members = [runs[name]["seconds"] for name in run.get("members", {}) if name in runs]
    return float(run["seconds"] + sum(members))

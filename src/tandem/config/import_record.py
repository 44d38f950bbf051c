"""`inferred.json` beside `competition.toml`: the `values` that import wrote, and the keys of `open` questions.

A value that differs from it, or is not in it, is the user's and stays.
"""

from typing import Any

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, required_keys
from tandem.config.questions import OPEN, flat
from tandem.config.toml_files import parse_toml


def read_inferred(paths: Paths) -> tuple[dict[str, Any], list[str]]:
    """({key: value} that import wrote, keys of open questions); both empty where it wrote none."""
    record = read_json(paths.inferred) if paths.inferred.exists() else {}
    return record.get("values", {}), record.get("open", [])


def assumed_metric(paths: Paths, competition: Competition) -> str:
    """The line that names the metric where import assumed it; "" where the user set it."""
    assumed = read_inferred(paths)[0].get("metric") == competition.metric
    return f"metric: assumed {competition.metric} (METRIC= sets it)" if assumed else ""


def may_be_incomplete(paths: Paths) -> bool:
    """Whether import left questions, a value lacks, or there was no test table: then `complete_competition` looks."""
    if not paths.competition.exists():
        return False
    values, (inferred, asked) = flat(parse_toml(paths.competition)), read_inferred(paths)
    lacks = any(key not in values for key in required_keys())
    return bool(asked) or lacks or OPEN in values.values() or values.get("test") == "" == inferred.get("test")

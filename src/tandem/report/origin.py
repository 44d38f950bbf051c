"""What the foot of the page says: as of when, by which version and commit, with which settings."""

import json
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import tandem
from tandem.graph.experiment_dir import Experiments
from tandem.report.data_model import Origin


def origin(experiments: Experiments, names: Iterable[str], focus: str) -> Origin:
    """Of the page about `focus`, "" for the data alone, from the results of the experiments `names`."""
    paths = experiments.paths
    results = [file(name) for name in names for file in (paths.oof, paths.scores, paths.run, paths.test)]
    newest = max(file.stat().st_mtime for file in (paths.folds, *results) if file.exists())
    settings = experiments.competition.model_dump(mode="json", exclude_unset=True)
    parts = {"competition.toml": settings}
    if focus and (config := experiments[focus].run.get("config")):
        parts[f"{focus}.toml"] = {key: value for key, value in config.items() if value is not None}
    when = datetime.fromtimestamp(newest, UTC).strftime("%Y-%m-%d %H:%M")
    return Origin(when, tandem.__version__, commit(Path(tandem.__file__).parent), _lines(parts))


def commit(folder: Path) -> str:
    """The commit of the checkout that has `folder` among its files, with "-dirty" where a file was changed since; ""
    where there is none."""
    try:
        tracked = _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        return _git(folder, "describe", "--always", "--dirty", "--exclude=*") if tracked else ""
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *args: str) -> str:
    made = subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=True, timeout=20)
    return made.stdout.strip()


def _lines(parts: dict[str, dict]) -> tuple[tuple[str, str, str], ...]:
    """(file, key, value as JSON), sections flattened: `folds.n`."""
    found = []
    for file, settings in parts.items():
        for key, value in settings.items():
            inner = {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
            found += [(file, name, json.dumps(v, ensure_ascii=False)) for name, v in inner.items()]
    return tuple(found)

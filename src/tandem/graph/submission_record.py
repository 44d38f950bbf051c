"""What a submission was made from, as the journal records it, and what changed since the row before, in words."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from tandem.artifacts import journal
from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.kept_files import keep_file
from tandem.artifacts.paths import Paths
from tandem.graph.experiment_dir import ExperimentDir
from tandem.graph.keys import differences, read_record
from tandem.graph.names import by_decoder

LISTED = 6  # changes


def keep(paths: Paths, subject: str, experiment: ExperimentDir, made: Mapping[str, Any]) -> None:
    """Keeps the files of a submission by digest, and writes the record that names them."""
    name = experiment.name
    files = {"submission": paths.submission(subject), "oof": paths.oof(name), "test": paths.test(name)}
    kept = {what: keep_file(paths, file) for what, file in files.items()}
    write_json(record_file(paths, subject, made["sha256"]), made_from(experiment, subject, made) | {"files": kept})


def record_file(paths: Paths, subject: str, digest: str) -> Path:
    return paths.journal_record(f"{subject}.{digest}")


def journal_row(
    paths: Paths, subject: str, experiment: ExperimentDir, made: Mapping[str, Any], rows: Sequence[journal.Row]
) -> dict[str, Any]:
    """The row of a submission that was written now; `rows` are those before, `made` is the JSON beside its CSV."""
    found, (_, by) = made["out_of_fold"], by_decoder(subject)
    half = None if by else experiment.scores.get("half_width")
    interval = {}
    if half is not None and isfinite(half):
        interval = {"low": found["score"] - half, "high": found["score"] + half}
    record = read_json(record_file(paths, subject, made["sha256"]))
    return {
        "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}",
        "name": subject,
        "experiments": " ".join(record["experiments"]),
        "decoder": record["decoder"],
        "changes": since(paths, record, rows),
        "metric": found["metric"],
        "score": found["score"],
        **interval,
        "digest": made["sha256"],
    }


def since(paths: Paths, record: Mapping[str, Any], rows: Sequence[journal.Row]) -> str:
    """What changed since the last of the rows that has a record."""
    for row in reversed(rows):
        file = record_file(paths, row["name"], row["digest"])
        if "/" not in row["name"] and file.is_file():
            return changes(read_json(file), record)
    return "the first row"


def made_from(experiment: ExperimentDir, subject: str, made: Mapping[str, Any]) -> dict[str, Any]:
    """`name`, `decoder`, the settings of `experiments` by name, and `inputs`: digests of data, own code and more."""
    ones = [experiment.sibling(name) for name in experiment.members] if experiment.is_stack else [experiment]
    decoder, inputs = experiment.thresholds["inputs"], dict[str, Any]()
    for one in ones:
        inputs |= {name: value for name, value in _inputs(one).items() if not isinstance(value, Mapping)}
    inputs |= {name: value for name, value in decoder.items() if name != "predictions"}
    inputs |= {name: value for name, value in made["inputs"].items() if name not in ("predictions", "decoder")}
    inputs["competition.toml"] = decoder["competition.toml"] | made["inputs"]["competition.toml"]
    return {
        "name": subject,
        "decoder": made["decoder"].get("decoder", ""),
        "greater_is_better": experiment.scores.get("greater_is_better", True),
        "experiments": {one.name: one.run.get("config") or {} for one in ones},
        "inputs": inputs,
    }


def _inputs(one: ExperimentDir) -> dict[str, Any]:
    """All that the model of the first fold was trained from; of predictions made elsewhere, their files."""
    if one.is_external:
        return one.run.get("inputs", {})
    record = read_record(one.paths.model(one.name, one.folds[0], ".json"))
    return {name: value for name, value in record.get("inputs", {}).items() if name != "fold"}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The differences of two records in words.

    >>> old = {"name": "stack", "decoder": "gfm", "experiments": {"a": {"lr": 1}, "b": {}}, "inputs": {"labels": "4f"}}
    >>> changes(old, old | {"experiments": {"a": {"lr": 2}, "c": {}}, "inputs": {"labels": "5e"}})
    'c added; b removed; a lr 1 -> 2; labels changed'
    >>> changes(old, old | {"name": "a", "decoder": "fixed"}), changes(old, old)
    ('a instead of stack; decoder gfm -> fixed', 'made again: same settings, same data')
    """
    found = list(_each_change(before, now))
    more = f"; {len(found) - LISTED} more" if len(found) > LISTED else ""
    return "; ".join(found[:LISTED]) + more or "made again: same settings, same data"


def _each_change(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = before["experiments"], now["experiments"]
    if before["name"] != now["name"]:
        yield f"{now['name']} instead of {before['name']}"
    yield from (f"{name} added" for name in new if name not in old)
    yield from (f"{name} removed" for name in old if name not in new)
    for part in ("experiments", "inputs"):  # an added experiment has inputs of its own: these are no news
        both = [name for name in now[part] if name in before[part]]
        then, there = ({name: one[part][name] for name in both} for one in (before, now))
        yield from differences(then, there)
    if before["decoder"] != now["decoder"]:
        yield f"decoder {before['decoder']} -> {now['decoder']}"

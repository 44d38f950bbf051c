"""Writes what `make check` and `make folds` write, and configs, for a competition that a test makes up; runs tasks."""

import json
from collections.abc import Sequence

from tandem.artifacts.atomic_io import write_json, write_text
from tandem.artifacts.paths import Paths
from tandem.config.competition import Competition, to_toml
from tandem.data.near_duplicates import HASH_BYTES
from tandem.data.split_tables import write_captions, write_images
from tandem.graph.declared_stages import Graph
from tandem.graph.plan import step_of
from tandem.stages._run import run_stage


def write_split(
    paths: Paths,
    split: str,
    ids: Sequence[str],
    captions: Sequence[str],
    folder: str = "",
    size: tuple[int, int] = (8, 8),
) -> None:
    """Rows whose images lie in `folder` of the competition, all of one width and height."""
    n, (width, height) = len(ids), size
    images = {"id": list(ids), "file": [f"{folder}{name}" for name in ids], "width": [width] * n}
    images |= {"height": [height] * n, "bytes": [1] * n, "sha": list(ids), "hash": [bytes(HASH_BYTES)] * n}
    write_images(paths.images(split), images)
    write_captions(paths.captions(split), list(ids), list(captions))


def write_folds(paths: Paths, ids: Sequence[str], folds: Sequence[int]) -> None:
    """The fold of each row, and a group of its own."""
    rows = (f"{name},{fold},{i}\n" for i, (name, fold) in enumerate(zip(ids, folds, strict=True)))
    write_text(paths.folds, "id,fold,group\n" + "".join(rows))


def write_competition(paths: Paths, names: Sequence[str], **changes: object) -> None:
    """competition.toml with these labels."""
    values = {"id": "id", "caption": "caption", "images": "data", "most": len(names), "experiments": ["concat"]}
    labels = {"format": "separated", "column": "labels", "separator": "|", "names": list(names)}
    write_text(paths.competition, to_toml(Competition.model_validate(values | {"labels": labels} | changes)))


def write_experiment(paths: Paths, name: str, experiment) -> None:
    """configs/NAME.toml with every setting of `experiment`."""
    values = json.loads(experiment.model_dump_json(exclude_none=True))
    lines = (f"{key} = {as_toml(value)}" for key, value in values.items())
    write_text(paths.configs / f"{name}.toml", "\n".join(lines) + "\n")


def as_toml(value: object) -> str:
    """On one line.

    >>> as_toml({"a": [1, "b"], "c": True})
    '{a = [1, "b"], c = true}'
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value)


def run_tasks(paths: Paths, *names: str, members: Sequence[str] = ()) -> None:
    """Runs these tasks of the graph in this process, in this order, where they are stale."""
    for name in names:
        step = step_of(Graph.open(paths).task(name, members))
        if step:
            run_stage(step.task.stage, paths, step)


def train(paths: Paths, *experiments: str) -> None:
    """Features, folds, predictions and scores of these experiments."""
    graph = Graph.open(paths)
    for name in experiments:
        encoders = (f"features {encoder.slug}" for encoder in graph.experiments[name].encoders)
        run_tasks(paths, *encoders, f"train {name}", f"decode {name}")


def fake_features(paths: Paths, experiment, split: str, values) -> None:
    """Writes `values`, by position of the encoder, (n, views, ...), as the features of a split."""
    from tandem.data.split_tables import read_images
    from tandem.features.feature_store import write_features

    ids = read_images(paths.images(split))["id"]
    for encoder, array in zip(experiment.encoders, values, strict=True):
        artifact = Graph.open(paths).features(encoder, split)
        write_features(paths.features(encoder.slug, split), ids, lambda s, a=array: [a[s:]], artifact.made_from, "rows")


def changed_json(file, **values) -> None:
    from tandem.artifacts.atomic_io import read_json

    write_json(file, read_json(file) | values)

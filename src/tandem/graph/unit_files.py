"""Which files a unit of work reads and may write, for machines that do not share the folder of the run."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tandem.artifacts.paths import SPLITS, Paths
from tandem.config.encoders import Encoder
from tandem.config.experiments import Experiment, FinetuneExperiment
from tandem.config.own_code import code_files
from tandem.data.split_tables import read_image_rows
from tandem.features.shards import Shard
from tandem.graph.declared_stages import Graph
from tandem.graph.experiment_dir import Experiments
from tandem.graph.task import Step
from tandem.graph.units import folds_of
from tandem.runtime.unit import Unit

NEVER = ("scan.parquet", "checked.parquet")  # in build/, read by the check alone


def with_files(graph: Graph, unit: Unit, step: Step) -> Unit:
    """The unit of this step with the names of its files, where it can run on another machine: a fold or a shard of
    features; any other stays as it is."""
    paths = graph.paths
    if unit.function.endswith(":fit_fold"):
        k, seed = unit.args[2:4]
        artifact = next(one for number, of_seed, one in folds_of(step) if (number, of_seed) == (k, seed))
        reads, writes = _read_by_fold(paths, step.task.config), [*artifact.files, artifact.record]
    elif unit.function.endswith(":compute_shard"):
        (shard,) = unit.args
        reads, writes = _read_by_shard(paths, shard), shard.files(paths)
    else:
        return unit
    return replace(unit, reads=_names(reads), writes=tuple(map(str, writes)))


def _names(files: Iterable[Path]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(file) for file in files if file.is_file()))


def _tables(paths: Paths) -> Iterator[Path]:
    yield from sorted(file for file in paths.build.glob("*.parquet") if file.name not in NEVER)
    yield from (paths.competition, paths.folds, paths.folds_record)
    yield from sorted(paths.input.glob("*.py"))  # a metric of the user's own


def _images(paths: Paths, split: str) -> list[Path]:
    table = paths.images(split)
    return [paths.input / file for file in read_image_rows(table)["file"]] if table.exists() else []


def _read_by_shard(paths: Paths, shard: Shard) -> Iterator[Path]:
    yield from _tables(paths)
    for one in shard.wanted:
        yield from _weights(one.encoder)
    if shard.wanted[0].encoder.reads == "image":
        for split, start, stop in shard.rows:
            yield from _images(paths, split)[start:stop]


def _read_by_fold(paths: Paths, experiment: Experiment) -> Iterator[Path]:
    yield from _tables(paths)
    yield from _read_by(paths, experiment)
    if experiment.teacher:
        yield paths.run(experiment.teacher)
        yield from sorted(paths.models_dir(experiment.teacher).glob("fold*.safetensors"))
        yield from _read_by(paths, Experiments(paths)[experiment.teacher].config)


def _read_by(paths: Paths, experiment: Experiment) -> Iterator[Path]:
    for encoder in experiment.encoders:
        yield from sorted(paths.features(encoder.slug, "any").parent.glob(f"{encoder.slug}.*.*"))
    for added in experiment.features:
        yield from sorted(paths.added_features(added.name).glob("*"))
    for network in (*experiment.pretrained, *([experiment.pixel_network] if experiment.pixel_network else [])):
        yield from _weights(network)
    yield from (paths.root / name for name in code_files(paths.root, experiment.own_code))
    for split in SPLITS if experiment.pixel_network else ():
        yield from _images(paths, split)


def _weights(network: Encoder | FinetuneExperiment) -> Iterator[Path]:
    """A file or folder of pretrained weights; none of those of a package or the hub, which each node has or loads."""
    for name in dict.fromkeys((network.weights_name, network.model.rpartition(":")[2])):
        path = Path(name)
        if name and path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.is_file())
        elif name and path.is_file():
            yield path

"""Features of several encoders in one pass, in shards: the same files as one encoder after the other."""

import contextlib
from collections import namedtuple
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import toy
from checked import write_competition, write_experiment, write_split

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.config.encoders import CaptionEncoder, ImageEncoder, TrunkEncoder
from tandem.config.experiments import FusionExperiment
from tandem.data import image_loader
from tandem.features import feature_store, shards
from tandem.features.image_encoder import load_networks
from tandem.features.shards import Shard, put_together, run_shard, split_work
from tandem.graph.declared_stages import Graph
from tandem.graph.plan import step_of
from tandem.graph.units import wanted_by
from tandem.runtime import torch_setup
from tandem.runtime.executor import LocalPool
from tandem.runtime.unit import Unit
from tandem.stages import features as stage

ROWS = {"train": 20, "test": 6}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder with photos, captions, weights and one experiment of four encoders."""
    folder = tmp_path_factory.mktemp("drawn")
    with contextlib.chdir(folder):
        paths = Paths("toy")
        write_competition(paths, toy.NAMES, experiments=["all"])
        weights = toy.tiny_backbone(Path("tiny.safetensors"))
        first = 0
        for split, rows in ROWS.items():
            ids = [f"{i}.jpg" for i in range(first, first + rows)]
            for i, name in enumerate(ids):
                toy.draw(paths.input / "data" / name, bool(i % 2), first + i)
            write_split(paths, split, ids, ["a cat"] * rows, folder="data/", size=(48, 40))
            first += rows
        trunk = TrunkEncoder(model="test_efficientnet", weights=weights, size=64, tune="blocks.4")
        image = ImageEncoder(model="test_efficientnet", weights=weights, size=32, pool="avg")
        whole = ImageEncoder(model="test_efficientnet", weights=weights, size=64, mirror=True)  # the trunk's network
        caption = CaptionEncoder(model=toy.tiny_sentences(Path("tiny")), max_tokens=8)
        write_experiment(
            paths, "all", FusionExperiment(kind="fusion", trunk=trunk, frozen=(image, whole), caption=caption)
        )
    return folder


@pytest.fixture
def paths(drawn, tmp_path, monkeypatch):
    """Those in the folder, with a place of its own for features; a file of a part has 4 rows."""
    monkeypatch.chdir(drawn)
    (drawn / "features").unlink(missing_ok=True)
    (tmp_path / "features").mkdir()
    (drawn / "features").symlink_to(tmp_path / "features")
    for module in (feature_store, shards):
        monkeypatch.setattr(module, "CHUNK", 4)
    monkeypatch.setattr(torch_setup, "has_bfloat16", lambda kind: False)
    return Paths("toy")


def steps(paths, reads="image"):
    graph = Graph.open(paths)
    return [
        step_of(graph.task(f"features {encoder.slug}"))
        for encoder in graph.experiments["all"].encoders
        if encoder.reads == reads
    ]


def images(paths):
    return [one for step in steps(paths) for one in wanted_by(paths, step)]


def contents(paths) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(Path("features/toy").glob("*.npy"))}


def one_after_another(paths) -> dict[str, bytes]:
    for step in steps(paths):
        stage.run(paths, step)
    found = contents(paths)
    for file in Path("features/toy").iterdir():
        file.unlink()
    return found


def test_one_pass_decodes_each_image_once_and_writes_the_files_of_one_pass_for_each_encoder(paths, monkeypatch):
    apart, opened = one_after_another(paths), []
    load = image_loader.load_rgb
    monkeypatch.setattr(image_loader, "load_rgb", lambda path: opened.append(path.name) or load(path))
    stage.run(paths, *steps(paths))
    assert contents(paths) == apart and len(apart) == 6
    assert sorted(opened) == sorted(f"{i}.jpg" for i in range(26))
    assert steps(paths) == [None, None, None]


def test_a_network_that_stands_frozen_and_as_a_trunk_is_computed_once(paths):
    small, trunk, whole = (encoder for encoder in Graph.open(paths).experiments["all"].encoders[:3])
    encoders = sorted((small, trunk, whole), key=lambda cfg: (cfg.size, cfg.kind))
    assert [cfg.kind for cfg in encoders] == ["image", "image", "trunk"]
    networks = load_networks(encoders)
    assert [sorted(network.views) for network in networks] == [
        [encoders[0].slug],
        sorted(cfg.slug for cfg in encoders[1:]),
    ]


def test_a_disk_that_is_too_small_is_refused_before_features_are_written(paths, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10, 9, 10**9))
    with pytest.raises(OSError, match=r"features of .*: 0.0 GB more on disk .*, but 1.0 GB are free; make room"):
        stage.run(paths, *steps(paths))
    assert not list(Path("features/toy").rglob("*.npy"))


def test_large_features_say_how_much_they_take_before_they_are_written(paths, monkeypatch):
    before = steps(paths)
    said = {}

    def say(line: str) -> None:
        slug = line.split()[2]
        said[slug] = line, list(Path("features/toy").glob(f"{slug}.*/*/*.npy"))

    monkeypatch.setattr(shards, "log_line", say)
    monkeypatch.setattr(shards, "SAID_GB", 0.0)
    stage.run(paths, *steps(paths))
    assert said.keys() == {step.task.subject for step in before}
    for slug, (line, files) in said.items():
        expected = f"features of {slug} take 0.0 GB on disk (features/toy); make clean-cache removes them"
        assert (line, files) == (expected, [])


@pytest.mark.parametrize("number", [1, 3, 7])
def test_any_number_of_shards_in_any_order_gives_the_same_bytes(paths, number):
    apart = one_after_another(paths)
    wanted = images(paths)
    parts = split_work(paths, wanted, number)
    assert len(parts) == number
    assert sum(shard.number_of_rows for shard in parts) == 26
    for shard in reversed(parts):
        run_shard(paths, shard)
        assert all(file.is_file() for file in shard.files(paths))
    put_together(paths, wanted)
    assert contents(paths) == apart


def test_shards_are_of_about_one_size_and_end_at_multiples_of_what_a_file_holds(paths):
    parts = [shard.rows for shard in split_work(paths, images(paths), 3)]
    assert parts == [(("train", 0, 8),), (("train", 8, 16),), (("train", 16, 20), ("test", 0, 6))]


@pytest.mark.slow
def test_shards_in_processes_of_one_thread_give_the_same_bytes(paths, drawn, monkeypatch):
    monkeypatch.undo()  # processes have none of it
    monkeypatch.chdir(drawn)
    monkeypatch.setenv("TANDEM_THREADS", "2")
    apart, wanted = one_after_another(paths), images(paths)
    with LocalPool(paths) as pool:
        for split, rows in ROWS.items():
            shard = Shard(tuple(wanted), ((split, 0, rows),))
            pool.submit(Unit(split, split, "tandem.stages.features:compute_shard", (shard,)))
        assert len(list(pool.results())) == 2
    put_together(paths, wanted)
    assert contents(paths) == apart


def test_a_killed_run_computes_only_the_rows_that_are_missing(paths, monkeypatch):
    apart, wanted = one_after_another(paths), images(paths)
    first, second = split_work(paths, wanted, 2)
    run_shard(paths, first)
    trunk = wanted[0].parts(paths)
    trunk.file(4).unlink()  # of one encoder alone
    opened, load = [], image_loader.load_rgb
    monkeypatch.setattr(image_loader, "load_rgb", lambda path: opened.append(path.name) or load(path))
    for shard in split_work(paths, wanted, 1):
        run_shard(paths, shard)
    put_together(paths, wanted)
    assert contents(paths) == apart
    assert sorted(opened) == sorted(f"{i}.jpg" for i in (*range(4, 8), *range(12, 26)))


def test_features_are_not_put_together_while_rows_are_missing(paths):
    wanted = images(paths)
    run_shard(paths, split_work(paths, wanted, 2)[1])
    with pytest.raises(ValueError, match="the rows from 1 on are not computed; run make features"):
        put_together(paths, wanted)


def test_what_was_computed_with_other_settings_is_removed(paths):
    wanted = images(paths)
    old = wanted[0].parts(paths).folder.with_name("old")
    old.mkdir(parents=True)
    split_work(paths, wanted, 1)
    assert not old.exists()


def test_seconds_and_rows_stand_beside_features_and_not_in_their_key(paths):
    stage.run(paths, *steps(paths))
    stage.run(paths, *steps(paths, "caption"))
    graph = Graph.open(paths)
    for encoder in graph.experiments["all"].encoders:
        for split, rows in ROWS.items():
            artifact = graph.features(encoder, split)
            record = read_json(artifact.record)
            assert record["rows"] == rows and record["seconds"] > 0
            assert record["key"] == artifact.key and "seconds" not in record["inputs"]
            assert np.load(artifact.files[0]).shape[0] == rows


def test_seconds_are_those_of_one_core_whatever_the_number_of_threads_is(paths, monkeypatch):
    def seconds(n: int) -> float:
        monkeypatch.setenv("TANDEM_THREADS", str(n))
        monkeypatch.setattr(shards, "time", SimpleNamespace(perf_counter=count().__next__))  # each block takes 1 s
        wanted = images(paths)[:1]
        for shard in split_work(paths, wanted, 1):
            run_shard(paths, shard)
        put_together(paths, wanted)
        record = wanted[0].parts(paths).path.with_suffix(".meta.json")
        found = read_json(record)["seconds"]
        record.unlink()
        return found

    assert seconds(4) == 4 * seconds(1) > 0

"""Units of work, run as soon as cores are free."""

import os
import time
from pathlib import Path

import pytest
from checked import write_competition, write_experiment, write_folds, write_split
from toy import tiny_backbone

from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.config.encoders import ImageEncoder
from tandem.config.experiments import HeadExperiment
from tandem.data.split_tables import read_image_rows
from tandem.features.feature_store import Parts
from tandem.graph.costs import Costs, sizes_of
from tandem.graph.declared_stages import Graph
from tandem.graph.plan import step_of
from tandem.graph.unit_files import with_files
from tandem.graph.units import feature_units, units
from tandem.runtime.executor import LocalPool, first_that_fits
from tandem.runtime.unit import Unit

HERE = "test_executor"


def note(folder: Path, name: str) -> None:
    """Leaves a file that says how many threads it was to compute with."""
    (folder / name).write_text(os.environ["TANDEM_THREADS"])


def wait(folder: Path, name: str) -> None:
    note(folder, name)
    time.sleep(60)


def fail(folder: Path) -> None:
    while not (folder / "begun").exists():
        time.sleep(0.05)
    raise ValueError("no such colour")


def unit(name: str, function: str = "note", **values) -> Unit:
    return Unit(name, name, f"{HERE}:{function}", (name,) if function != "fail" else (), **values)


def names(units) -> list[str]:
    return [one.name for one in units]


def test_of_the_units_that_fit_the_one_with_the_lowest_rank_begins():
    fold, features = unit("fold", rank=1), unit("features", rank=2)
    assert first_that_fits([features, fold], [], 2, 6, False) == fold
    assert first_that_fits([features], [fold], 2, 6, False) == features  # beside the last fold
    assert first_that_fits([features], [fold, fold], 2, 6, False) is None


def test_a_unit_waits_for_as_many_cores_as_it_has_threads_and_others_pass_it():
    wide, narrow = unit("wide", threads=2), unit("narrow", rank=1)
    assert first_that_fits([wide, narrow], [narrow], 2, 6, False) == narrow
    assert first_that_fits([unit("wider", threads=16)], [], 2, 6, False).name == "wider"  # all cores are enough


def test_memory_and_a_gpu_limit_what_runs_at_once():
    assert first_that_fits([unit("c")], [unit("a"), unit("b")], 16, 2, False) is None
    assert first_that_fits([unit("b", gpus=1)], [unit("a", gpus=1)], 16, 6, True) is None
    assert first_that_fits([unit("b")], [unit("a", gpus=1)], 16, 6, True).name == "b"


def test_without_a_gpu_folds_of_networks_run_side_by_side():
    assert first_that_fits([unit("b", gpus=1)], [unit("a", gpus=1)], 2, 6, False).name == "b"


def in_this_process(function, *args):
    return function(*args)


def test_a_unit_computes_with_its_threads_and_the_process_is_as_before(tmp_path, monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "4")
    with LocalPool(tmp_path, run=in_this_process) as pool:
        pool.submit(unit("a", threads=3))
        pool.submit(unit("b", threads=8))
        assert sorted(names(pool.results())) == ["a", "b"]
    assert (tmp_path / "a").read_text() == "3"
    assert os.environ["TANDEM_THREADS"] == "4"


def hold(folder: Path) -> None:
    end = time.monotonic() + 20
    while not (folder / "go").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def release(folder: Path) -> None:
    (folder / "go").touch()


def test_a_unit_that_computes_nothing_waits_for_no_core(tmp_path, monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "2")
    monkeypatch.setattr("tandem.runtime.resources.memory_gb", lambda: 24.0)
    held = [Unit(name, name, f"{HERE}:hold") for name in ("a", "b")]
    with LocalPool(tmp_path, run=in_this_process) as pool:
        for one in (*held, Unit("c", "c", f"{HERE}:release", threads=0, here=True, rank=1)):
            pool.submit(one)
        assert sorted(names(pool.results())) == ["a", "b", "c"]


def test_more_units_can_be_submitted_while_others_end(tmp_path):
    with LocalPool(tmp_path, run=in_this_process) as pool:
        pool.submit(unit("a"))
        ended = []
        for one in pool.results():
            ended.append(one.name)
            if one.name == "a":
                pool.submit(unit("b"))
    assert ended == ["a", "b"]


def test_the_error_of_one_unit_ends_the_others_at_once_and_is_raised(tmp_path, monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "2")
    monkeypatch.syspath_prepend(Path(__file__).parent)
    start = time.monotonic()
    with pytest.raises(ValueError, match="no such colour"), LocalPool(tmp_path) as pool:
        for one in (unit("begun", "wait"), unit("wrong", "fail"), unit("later")):
            pool.submit(one)
        list(pool.results())
    assert time.monotonic() - start < 30
    assert not (tmp_path / "later").exists()


@pytest.fixture
def graph(tmp_path, monkeypatch) -> Graph:
    """Two heads on images, 3,000 rows in 5 folds."""
    monkeypatch.chdir(tmp_path)
    paths, ids = Paths("toy"), [f"{i}.jpg" for i in range(3000)]
    write_split(paths, "train", ids, [""] * 3000)
    write_folds(paths, ids, [i % 5 for i in range(3000)])
    write_competition(paths, ["cat"], experiments=["small", "large"], test="", folds={"n": 5})
    weights = tiny_backbone(Path("tiny.safetensors"))
    for name, size in (("small", 32), ("large", 64)):
        encoder = ImageEncoder(model="test_efficientnet", weights=weights, size=size)
        write_experiment(paths, name, HeadExperiment(kind="head", image=encoder))
    return Graph.open(paths)


def step(graph: Graph, task: str):
    return step_of(graph.task(task))


def test_encoders_of_images_share_shards_of_one_thread_and_each_puts_its_own_features_together(graph, monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "2")
    monkeypatch.setattr("tandem.runtime.resources.memory_gb", lambda: 24.0)
    tasks = [f"features {graph.experiments[name].encoders[0].slug}" for name in ("small", "large")]
    found = feature_units(graph.paths, [step(graph, task) for task in tasks], 2)
    shards, small, large = *[found[tasks[0]][:-1]], found[tasks[0]][-1], *found[tasks[1]]
    assert names(shards) == [f"{tasks[0]} shard 1 of 2", f"{tasks[0]} shard 2 of 2"]
    assert [one.threads for one in shards] == [1, 1]
    assert {wanted.encoder.size for wanted in shards[0].args[0].wanted} == {32, 64}
    assert small.needs == large.needs == tuple(names(shards))


def test_with_fewer_shards_than_cores_each_has_several_threads(graph, monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "8")
    monkeypatch.setattr("tandem.runtime.resources.memory_gb", lambda: 24.0)
    task = f"features {graph.experiments['small'].encoders[0].slug}"
    *shards, _ = feature_units(graph.paths, [step(graph, task)], 8)[task]
    assert [one.threads for one in shards] == [4, 4]  # 3,000 rows are two shards


def test_after_a_killed_run_only_the_features_that_are_missing_cost_time(graph):
    found = step(graph, f"features {graph.experiments['small'].encoders[0].slug}")
    costs, (one,) = Costs(sizes_of(graph), {}), units(found)
    assert costs.work(one, found).amount == 3000
    (artifact,) = found.stale
    parts = Parts(artifact.files[0], 3000, artifact.key)
    write_text(parts.file(512), "")
    assert costs.work(one, found).amount == 3000 - 512
    for start in parts.missing():
        write_text(parts.file(start), "")
    assert costs.work(one, found).amount == 0


def test_a_machine_that_computes_a_shard_is_sent_the_images_of_its_rows_alone(graph):
    images = [graph.paths.input / file for file in read_image_rows(graph.paths.images("train"))["file"]]
    for file in images:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    task = f"features {graph.experiments['small'].encoders[0].slug}"
    *shards, _ = feature_units(graph.paths, [step(graph, task)], 2)[task]
    sent = [set(with_files(graph, one, step(graph, task)).reads) & set(map(str, images)) for one in shards]
    (of_first,) = shards[0].args[0].rows
    assert sent[0] == set(map(str, images[of_first[1] : of_first[2]]))
    assert not sent[0] & sent[1] and len(sent[0] | sent[1]) == 3000


def test_each_fold_is_a_unit_of_so_many_threads_as_in_every_run_and_the_last_unit_needs_them_all(graph, monkeypatch):
    monkeypatch.setattr("tandem.runtime.resources.memory_gb", lambda: 24.0)
    monkeypatch.setenv("TANDEM_THREADS", "2")
    *folds, last = units(step(graph, "train small"))
    assert names(folds) == [f"small fold {k}" for k in range(5)] and last.needs == tuple(names(folds))
    assert {one.threads for one in folds} == {1}
    monkeypatch.setenv("TANDEM_THREADS", "16")
    assert {one.threads for one in units(step(graph, "train small"))} == {3}

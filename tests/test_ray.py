"""ENGINE=ray: the units of a run on the nodes of a real cluster, two on this machine."""

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from in_turn import in_turn
from test_command_line import MADE, content
from test_plan import write_toy

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.runtime.engines import chosen_engine
from tandem.runtime.node_files import Sender, unpack
from tandem.runtime.ray_engine import RayCluster
from tandem.runtime.unit import Unit
from tandem.runtime.wrong_values import WrongValue
from tandem.stages._run import bring_up_to_date

pytest.importorskip("ray")
HERE = Path(__file__).parent
WHERE = {"engine", "node", "engine_per_fold", "node_per_fold"}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each."""
    from ray.cluster_utils import Cluster

    paths = os.pathsep.join((str(HERE), str(HERE.parent / "src")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")
        two = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        two.add_node(num_cpus=1)
        yield two
        two.shutdown()


@pytest.fixture
def engine(cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    monkeypatch.setenv("TANDEM_ENGINE", "ray")
    monkeypatch.setenv("TANDEM_THREADS", "2")
    return cluster


def made(folder: Path) -> dict[str, object]:
    """What a run has written, but for what was measured and where it ran."""
    files = (file for top in (*MADE, "features") for file in (folder / top).rglob("*") if file.is_file())
    found = {str(file.relative_to(folder)): content(file) for file in files}
    return {name: without(value) for name, value in found.items()}


def without(value: object) -> object:
    return {k: v for k, v in value.items() if k not in WHERE} if isinstance(value, dict) else value


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """What the pool of this machine writes."""
    folder = tmp_path_factory.mktemp("local")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANDEM_THREADS", "2")
        patch.setattr("tandem.stages._run.run_in_new_process", in_turn)
        patch.setattr("tandem.runtime.executor.LocalPool.width", 1)
        write_toy(Paths("toy"))
        bring_up_to_date("toy", "submit")
    return folder


def nodes(paths: Paths) -> set[str]:
    return {node for name in ("looks", "words") for node in read_json(paths.run(name))["node_per_fold"]}


def submit_toy(folder: Path, monkeypatch) -> Paths:
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("tandem.stages._run.run_in_new_process", in_turn)
    write_toy(Paths("toy"))
    bring_up_to_date("toy", "submit")
    return Paths("toy")


@pytest.mark.slow
def test_a_cluster_writes_the_files_of_the_local_pool_and_the_runs_say_where(engine, local, tmp_path, monkeypatch):
    paths = submit_toy(tmp_path / "shared", monkeypatch)
    assert made(tmp_path / "shared") == made(local)
    assert set(read_json(paths.run("looks"))["engine_per_fold"]) == {"ray"}
    assert set(read_json(local / "oof/toy/looks/run.json")["engine_per_fold"]) == {"local"}
    assert all("/" in node for node in nodes(paths))
    assert not list(paths.build.glob(".ray-*"))


def test_nodes_that_do_not_see_the_folder_are_sent_what_they_read_and_send_back_what_they_wrote(
    engine, local, tmp_path, monkeypatch
):
    seen = []
    monkeypatch.setattr(RayCluster, "folder", str(tmp_path / "nowhere"))
    monkeypatch.setattr(Sender, "parcels", lambda self, names, real=Sender.parcels: seen.append(1) or real(self, names))
    submit_toy(tmp_path / "apart", monkeypatch)
    assert seen and made(tmp_path / "apart") == made(local)


def unit(name: str) -> Unit:
    return Unit(name, "task", "slow_unit:slow", (name,), reads=("something",))


def wait_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_unit_whose_node_is_lost_runs_again_on_another(engine, tmp_path):
    engine.add_node(num_cpus=1)
    begun = []
    with chosen_engine()(tmp_path, lambda one, node: begun.append((one.name, node))) as executor:
        for name in ("a", "b", "c"):
            executor.submit(unit(name))
        wait_for(lambda: len(list(tmp_path.glob("?.*"))) == 3)
        own = executor.ray.get_runtime_context().get_node_id()  # this process is on one of them
        lost = next(node for node in engine.worker_nodes if node.node_id != own)
        (of_lost,) = (file for file in tmp_path.glob("?.*") if file.name.endswith(f"-{lost.node_id[:4]}"))
        engine.remove_node(lost, allow_graceful=False)
        wait_for(lambda: not Path(f"/proc/{of_lost.read_text()}").exists())
        (tmp_path / "go").touch()
        assert sorted(one.name for one in executor.results()) == ["a", "b", "c"]
    assert all((tmp_path / name).exists() for name in ("a", "b", "c"))
    assert len(list(tmp_path.glob("?.*"))) == 4  # one of the three began on two nodes
    assert {name for name, _ in begun} == {"a", "b", "c"}


def test_each_gpu_of_a_node_has_a_job_with_its_part_of_the_cores(engine, tmp_path, monkeypatch):
    node = engine.add_node(num_cpus=8, num_gpus=4)
    try:
        with chosen_engine()(tmp_path) as executor:
            fold = Unit("a", "a", "", threads=16, gpus=1)
            wait_for(lambda: executor.ray.cluster_resources().get("GPU") == 4)
            assert executor._share(fold) == (2, 1) and executor.width == 4
            assert executor._share(replace(fold, gpus=0)) == (8, 0)
            monkeypatch.setenv("TANDEM_DEVICE", "cpu")
            assert executor._share(fold) == (8, 0) and executor.width >= 9
    finally:
        engine.remove_node(node)


def test_an_interrupt_leaves_no_process(engine, tmp_path):
    with pytest.raises(KeyboardInterrupt), chosen_engine()(tmp_path) as executor:
        executor.submit(unit("a"))
        wait_for(lambda: [file for file in tmp_path.glob("a.*") if file.read_text()])
        raise KeyboardInterrupt
    (process,) = (int(file.read_text()) for file in tmp_path.glob("a.*"))
    wait_for(lambda: not Path(f"/proc/{process}").exists())
    assert not (tmp_path / "a").exists()


def test_an_unknown_engine_is_refused_with_those_there_are(monkeypatch):
    monkeypatch.setenv("TANDEM_ENGINE", "rya")
    with pytest.raises(WrongValue, match="ENGINE=rya: there is no such engine; .*ray"):
        chosen_engine()


@pytest.mark.parametrize(
    ("address", "message"), [("127.0.0.1:1", "nothing answers there"), ("gpu-box", "expected auto or HOST:PORT")]
)
def test_an_address_where_no_cluster_is_is_refused_at_once(tmp_path, monkeypatch, address, message):
    monkeypatch.setenv("TANDEM_ENGINE", "ray")
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"RAY_ADDRESS={address}: {message}"), chosen_engine()(tmp_path) as executor:
        executor.submit(unit("a"))
    assert not list(tmp_path.iterdir())


def test_files_that_are_sent_arrive_whole_and_only_what_changed_is_sent_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tandem.runtime.node_files.PARCEL", 8)
    files = {"a": b"12345", "sub/b": b"", "c": b"x" * 20, "d": b"67"}
    for name, content_ in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(content_)
    stored = []
    sender = Sender(lambda piece: stored.append(piece.copy()) or len(stored) - 1)
    for _ in range(2):
        for parcel in sender.parcels(files):
            unpack(parcel, stored.__getitem__, tmp_path / "node")
    assert {name: (tmp_path / "node" / name).read_bytes() for name in files} == files
    assert [len(piece) for piece in stored] == [5, 8, 8, 4, 2]
    with pytest.raises(ValueError, match="outside the folder of the run"):
        sender.parcels(["../weights.safetensors"])

"""One network trained by several processes: the gradients and weights of one."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_competition import write_small
from test_training_steps import PLAIN, Memory, X, Y, toy
from torch import distributed as dist
from two_processes import trained

from tandem.artifacts.predictions import Predictions
from tandem.models.base import TrainingRun
from tandem.models.data_parallel import ALONE, Split, processes, split, together
from tandem.models.losses import Targets
from tandem.models.trainer import fit

HERE = Path(__file__).parent
ENV = os.environ | {"PYTHONPATH": f"{HERE.parent / 'src'}:{HERE}", "TANDEM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("n", [5, 6, 7])
def test_each_row_has_one_process_which_has_the_row_that_it_is_mixed_with_too(n, world):
    parts = [Split(rank, world).positions(n) for rank in range(world)]
    assert sorted(np.concatenate(parts)) == list(range(n))
    assert all(sorted(n - 1 - part) == sorted(part) for part in parts)


def test_one_process_is_alone():
    assert split() is ALONE and ALONE.own(values := np.arange(3)) is values


@pytest.fixture
def group():
    """A group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_process_of_several_trains_whole_batches_unless_they_train_together(group, monkeypatch):
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    assert processes() == Split(0, 2) and split() is ALONE
    with together():
        assert split() == Split(0, 2)
    assert split() is ALONE


def test_several_processes_go_on_with_whole_batches_where_one_had_to_make_them_smaller(group, tmp_path):
    def stop(entry):
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    cfg, clock = PLAIN.model_copy(update={"epochs": 3, "batch": 8}), iter(range(0, 6000, 60))
    alone = replace(toy(Memory(most=4)), batches=lambda epoch: [(X, Targets(Y))], steps=1)
    with pytest.raises(KeyboardInterrupt):
        fit(alone, cfg, TrainingRun(0, tmp_path / "c", stop, clock=lambda: next(clock)))
    own = Split(0, 2).positions(8)
    one_of_two = replace(toy(memory := Memory(most=4)), steps=1, split=Split(0, 2), rows=8)
    one_of_two = replace(one_of_two, batches=lambda epoch: [(X[own], Targets(Y[own]))])
    log = fit(one_of_two, cfg, TrainingRun(0, tmp_path / "c"))
    assert [entry.get("accumulate") for entry in log] == [2, None, None] and memory.seen == [4, 4]


@pytest.fixture(scope="module")
def of_two(tmp_path_factory) -> tuple[Path, list[dict]]:
    """What each of two processes has trained."""
    from toy import tiny_backbone

    folder = tmp_path_factory.mktemp("two")
    tiny_backbone(folder / "tiny.safetensors")
    script = [sys.executable, str(HERE / "two_processes.py")]
    running = [subprocess.Popen([*script, str(rank), str(folder)], env=ENV) for rank in (0, 1)]
    assert [one.wait(100) for one in running] == [0, 0]
    return folder, [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("kind", ["finetune", "fusion"])
def test_two_processes_train_the_weights_of_one(kind, of_two):
    folder, results = of_two
    alone, (first, second) = trained(folder, kind), (result[kind] for result in results)
    assert list(first) == list(alone) and all(torch.equal(first[name], second[name]) for name in first)
    for name, expected in alone.items():
        close = 1e-5 if name.startswith("gradient") else 1e-3
        assert torch.allclose(first[name].float(), expected.float(), rtol=1e-3, atol=close), name


# ---- torchrun


FIRST = """
import sys
from pathlib import Path

import torch
from torch import distributed as dist
from two_processes import trained

from tandem.models.data_parallel import processes
from tandem.training.torchrun import run_by_all


class Job:
    def fitted(self, k):
        dist.all_reduce(torch.ones(1))  # a step in which it waits for the first process


def fail():
    processes().from_first((Job(), 0))
    raise OSError("no space left on device")


class Network(Job):
    def fitted(self, k):
        import torch.distributed.nn  # as parts of torch do when a network is trained

        super().fitted(k)


def one_step():
    processes().from_first((Network(), 0))
    Network().fitted(0)
    return 0


def threads_of_gloo():
    names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return [name for name in names if "gloo" in name]


def train_alone():
    trained(Path(sys.argv[1]), "finetune")
    return 0


if __name__ == "__main__":
    try:
        status = run_by_all({"fail": fail, "alone": train_alone, "step": one_step}[sys.argv[2]])
        sys.exit(status or " ".join(threads_of_gloo()) or 0)
    except OSError as error:
        sys.exit(f"error: {error}")
"""


def by_two(folder: Path, what: str) -> list[tuple[int, str]]:
    """(exit status, errors printed) of two processes that torchrun would start."""
    (folder / "first.py").write_text(FIRST)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = ENV | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    running = [
        subprocess.Popen([sys.executable, str(folder / "first.py"), str(folder), what], text=True,
                         env=env | {"RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE)
        for rank in ("0", "1")
    ]  # fmt: skip
    try:
        return [(one.wait(100), one.stderr.read()) for one in running]
    finally:
        for one in running:
            one.kill()
            one.wait()


def test_an_error_of_the_first_process_ends_the_others_in_the_middle_of_a_step(tmp_path):
    first, second = by_two(tmp_path, "fail")
    assert first[0] == second[0] == 1 and first[1].endswith("error: no space left on device\n")


def test_no_thread_of_the_connection_runs_when_the_processes_end(tmp_path):
    assert by_two(tmp_path, "step") == [(0, ""), (0, "")]


@pytest.mark.slow
def test_a_network_that_the_first_process_trains_by_itself_waits_for_no_other(tmp_path):
    from toy import tiny_backbone

    tiny_backbone(tmp_path / "tiny.safetensors")
    assert [status for status, _ in by_two(tmp_path, "alone")] == [0, 0]


def torchrun(*words: str) -> subprocess.Popen:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "tandem"]
    return subprocess.Popen([*launch, *words], env=ENV, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


TUNED = """kind = "finetune"
model = "test_efficientnet"
weights = "{weights}"
size = 32
[train]
epochs = 2
batch = 8
drop_path = 0.1
"""


@pytest.fixture
def small_tuned(tmp_path, monkeypatch) -> Path:
    """The small competition with an experiment of kind finetune."""
    write_small(tmp_path, folds=2)
    (tmp_path / "configs" / "tuned.toml").write_text(TUNED.format(weights=tmp_path / "tiny.safetensors"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_torchrun_trains_an_experiment_with_the_predictions_of_one_process(small_tuned):
    run = torchrun("train", "small", "--exps", "tuned words")
    printed, _ = run.communicate(timeout=300)
    assert run.returncode == 0, printed
    assert printed.count("train tuned: 2 folds") == printed.count("train words: 2 folds") == 1
    oof = Path("oof/small/tuned/oof.parquet")
    found = Predictions.read(oof).proba
    record = json.loads(Path("models/small/tuned/fold0.json").read_text())
    assert record["device"] == "cpu" and record["rows_per_second"] > 0
    assert not list(Path("models").rglob("*.checkpoint"))
    one = subprocess.run([sys.executable, "-m", "tandem", "train", "small", "--exps", "tuned"], env=ENV, text=True,
                         capture_output=True)  # fmt: skip
    assert "Nothing to be done for 'train'" in one.stdout, one  # the number of processes is in no key
    shutil.rmtree("models/small/tuned")
    subprocess.run([sys.executable, "-m", "tandem", "train", "small", "--exps", "tuned"], env=ENV, check=True)
    assert np.allclose(Predictions.read(oof).proba, found, atol=0.02)


@pytest.mark.slow
def test_a_killed_process_ends_the_others(small_tuned):
    config = small_tuned / "configs" / "tuned.toml"
    config.write_text(config.read_text().replace("epochs = 2", "epochs = 10000"))
    run = torchrun("train", "small", "--exps", "tuned")
    log = small_tuned / "models" / "small" / "tuned"
    until = time.monotonic() + 200
    while run.poll() is None and not log.exists() and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(5)
    children = [int(n) for n in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]
    of_ranks = [pid for pid in children if b"tandem" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(of_ranks) == 2
    os.kill(of_ranks[1], signal.SIGKILL)
    printed, _ = run.communicate(timeout=120)
    assert run.returncode != 0 and not any(Path(f"/proc/{pid}").exists() for pid in of_ranks), printed

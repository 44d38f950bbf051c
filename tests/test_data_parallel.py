"""One network trained by several processes: the gradients and weights of one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from two_processes import trained

from tandem.models.data_parallel import ALONE, Split, split

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

"""Torch on this machine."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch

import tandem
from tandem.runtime import torch_setup
from tandem.runtime.torch_setup import autocast, device, has_bfloat16, single_thread, use_threads


@pytest.mark.parametrize(
    ("instructions", "expected"), [("avx2", torch.float32), ("avx512_bf16", torch.bfloat16), ("bf16", torch.bfloat16)]
)
def test_a_cpu_computes_in_bfloat16_only_if_it_has_instructions_for_it(monkeypatch, instructions, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instructions: True})
    has_bfloat16.cache_clear()
    with autocast(torch.device("cpu")):
        assert (torch.eye(2) @ torch.eye(2)).dtype == expected
    has_bfloat16.cache_clear()


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_asking_for_the_device_leaves_the_number_of_threads(two_threads):
    device()
    assert torch.get_num_threads() == 2


def test_the_command_line_computes_with_the_threads_of_its_environment(two_threads, monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "1")
    use_threads()
    assert torch.get_num_threads() == 1


def test_only_one_module_sets_the_number_of_torchs_threads():
    """Elsewhere, a call in the middle of some work would end the one-thread rule of the threads that label images."""
    source = Path(tandem.__file__).parent
    assert [f.name for f in source.rglob("*.py") if "set_num_threads" in f.read_text()] == ["torch_setup.py"]


def test_threads_that_overlap_each_compute_alone_and_later_ones_have_the_number_from_before(two_threads):
    both, numbers = Barrier(2), []

    def work(_) -> None:
        with single_thread():
            both.wait()
            numbers.append(torch.get_num_threads())

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 2
    assert numbers == [1, 1] and torch.get_num_threads() == 2


def test_within_a_number_of_threads_torch_computes_with_it_and_with_the_number_before_afterwards(monkeypatch):
    monkeypatch.setenv("TANDEM_THREADS", "3")
    before = torch.get_num_threads()
    with torch_setup.use_threads_within(before + 1):
        assert (torch.get_num_threads(), torch_setup.threads()) == (before + 1, before + 1)
    assert (torch.get_num_threads(), torch_setup.threads()) == (before, 3)

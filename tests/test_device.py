"""The device that is chosen: by DEVICE=, by competition.toml, and what is refused."""

import os

import pytest
import torch

from tandem.__main__ import main
from tandem.artifacts.paths import Paths
from tandem.config.competition import load_competition, to_toml
from tandem.config.device import chosen_device
from tandem.graph.declared_stages import Graph
from tandem.runtime import torch_setup
from tandem.runtime.torch_setup import autocast, device, devices, low_precision
from tandem.runtime.wrong_values import WrongValue


@pytest.fixture
def two_gpus(monkeypatch):
    """CUDA as a machine with two GPUs reports it; nothing is computed on them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_make_passes_the_device_to_every_target():
    from test_makefile import make

    assert (
        'TANDEM_DEVICE="cuda:1" .venv/bin/python -m tandem train x' in make("train", "COMP=x", "DEVICE=cuda:1").stdout
    )
    assert "TANDEM_DEVICE" not in make("train", "COMP=x").stdout


@pytest.mark.parametrize("words", [["DEVICE=cuda:1"], ["--device", "cuda:1"]])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(words, capsys):
    assert main(["scores", "COMP=sample", *words]) == 2
    why = "error: DEVICE=cuda:1: there is no such device; there are: auto cpu; run: make scores COMP=sample DEVICE="
    assert capsys.readouterr().err.startswith(why)


def test_the_one_of_competition_toml_is_refused_by_its_file(submitted, capsys):
    file = submitted.competition
    file.write_text('device = "cuda"\n' + file.read_text())
    assert main(["scores", "small"]) == 2
    expected = f"error: {file}: device = 'cuda': there is no such device; there are: auto cpu\n"
    assert capsys.readouterr().err == expected
    assert main(["scores", "small", "DEVICE=cpu"]) == 0  # the command line is asked first
    file.write_text(file.read_text().replace('"cuda"', '"gpu"'))
    assert main(["scores", "small"]) == 2
    assert "expected auto, cpu, cuda, cuda:0 (or another number) or mps" in capsys.readouterr().err


def test_a_device_makes_nothing_stale(submitted):
    def keys() -> list[str]:
        graph = Graph.open(submitted)
        return [artifact.key for task in graph.tasks(graph.goal("submit", [])).values() for artifact in task.artifacts]

    file, before = submitted.competition, keys()
    file.write_text('device = "cpu"\n' + file.read_text())
    assert load_competition(file).device == "cpu" and keys() == before
    assert 'device = "cpu"' in to_toml(load_competition(file))
    with chosen_device("small", "cpu"):
        assert keys() == before


def test_it_is_chosen_for_one_command_and_for_the_processes_that_it_starts(two_gpus, monkeypatch):
    monkeypatch.delenv("TANDEM_DEVICE", raising=False)
    assert devices()[:3] == ["cpu", "cuda:0", "cuda:1"] and device().type == "cuda"
    with chosen_device("x", "cuda:1"):
        assert device() == torch.device("cuda:1") and os.environ["TANDEM_DEVICE"] == "cuda:1"
        with chosen_device("x", ""):  # make sets the variable
            assert device() == torch.device("cuda:1")
    assert device().type == "cuda"
    with pytest.raises(WrongValue, match="DEVICE=cuda:2: there is no such device; there are: cuda:0 cuda:1 auto cpu"):
        chosen_device("x", "cuda:2").__enter__()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device() == torch.device("cuda:1")


def test_a_gpu_without_bfloat16_computes_in_float16(monkeypatch):
    monkeypatch.setattr(torch_setup, "has_bfloat16", lambda kind: False)
    assert low_precision("cuda") is torch.float16
    assert low_precision("cpu") is None and low_precision("mps") is None
    with autocast(torch.device("cpu")):
        assert (torch.eye(2) @ torch.eye(2)).dtype == torch.float32


def test_paths_of_a_competition_that_is_not_there_are_no_device(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with chosen_device("nothing", ""):
        assert not Paths("nothing").competition.exists()

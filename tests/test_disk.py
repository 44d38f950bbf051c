"""Errors of the disk name the file and say what to do, whatever a library raises."""

import errno
import os
import resource

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from tandem.__main__ import main
from tandem.artifacts.atomic_io import write_text, write_with
from tandem.artifacts.digest_cache import DigestCache
from tandem.features.feature_store import read_features, write_features
from tandem.runtime.disk import about_disk, writing

TENSORS = {"a": np.zeros(10**5)}


@pytest.fixture
def small_files():
    """No file of this process may be larger than 4 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(bytes(10**5)),
        lambda path: save_file(TENSORS, path),
        lambda path: pq.write_table(pa.table({"a": np.random.default_rng(0).random(10**5)}), path),
    ],
    ids=["python", "safetensors", "pyarrow"],
)
def test_a_limit_of_the_disk_is_one_error_whatever_writes(tmp_path, small_files, write):
    message = r"a.bin: the limit of the size of files is reached \(.* free\); make room, .* it continues from here"
    with pytest.raises(OSError, match=message):
        write_with(tmp_path / "a.bin", write)
    assert list(tmp_path.iterdir()) == []


def test_the_error_says_how_much_is_needed_where_that_is_known(tmp_path):
    message = r"folder: the disk is full \(5.00 MB needed, [\d,.]+ [MG]B free\)"
    with pytest.raises(OSError, match=message), writing(tmp_path / "folder", 5_000_000):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/0"),
        OSError("100000 requested and 25584 written"),
    ],
)
def test_torch_and_numpy_name_no_cause_so_a_disk_without_room_is_it(tmp_path, monkeypatch, error):
    assert about_disk(error, tmp_path) == ""
    monkeypatch.setattr("tandem.runtime.disk._free", lambda folder: 100)
    assert "the disk is full" in about_disk(error, tmp_path)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EDQUOT, "the quota is used up"),
        (errno.EFBIG, "the limit of the size of files is reached"),
        (errno.EROFS, "the disk is read-only; make it writable"),
        (errno.EACCES, "no permission; change it"),
    ],
)
def test_other_errors_of_the_disk_are_named_too(number, words):
    assert about_disk(OSError(number, os.strerror(number), "a/b")).startswith(f"a/b: {words}")
    assert about_disk(ValueError("a is no number")) == about_disk(OSError(errno.EPIPE, "pipe")) == ""


def test_the_command_line_says_it(tmp_path, monkeypatch, capsys):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "build/a")

    monkeypatch.setattr("tandem.stages.new_model.main", full)
    assert main(["new-model", "NAME=mine"]) == 2
    assert "error: build/a: the disk is full" in capsys.readouterr().err


def test_features_that_are_cut_off_are_named(tmp_path):
    file = tmp_path / "a.train.npy"
    write_features(file, ["x", "y"], lambda start: iter([np.ones((2, 1, 300), np.float32)]), {"key": "k"}, "img")
    os.truncate(file, 500)
    with pytest.raises(ValueError, match=r"a.train.npy: damaged, not features .*; delete it and run make features"):
        read_features(file, ["x", "y"])


def test_a_file_of_the_future_is_read_once(tmp_path, monkeypatch):
    file, read = write_text(tmp_path / "a", "text"), []
    os.utime(file, (4e9, 4e9))
    monkeypatch.setattr("tandem.artifacts.digest_cache.file_digest", lambda path: read.append(path) or "digest")
    cache = DigestCache(tmp_path / "cache.json")
    assert cache.digest_of(file) == cache.digest_of(file) == "digest"
    assert len(read) == 1


def test_a_damaged_checkpoint_counts_as_none(tmp_path, capsys):
    import torch
    from torch import nn

    from tandem.config.training import Training
    from tandem.models.optimisation import Optimisation

    file, network = tmp_path / "checkpoint", nn.Linear(200, 200)
    state = Optimisation(network, [{"params": network.parameters(), "lr": 0.1}], Training(), 4)
    state.save(file, [{"epoch": 1}])
    assert state.restore(file) == [{"epoch": 1}]
    data = file.read_bytes()
    at = data.index(network.weight.detach().numpy().tobytes()[:64])
    for damaged in (data[:500], data[:at] + b"\0" + data[at + 1 :], b""):
        file.write_bytes(damaged)
        assert state.restore(file) == []
    assert "checkpoint: damaged" in capsys.readouterr().err
    assert torch.isfinite(network.weight).all()

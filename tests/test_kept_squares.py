"""Images decoded once and kept as squares on disk."""

import shutil
from collections import namedtuple

import numpy as np
import pytest
from toy import draw

from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.paths import Paths
from tandem.config.experiments import FinetuneExperiment, FusionExperiment, make_experiment
from tandem.config.training import Augment, FusionTraining
from tandem.data import kept_squares as module
from tandem.data.image_loader import Resized, load_square
from tandem.data.kept_squares import kept_squares
from tandem.data.split_tables import write_images
from tandem.training import split_inputs
from tandem.training.split_inputs import read_inputs


@pytest.fixture
def paths(tmp_path):
    paths = Paths("toy", tmp_path)
    for i in range(5):
        draw(paths.input / f"{i}.jpg", blue=i % 2 == 0, seed=i)
    write_rows(paths, 5)
    return paths


def write_rows(paths: Paths, n: int, sha: str = "a") -> None:
    files = [f"{i}.jpg" for i in range(n)]
    numbers = {"width": [48] * n, "height": [40] * n, "bytes": [1] * n, "hash": [b""] * n}
    write_images(paths.images("train"), {"id": files, "file": files, "sha": [f"{sha}{i}" for i in range(n)], **numbers})


def test_each_image_is_decoded_once_and_kept_as_it_would_be_resized(paths, monkeypatch, capsys):
    kept = kept_squares(paths, "train", 32)
    expected = [load_square(Resized(paths.input / f"{i}.jpg", 32), 32) for i in range(5)]
    assert (np.stack(kept) == np.stack(expected)).all() and kept[0].dtype == np.uint8
    assert "5 images of 32 px take 0.0 GB more on disk" in capsys.readouterr().err
    shutil.rmtree(paths.input)
    assert (np.stack(kept_squares(paths, "train", 32)) == np.stack(expected)).all()


def test_other_images_are_decoded_again(paths):
    first = kept_squares(paths, "train", 32)
    draw(paths.input / "0.jpg", blue=False, seed=9)
    write_rows(paths, 5, sha="b")
    assert (kept_squares(paths, "train", 32)[0] != first[0]).any()


def test_a_killed_run_continues_after_its_last_chunk(paths, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    expected = np.stack(kept_squares(paths, "train", 32))
    shutil.rmtree(paths.pixels("x").parent)
    (paths.input / "4.jpg").rename(paths.input / "away")
    with pytest.raises(ValueError, match="4.jpg: missing"):
        kept_squares(paths, "train", 32)
    (paths.input / "away").rename(paths.input / "4.jpg")
    for i in range(4):
        (paths.input / f"{i}.jpg").unlink()  # not read again
    assert (np.stack(kept_squares(paths, "train", 32)) == expected).all()
    assert not list(paths.pixels("x").parent.glob("*partial*"))


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(paths, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10, 9, 10**9))
    with pytest.raises(OSError, match=r"5 images of 32 px: 0.0 GB more .*, but 1.0 GB are free; make room"):
        kept_squares(paths, "train", 32)
    assert not list(paths.pixels("x").parent.glob("*.npy"))


def test_a_run_that_goes_on_asks_for_room_for_the_images_that_are_left(paths, monkeypatch):
    usage, free = namedtuple("usage", "total used free"), [10**10]
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10, 9, free[0]))
    monkeypatch.setattr(module, "CHUNK", 2)
    (paths.input / "4.jpg").rename(paths.input / "away")
    with pytest.raises(ValueError, match="4.jpg: missing"):
        kept_squares(paths, "train", 32)
    (paths.input / "away").rename(paths.input / "4.jpg")
    free[0] = 10**9 + 3 * 32**2 - 1  # a byte less than an image takes, beside what stays free
    with pytest.raises(OSError, match="make room"):
        kept_squares(paths, "train", 32)
    free[0] += 1
    assert len(kept_squares(paths, "train", 32)) == 5


def test_beside_a_gpu_pixels_are_kept_and_on_a_cpu_the_same_ones_are_decoded_each_time(paths, monkeypatch):
    cfg = FinetuneExperiment(kind="finetune", size=32, augment=Augment(resized=40))
    on_cpu = read_inputs(paths, cfg, "train").files
    assert isinstance(on_cpu[0], Resized)
    monkeypatch.setattr(split_inputs, "device", lambda: namedtuple("device", "type")("cuda"))
    beside_gpu = read_inputs(paths, cfg, "train").files
    assert isinstance(beside_gpu[0], np.ndarray) and beside_gpu[0].shape == (40, 40, 3)
    assert all((load_square(a, 32) == load_square(b, 32)).all() for a, b in zip(on_cpu, beside_gpu, strict=True))
    assert read_json(paths.pixels("40.train").with_suffix(".json"))["rows"] == 5


def test_new_images_are_resized_to_the_same_square_first():
    cfg = FinetuneExperiment(kind="finetune", size=32, augment=Augment(resized=40))
    assert cfg.image_size == 40 and FinetuneExperiment(kind="finetune", size=32).image_size == 32


def test_experiments_without_the_new_settings_keep_their_keys():
    assert "resized" not in Augment().model_dump() and Augment(resized=64).model_dump()["resized"] == 64
    assert not {"layer_decay", "drop_path"} & set(FusionTraining().model_dump())


def test_images_are_not_resized_to_less_than_the_network_takes(tmp_path):
    with pytest.raises(ValueError, match="augment.resized = 40: expected 0, or at least the 64 px of the network"):
        make_experiment({"kind": "finetune", "size": 64, "augment": {"resized": 40}}, tmp_path / "a.toml")
    with pytest.raises(ValueError, match="resized is of images: it needs a trunk that is trained from pixels"):
        FusionExperiment.model_validate({"kind": "fusion", "trunk": {}, "augment": {"resized": 400}})

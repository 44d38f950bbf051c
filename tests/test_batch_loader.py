"""Batches made by threads and by processes, and which side is the limit."""

import os
import signal
import time

import numpy as np
import pytest
import torch

from tandem.config.training import Augment
from tandem.data.image_loader import Resized
from tandem.models.augmenter import Augmenter
from tandem.models.batch_loader import BatchLoader, Pace, worker_processes
from tandem.models.trainer import shuffled_batches

CPU = torch.device("cpu")


def chunks(epoch):
    return list(shuffled_batches(10, 1, 3, 0, epoch))


def two_epochs(processes: int, make) -> list[list[float]]:
    loader = BatchLoader(chunks, make, CPU, image_bytes=1, processes=processes)
    found = [batch.tolist() for epoch in (0, 1) for _, batch in loader.epoch(epoch)]
    loader.close()
    return found


def test_processes_make_the_batches_that_threads_make_in_the_same_order():
    augmenter = Augmenter(Augment(resized=40), 32, seed=0)
    files = list(np.random.default_rng(0).integers(0, 255, (10, 40, 40, 3), np.uint8))

    def make(epoch, rows, views):
        return torch.from_numpy(augmenter.batch(files, rows, epoch))

    by_threads = two_epochs(0, make)
    assert by_threads == two_epochs(2, make)
    assert [len(batch) for batch in by_threads] == [4, 3, 3, 4, 3, 3]


@pytest.mark.parametrize("processes", [0, 1])
def test_an_epoch_that_was_left_starts_again_from_its_first_batch(processes):
    def make(epoch, rows, views):
        return torch.from_numpy(rows + 100 * epoch)

    loader = BatchLoader(chunks, make, CPU, image_bytes=1, processes=processes)
    first = [batch.tolist() for _, batch in loader.epoch(0)]
    left = loader.epoch(1)
    next(left)
    left.close()  # as where memory ran out
    second = [batch.tolist() for _, batch in loader.epoch(1)]
    loader.close()
    assert first == [rows.tolist() for rows, _, _ in chunks(0)]
    assert second == [(rows + 100).tolist() for rows, _, _ in chunks(1)]


@pytest.mark.parametrize("processes", [0, 1])
def test_an_error_in_a_batch_is_raised_as_it_is(processes):
    def make(epoch, rows, views):
        raise ValueError("7.jpg: truncated")

    with pytest.raises(ValueError, match=r"^7.jpg: truncated$"):
        two_epochs(processes, make)


def test_a_killed_process_is_named_and_how_to_go_on():
    def make(epoch, rows, views):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(OSError, match="a process that prepares images was killed.*make CORES=4"):
        two_epochs(1, make)


def test_the_side_that_the_other_waits_for_is_the_limit():
    def slow(epoch, rows, views):
        time.sleep(0.1)
        return torch.zeros(len(rows))

    loader = BatchLoader(chunks, slow, CPU, image_bytes=1)
    assert list(loader.epoch(0)) and loader.pace.record()["limit"] == "loader"
    loader = BatchLoader(chunks, lambda epoch, rows, views: torch.zeros(len(rows)), CPU, image_bytes=1)
    for _ in loader.epoch(0):
        time.sleep(0.1)
    assert loader.pace.record()["limit"] == "network"


def test_python_may_wait_for_a_batch_while_a_gpu_that_is_the_limit_computes(monkeypatch):
    done = [0.0]  # when the GPU will have computed all that it was given

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: str) -> None:
            assert stream == "cuda"
            self.at = max(done[0], time.perf_counter())

        def elapsed_time(self, end: "Event") -> float:
            return 1000 * (end.at - self.at)

    def slow(epoch, rows, views):
        time.sleep(0.02)
        return "a batch"

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", str)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda on: time.sleep(max(0, done[0] - time.perf_counter())))
    loader = BatchLoader(lambda epoch: list(shuffled_batches(12, 1, 6, 0, epoch)), slow, torch.device("cuda"))
    for _ in loader.epoch(0):
        done[0] = max(done[0], time.perf_counter()) + 0.1  # a step, which Python does not wait for
    found = loader.pace.record()
    assert found["limit"] == "network" and found["network"] == pytest.approx(20, rel=0.1)  # two images in 0.1 s


def test_images_per_second_of_both_sides():
    pace = Pace(workers=4, images=1000, seconds=2.0, waited=1.5, worked=6.0)
    assert pace.record() == {"training": 500.0, "network": 2000.0, "loader": 666.7, "limit": "loader"}


def test_on_a_cpu_no_process_is_started():
    assert worker_processes(CPU, 10**6) == 0


def test_a_crop_of_kept_pixels_is_that_of_the_file(tmp_path):
    from PIL import Image

    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))
    image.save(tmp_path / "a.png")
    kept = np.asarray(image.resize((40, 40), Image.Resampling.BICUBIC))
    augmenter = Augmenter(Augment(resized=40), 32, seed=0)
    rows = np.array([0])
    first, second = augmenter.batch([Resized(tmp_path / "a.png", 40)], rows, 3), augmenter.batch([kept], rows, 3)
    assert (first == second).all() and first.shape == (1, 32, 32, 3)

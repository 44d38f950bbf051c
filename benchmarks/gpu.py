"""One fold of configs/gpu_fusion.toml on this machine's GPU: images per second of the loader alone, of the network on
one batch again and again, and of training; peak memory; the fold's F1.

    COMP=birds python benchmarks/gpu.py             where there is no GPU it says so and ends
    COMP=birds DEVICE=cpu python benchmarks/gpu.py  tries it on a CPU

EXPS names another experiment that is trained from pixels, FOLD another fold. The fold is that of `make train`, which
goes on from it. It runs in the folder of the competition's input/.
"""

import os
import subprocess
import sys
import time
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile

from tandem.artifacts.paths import Paths
from tandem.config.own_code import located_code
from tandem.graph.declared_stages import Graph
from tandem.models import finetune, fusion
from tandem.models.base import TrainingRun
from tandem.models.batch_loader import BatchLoader, pace_text
from tandem.models.registry import make_model
from tandem.runtime.resources import DEVICE, threads
from tandem.runtime.torch_setup import device, device_name, use_threads
from tandem.training.fold_job import FoldJob

EPOCHS = 3  # with the same batch: the first one warms up, the last one is profiled
STEPS = 40  # of such an epoch, at most


class OneBatch(BatchLoader):
    """Measures the loader alone, then gives its first batch again and again."""

    measured: dict[str, float] = {}

    def epoch(self, number):
        if number == 0:
            images, chunks = 0, len(self._chunks(0))
            for i, (chunk, batch) in enumerate(super().epoch(0)):
                if not i:
                    self.first = chunk, batch
                if i == chunks // 3:  # the processes have started, and what was made meanwhile is taken
                    start = time.perf_counter()
                images += len(chunk[0]) if i > chunks // 3 else 0
            self.measured["loader"] = images / (time.perf_counter() - start)
            self.measured["worker"] = self.pace.worked / self.pace.images
            self.steps = min(chunks, STEPS)
            self.close()
        if number == EPOCHS - 1 and self._on.type == "cuda":
            with profile(activities=[ProfilerActivity.CUDA]) as kernels:
                yield from [self.first] * self.steps
                torch.cuda.synchronize()
            busy = sum(event.self_device_time_total for event in kernels.key_averages()) / 1e6
            self.measured |= {"busy": busy / self.steps, "step": self.seconds / self.steps}
            print(kernels.key_averages().table(sort_by="self_cuda_time_total", row_limit=12, max_name_column_width=60))
            return
        start = time.perf_counter()
        for _ in range(self.steps):
            yield self.first
        if self._on.type == "cuda":
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - start
        self.measured["network"] = self.steps * len(self.first[0][0]) / self.seconds


def measure_alone(job: FoldJob, k: int) -> dict[str, float]:
    """Images per second of the loader and of the network, each by itself."""
    rows = job.rows
    train = (rows.fold != k).nonzero()[0]
    experiment = located_code(job.experiment, job.paths.root).as_trained(len(rows.y))
    short = experiment.train.model_copy(update={"epochs": EPOCHS, "min_steps": 0})
    model = make_model(experiment.model_copy(update={"train": short}), len(rows.names))
    inputs, y, weights = job.training_rows(train)
    with patch.object(fusion, "BatchLoader", OneBatch), patch.object(finetune, "BatchLoader", OneBatch):
        model.fit(inputs, y, TrainingRun(0, weights=weights))
    return OneBatch.measured


def main() -> None:
    comp, name, k = (
        os.environ.get("COMP", "sample"),
        os.environ.get("EXPS", "gpu_fusion"),
        int(os.environ.get("FOLD", 0)),
    )
    os.environ.setdefault(DEVICE, os.environ.get("DEVICE", ""))
    on = device()
    if on.type == "cpu" and os.environ[DEVICE] != "cpu":
        print("gpu: this machine has no GPU; nothing was measured (DEVICE=cpu tries it all the same)")
        return
    if not Paths(comp).competition.exists():
        print(f"gpu: input/{comp} is not here; nothing was measured (COMP=name chooses a competition)")
        return
    start = time.perf_counter()
    for stage in ("folds", "features"):
        subprocess.run([sys.executable, "-m", "tandem", stage, comp, "--exps", name], check=True)
    print(f"gpu_features_seconds: {time.perf_counter() - start:.1f} s (check, folds and token states)", flush=True)
    use_threads()
    paths = Paths(comp)
    graph = Graph.open(paths)
    job = FoldJob(paths, name, graph.experiments[name])
    start = time.perf_counter()
    print(f"gpu_rows: {len(job.inputs)} (images resized once in {time.perf_counter() - start:.1f} s)", flush=True)
    alone = measure_alone(job, k)
    if on.type == "cuda":
        torch.cuda.reset_peak_memory_stats(on)
        torch.cuda.empty_cache()
        busy, step = alone["busy"], alone["step"]
        print(f"gpu_busy: {busy / step:.0%}; a step takes {1000 * step:.0f} ms, its kernels {1000 * busy:.0f} ms")
    record = job.fit_fold(k, graph.fold(name, k).made_from, lambda entry: print(entry, flush=True))
    where = f"({device_name(on)}, {threads()} cores)"
    each = f"{1000 * alone['worker']:.1f} ms of a process each"
    print(f"gpu_loader_images_per_second: {alone['loader']:.0f} img/s, {each} {where}")
    print(f"gpu_network_images_per_second: {alone['network']:.0f} img/s, one batch again and again {where}")
    print(f"gpu_training_images_per_second: {record['pace']['training']:.0f} img/s {where}")
    print(f"gpu_limit: {pace_text(record['pace'])}")
    if on.type == "cuda":
        print(f"gpu_peak_memory: {torch.cuda.max_memory_allocated(on) / 2**30:.1f} GiB")
    print(f"gpu_fold_seconds: {record['seconds']:.0f} s, fold {k} of {name}")
    print(f"gpu_fold_f1: {record['held_out_f1']:.4f} F1 per row at 0.5, fold {k} of {name} on {comp}")


if __name__ == "__main__":
    main()

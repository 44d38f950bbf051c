"""Training on a real GPU; without one these tests are skipped: tests/test_training_steps.py tries the same on a CPU."""

import pytest
import torch
from test_training_steps import PLAIN, toy, trained
from torch import nn

from tandem.config.training import Training
from tandem.models import trainer
from tandem.models.base import TrainingRun
from tandem.models.batch_loader import to_device
from tandem.models.losses import Targets, make_loss
from tandem.models.trainer import Task, fit
from tandem.runtime import torch_setup
from tandem.runtime.torch_setup import device, device_name

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def there(task: Task) -> Task:
    """The same task on the GPU."""
    on = device()
    network = task.network.to(on)

    def moved(epoch: int):
        for inputs, targets in task.batches(epoch):
            yield inputs.to(on), Targets(*(None if part is None else part.to(on) for part in targets))

    groups = [{"params": list(network.parameters()), "lr": 0.1}]
    return Task(network, moved, task.steps, groups, task.loss)


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float16"])
def test_a_gpu_learns_what_a_cpu_learns(kind, monkeypatch):
    _, expected = trained(toy(), PLAIN.model_copy(update={"epochs": 20, "ema": 0.9}))
    if kind == "float16":
        for module in (trainer, torch_setup):
            monkeypatch.setattr(module, "low_precision", lambda name: torch.float16)
    cfg = PLAIN.model_copy(update={"epochs": 20, "ema": 0.9, "bfloat16": kind != "float32"})
    log, weights = trained(there(toy()), cfg)
    assert torch.allclose(weights.cpu(), expected, atol=1e-3 if kind == "float32" else 0.1)
    assert ("skipped_steps" in log[-1]) == (kind == "float16")


@pytest.mark.parametrize("float16", [False, True])
def test_no_step_waits_for_the_gpu(float16, monkeypatch):
    """Torch raises where Python waits; only between the batches of an epoch is it asked to."""
    if float16:
        for module in (trainer, torch_setup):
            monkeypatch.setattr(module, "low_precision", lambda name: torch.float16)
    on = device()
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 2)).to(on)
    x, targets = torch.rand(16, 3, 8, 8, device=on), Targets(torch.rand(16, 2, device=on).round())
    torch.cuda.synchronize()

    def batches(epoch: int):
        try:
            for step in range(8):
                torch.cuda.set_sync_debug_mode("error" if step else "default")  # the first step sets up
                yield x, targets.take(to_device(torch.arange(16), on))
        finally:
            torch.cuda.set_sync_debug_mode("default")

    loss = make_loss("bce")
    groups = [{"params": list(network.parameters()), "lr": 1e-3}]
    fit(Task(network, batches, 8, groups, lambda o, b: loss(o, *b)), Training(epochs=2, ema=0.9), TrainingRun(0))


def test_memory_that_runs_out_gives_smaller_batches_and_the_same_steps(capsys):
    """Three quarters of the memory are taken by activations of 64 rows."""
    on = device()
    free, _ = torch.cuda.mem_get_info(on)
    width = free // (64 * 4 * 4)  # float32 numbers of a row: x, its sine and both gradients don't fit for 64 rows
    network = nn.Linear(1, 1, bias=False).to(on)
    y = torch.ones(64, 1, device=on)

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            wide = self.linear(x).expand(-1, width).clone()
            return wide.sin().exp().cos().mean(1, keepdim=True)

    task = Task(
        Wide(),
        lambda epoch: [(y, Targets(y))],
        1,
        [{"params": list(network.parameters()), "lr": 1e-3}],
        lambda outputs, targets: ((outputs - targets.y) ** 2).mean(),
    )
    log = fit(task, Training(epochs=1, batch=64, bfloat16=False), TrainingRun(0))
    assert log[0]["accumulate"] >= 2 and f"the memory of {device_name(on)} is too small" in capsys.readouterr().out
    torch.cuda.empty_cache()


def test_a_compiled_network_learns_the_same_and_keeps_its_names(monkeypatch, capsys):
    monkeypatch.setattr(torch_setup, "COMPILED_STEPS", 1)
    if not torch_setup.can_compile("cuda"):
        pytest.skip(capsys.readouterr().out)
    task = there(toy())
    _, weights = trained(task)
    assert torch.allclose(weights.cpu(), trained(toy())[1], atol=1e-3)
    assert "torch.compile" not in capsys.readouterr().out and not any(
        "_orig_mod" in n for n in task.network.state_dict()
    )


def test_a_checkpoint_of_a_gpu_continues_there(tmp_path):
    def die(entry):
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    cfg, clock = PLAIN.model_copy(update={"ema": 0.9}), iter(range(0, 6000, 60))
    with pytest.raises(KeyboardInterrupt):
        fit(there(toy()), cfg, TrainingRun(0, tmp_path / "c", die, clock=lambda: next(clock)))
    _, weights = trained(there(toy()), cfg, TrainingRun(0, tmp_path / "c"))
    assert torch.allclose(weights, trained(there(toy()), cfg)[1], atol=1e-6)

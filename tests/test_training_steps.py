"""What training does on a GPU, tried on a CPU: memory that runs out, float16, the compiler, nothing waited for."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode

from tandem.config.experiments import FinetuneExperiment
from tandem.config.training import Training
from tandem.models import fusion, mlp_head, trainer
from tandem.models.base import TrainingRun
from tandem.models.batch_loader import BatchLoader
from tandem.models.finetune import FinetunedModel
from tandem.models.losses import Targets, make_loss
from tandem.models.optimisation import Optimisation, averaged
from tandem.models.trainer import Task, fit
from tandem.models.training_steps import pieces_of
from tandem.runtime import torch_setup

PLAIN = Training(epochs=2, batch=4, lr=0.1, bfloat16=False)
X = torch.arange(24.0).view(8, 3) / 24
Y = (torch.arange(16).view(8, 2) % 3 == 0).float()


def toy(each: Callable[[torch.Tensor], object] = lambda x: None, weights: torch.Tensor | None = None) -> Task:
    """Two batches of four rows; `each` is called with each input of the network."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    network.register_forward_pre_hook(lambda module, args: each(args[0]))
    loss = make_loss("bce")
    targets = Targets(Y, weights)
    rows = (torch.arange(0, 4), torch.arange(4, 8))
    groups = [{"params": list(network.parameters()), "lr": 0.1}]
    return Task(network, lambda epoch: [(X[r], targets.take(r)) for r in rows], 2, groups, lambda o, b: loss(o, *b))


class Memory:
    """Raises as a GPU does where more than `most` rows come at once, from the call `after` on."""

    def __init__(self, most: int, after: int = 0) -> None:
        self.most, self.after, self.seen = most, after, []

    def __call__(self, x: torch.Tensor) -> None:
        self.seen.append(len(x))
        if len(x) > self.most and len(self.seen) > self.after:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nsecond line")


def trained(task: Task, cfg: Training = PLAIN, run: TrainingRun | None = None) -> tuple[list[dict], torch.Tensor]:
    log = fit(task, cfg, run or TrainingRun(0))
    return log, torch.cat([p.detach().flatten() for p in task.network.parameters()])


def test_memory_that_runs_out_halves_the_batch_and_adds_up_two_which_is_the_same_step(capsys):
    memory = Memory(most=2)
    log, weights = trained(toy(memory))
    whole, expected = trained(toy())
    assert memory.seen == [4, 2, 2, 2, 2, 2, 2, 2, 2]
    assert torch.allclose(weights, expected, atol=1e-6)
    assert [entry["loss"] for entry in log] == pytest.approx([entry["loss"] for entry in whole])
    assert [(entry["batch"], entry["accumulate"]) for entry in log] == [(2, 2)] * 2 and "batch" not in whole[0]
    assert capsys.readouterr().out == (
        "the memory of cpu is too small: epoch 1 starts again with batch = 2, accumulate = 2, "
        "which is the same number of rows a step\n"
    )


def test_the_epoch_starts_again_with_its_first_weights_and_random_numbers():
    memory = Memory(most=2, after=1)  # the second step fails: the first is not done twice
    _, weights = trained(toy(memory))
    _, expected = trained(toy(Memory(most=2)))
    assert memory.seen[:4] == [4, 4, 2, 2] and torch.equal(weights, expected)


def test_a_run_that_continues_keeps_its_smaller_batches(tmp_path):
    def die(entry):
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    clock = iter(range(0, 6000, 60))
    with pytest.raises(KeyboardInterrupt):
        fit(toy(Memory(most=2)), PLAIN, TrainingRun(0, tmp_path / "c", die, clock=lambda: next(clock)))
    memory = Memory(most=2)
    _, weights = trained(toy(memory), run=TrainingRun(0, tmp_path / "c"))
    assert memory.seen == [2] * 4 and torch.equal(weights, trained(toy(Memory(most=2)))[1])


def test_where_two_rows_do_not_fit_it_says_what_to_do():
    with pytest.raises(OSError, match=r"the memory of cpu has no room for 2 rows; choose a smaller image size or netw"):
        trained(toy(Memory(most=1)))


def test_pieces_have_the_gradient_of_the_batch_where_cells_have_weights_too():
    weights = torch.tensor([[1.0, 0], [1, 1], [0.5, 0], [0, 1]]).repeat(2, 1)
    halved, whole = trained(toy(Memory(most=2), weights)), trained(toy(weights=weights))
    assert torch.allclose(halved[1], whole[1], atol=1e-6)
    (first, a), (second, b) = pieces_of((X[:4], Targets(Y[:4], weights[:4])), 2)
    assert len(first[0]) == len(second[0]) == 2 and (float(a), float(b)) == pytest.approx((3 / 4.5, 1.5 / 4.5))


# ---- float16


@pytest.fixture
def float16(monkeypatch):
    """A CPU that trains as a GPU without bfloat16 does."""
    for module in (trainer, torch_setup):
        monkeypatch.setattr(module, "low_precision", lambda kind: torch.float16)


def test_float16_scales_gradients_and_learns_what_float32_learns(float16):
    cfg = replace_epochs(20)
    log, weights = trained(toy(), cfg.model_copy(update={"bfloat16": True}))
    _, exact = trained(toy(), cfg)
    assert torch.allclose(weights, exact, atol=0.1) and not torch.equal(weights, exact)
    assert log[-1]["skipped_steps"] <= 2  # where the first scale was too large


def test_memory_may_run_out_within_a_step_of_float16(float16):
    left = ["CUDA out of memory: the first step allocates what AdamW remembers"]

    def allocate(optimiser: torch.optim.Optimizer, *_: object) -> None:
        if left and isinstance(optimiser, torch.optim.AdamW):
            raise torch.OutOfMemoryError(left.pop())

    handle = register_optimizer_step_pre_hook(allocate)
    try:
        log, _ = trained(toy(), PLAIN.model_copy(update={"bfloat16": True}))
    finally:
        handle.remove()
    assert [entry["accumulate"] for entry in log] == [2, 2]


def replace_epochs(epochs: int) -> Training:
    return PLAIN.model_copy(update={"epochs": epochs})


def test_a_step_without_finite_gradients_is_skipped_and_the_learning_rate_waits_for_it():
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)

    def begin() -> Optimisation:
        return Optimisation(network, [{"params": [network.weight], "lr": 1.0}], Training(warmup=0.5, ema=0.5), 4, True)

    state = begin()
    rates, weights = [], []
    for x in (1.0, float("inf"), 1.0):
        state.backward(network(torch.tensor([[x]])).sum())
        state.update()
        rates.append(state.lr)
        weights.append(network.weight.item())
    assert rates == pytest.approx([1.0, 1.0, 1.0]) and state.skipped == 1
    assert weights[0] == weights[1] > weights[2]
    again = begin()
    again.load(state.state())
    assert again.lr == state.lr and again.skipped == 1


def test_rates_on_the_device_are_those_of_the_schedule():
    rates = []
    for scaled in (False, True):
        network = nn.Linear(1, 1)
        state = Optimisation(network, [{"params": [*network.parameters()], "lr": 0.3}], Training(), 30, scaled)
        here = [state.lr]
        for _ in range(30):
            state.backward(network(torch.ones(1, 1)).sum())
            state.update()
            here.append(state.lr)
        rates.append(here)
    assert rates[0] == pytest.approx(rates[1], abs=1e-6)


# ---- the compiler


def compile_here(monkeypatch, backend) -> None:
    monkeypatch.setattr(torch_setup, "can_compile", lambda kind: True)
    monkeypatch.setattr(torch_setup, "BACKEND", backend)
    monkeypatch.setattr(torch_setup, "COMPILED_STEPS", 1)


def test_a_compiled_network_has_the_weights_and_names_of_the_plain_one(monkeypatch, tmp_path):
    _, expected = trained(toy())
    compile_here(monkeypatch, "eager")
    task, clock = toy(), iter(range(0, 6000, 60))
    _, weights = trained(task, run=TrainingRun(0, tmp_path / "c", clock=lambda: next(clock)))
    assert torch.allclose(weights, expected, atol=1e-6)
    trained(averaged_task := toy(), PLAIN.model_copy(update={"ema": 0.9}))
    names = [*task.network.state_dict(), *averaged_task.network.state_dict(), *torch.load(tmp_path / "c")["network"]]
    assert not any("_orig_mod" in name for name in names)


def test_a_compiler_that_fails_costs_one_line(monkeypatch, capsys):
    def broken(graph, inputs):
        raise RuntimeError("no ptxas")

    _, expected = trained(toy())
    compile_here(monkeypatch, broken)
    _, weights = trained(toy())
    assert torch.equal(weights, expected)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["torch.compile: backend='broken' raised: RuntimeError: no ptxas; the network is run without it"]


def test_batches_of_different_shapes_are_not_compiled(monkeypatch, capsys):
    def broken(graph, inputs):
        raise RuntimeError("called")

    compile_here(monkeypatch, broken)
    trained(replace(toy(), compiles=False))
    assert capsys.readouterr().out == ""


def test_only_cuda_compiles_and_only_training_that_is_long_enough(monkeypatch):
    network = nn.Linear(1, 1)
    assert torch_setup.compiled(network, torch.device("cpu"), 10_000) is network
    compile_here(monkeypatch, "eager")
    monkeypatch.setattr(torch_setup, "COMPILED_STEPS", 11)
    assert torch_setup.compiled(network, torch.device("cpu"), 10) is network


# ---- nothing is waited for


class Waits(TorchDispatchMode):
    """Counts the numbers that Python asks of tensors; on a GPU, each would be waited for."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("scaled", [False, True])
def test_no_step_asks_a_tensor_for_its_value(scaled, request):
    if scaled:
        request.getfixturevalue("float16")

    def waits(steps: int) -> int:
        one = toy()
        (batch, _) = one.batches(0)
        task = replace(one, batches=lambda epoch: [batch] * steps, steps=steps)
        with Waits() as counted:
            fit(task, PLAIN.model_copy(update={"bfloat16": scaled}), TrainingRun(0))
        return counted.count

    assert waits(12) == waits(3)


class Copies(TorchDispatchMode):
    """Counts copies to another device, and those that begin only when that has computed all it was given."""

    every = waiting = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and kwargs.get("device") not in (None, args[0].device):
            self.every += 1
            self.waiting += not kwargs.get("non_blocking")
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("kind", ["finetune", "fusion", "head"])
def test_no_batch_waits_for_the_device_that_it_is_copied_to(kind):
    on = torch.device("meta")
    targets = Targets(torch.zeros(10, 2, device=on), torch.ones(10, 2, device=on))
    loader = BatchLoader(
        lambda epoch: list(trainer.shuffled_batches(10, 1, 3, 0, epoch)),
        lambda epoch, rows, views: torch.zeros(len(rows), 8, 8, 3),
        on,
    )
    if kind == "finetune":
        cfg = FinetuneExperiment(kind="finetune", model="test_efficientnet", size=32)
        batches = FinetunedModel(cfg, 2)._batches(loader, targets, 0)
    elif kind == "fusion":
        batches = fusion._batches(loader, targets, 0)
    else:
        held = torch.zeros(1, 10, 3, device=on)
        batches = mlp_head._batches(mlp_head._Rows(10, 1, on, lambda *_: held[0], held), targets, 3, 0.5, 0, 0)
    with Copies() as copies:
        assert [tuple(y.shape) for _, (y, _) in batches] == [(4, 2), (3, 2), (3, 2)]
    assert copies.every >= 6 and copies.waiting == 0


def test_averaged_weights_are_those_of_torch():
    def update(averages, current, number):
        get_ema_multi_avg_fn(min(0.9, (1 + int(number)) / (10 + int(number))))(averages, current, number)

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    own, theirs = averaged(network, 0.9), AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    for _ in range(4):
        network(torch.randn(3, 2))
        with torch.no_grad():
            network[0].weight += 1
        own.update_parameters(network)
        theirs.update_parameters(network)
    assert all(torch.equal(a, b) for a, b in zip(own.state_dict().values(), theirs.state_dict().values(), strict=True))

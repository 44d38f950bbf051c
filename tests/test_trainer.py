"""The training loop, its losses, parameter groups and checkpoints; mixing of images."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from toy import tiny_backbone

from tandem.config.experiments import FinetuneExperiment
from tandem.config.training import FinetuneTraining, Training
from tandem.features.pretrained_weights import load_backbone
from tandem.models.base import TrainingRun, Watched
from tandem.models.finetune import FinetunedModel
from tandem.models.inputs import Inputs
from tandem.models.losses import LOSSES, Targets, make_loss
from tandem.models.mixing import mixed
from tandem.models.parameter_groups import parameter_groups
from tandem.models.trainer import CHECKPOINT_SECONDS, Task, fit, shuffled_batches
from tandem.runtime.torch_setup import import_timm


def one_weight(batches: list[list[float]]) -> Task:
    """A network w x with w = 0 and the loss w x + 1, mean over the rows."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    columns = [torch.tensor(x)[:, None] for x in batches]

    def loss(outputs, targets):
        return (outputs + targets.y).mean()

    return Task(
        network,
        lambda epoch: ((x, Targets(torch.ones(len(x), 1))) for x in columns),
        len(batches),
        [{"params": list(network.parameters()), "lr": 1e-9}],
        loss,
    )


@contextmanager
def steps_of_the_optimiser(record) -> Iterator[None]:
    """Calls `record(optimiser)` before each of its steps."""
    handle = register_optimizer_step_pre_hook(lambda optimiser, *_: record(optimiser))
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize(("accumulate", "expected"), [(1, [1, 3, 4]), (2, [2, 4]), (3, [8 / 3]), (5, [8 / 3])])
def test_a_step_follows_the_mean_gradient_of_the_batches_in_its_group(accumulate, expected):
    gradients, cfg = [], Training(epochs=1, accumulate=accumulate, bfloat16=False)
    with steps_of_the_optimiser(lambda o: gradients.append(o.param_groups[0]["params"][0].grad.item())):
        fit(one_weight([[1.0], [3.0], [4.0]]), cfg, TrainingRun(0))
    assert gradients == pytest.approx(expected)


def test_the_logged_loss_is_the_mean_over_rows():
    task = one_weight([[0.0], [0.0, 0.0, 0.0]])
    nn.init.ones_(task.network.weight)
    task = Task(**vars(task) | {"batches": lambda epoch: ((x, Targets(y)) for x, y in rows)})
    rows = [(torch.zeros(1, 1), torch.full((1, 1), 4.0)), (torch.zeros(3, 1), torch.zeros(3, 1))]
    assert fit(task, Training(epochs=1), TrainingRun(0))[0]["loss"] == 1.0  # not (4 + 0) / 2


@pytest.mark.parametrize(
    ("steps", "warmup", "expected"),
    [(4, 0.5, [0.5, 1, 1, 0.5]), (5, 0.0, [1, 1, 0.853553, 0.5, 0.146447]), (1, 0.1, [1])],
)
def test_the_rate_of_each_step_rises_linearly_and_falls_as_half_a_cosine(steps, warmup, expected):
    task, rates = one_weight([[1.0]] * steps), []
    task.groups[0]["lr"] = 1.0
    with steps_of_the_optimiser(lambda o: rates.append(o.param_groups[0]["lr"])):
        fit(task, Training(epochs=1, warmup=warmup), TrainingRun(0))
    assert rates == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_loss_is_a_mean_over_cells_so_twice_the_rows_or_labels_change_nothing(name, smoothing):
    loss = make_loss(name, smoothing)
    logits, y = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]])
    assert loss(logits.repeat(2, 1), y.repeat(2, 1)) == pytest.approx(loss(logits, y).item())
    assert loss(logits.repeat(1, 2), y.repeat(1, 2)) == pytest.approx(loss(logits, y).item())


def test_a_single_row_is_in_its_batch_twice_and_other_rows_once():
    assert [rows.tolist() for rows, _, _ in shuffled_batches(1, 2, 1, 0, 0)] == [[0, 0]]
    for n in (2, 5):
        assert sorted(np.concatenate([rows for rows, _, _ in shuffled_batches(n, 2, 2, 0, 0)])) == list(range(n))


# ---- checkpoints


def test_of_200_epochs_of_a_second_each_every_thirtieth_leaves_a_checkpoint(tmp_path):
    file, now, kept = tmp_path / "checkpoint", [0.0], set()

    def on_epoch(entry):
        now[0] += 1
        if file.exists():
            kept.add(len(torch.load(file)["log"]))

    fit(one_weight([[1.0]]), Training(epochs=200), TrainingRun(0, file, on_epoch, clock=lambda: now[0]))
    assert sorted(kept) == [30, 60, 90, 120, 150, 180]
    assert CHECKPOINT_SECONDS == 30


def test_epochs_of_a_minute_each_leave_a_checkpoint(tmp_path):
    file, now, kept = tmp_path / "checkpoint", [0.0], []

    def on_epoch(entry):
        now[0] += 60
        kept.append(len(torch.load(file)["log"]) if file.exists() else 0)

    fit(one_weight([[1.0]]), Training(epochs=4), TrainingRun(0, file, on_epoch, clock=lambda: now[0]))
    assert kept == [0, 1, 2, 3]


# ---- parameter groups


def test_norms_and_biases_have_no_weight_decay_and_each_parameter_is_in_one_group():
    network = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2, bias=False))
    network[2].requires_grad_(False)
    (without, decayed) = parameter_groups(network, Training(weight_decay=0.05), 1e-3)
    assert decayed["params"] == [network[0].weight] and decayed["weight_decay"] == 0.05
    assert without["params"] == [network[0].bias, *network[1].parameters()] and without["weight_decay"] == 0
    assert without["lr"] == decayed["lr"] == 1e-3


def test_a_part_has_its_own_learning_rate():
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    groups = parameter_groups(network, Training(), 1e-3, [(network[0], 1e-5)])
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert [rates[id(p)] for p in network.parameters()] == [1e-5, 1e-5, 1e-3, 1e-3]


def test_layer_decay_lowers_the_rate_from_each_block_to_the_one_before_it_but_not_that_of_the_classifier():
    network = import_timm().create_model("test_vit", num_classes=2)
    network.reset_classifier(2)
    groups = parameter_groups(network, Training(), 1.0, [(network.head, 100.0)], layer_decay=0.5)
    names = {id(p): name for name, p in network.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in groups for p in group["params"]}
    assert set(rates) == set(names.values())
    blocks = [rates[f"blocks.{i}.mlp.fc1.weight"] for i in range(len(network.blocks))]
    assert [later / earlier for earlier, later in zip(blocks, blocks[1:], strict=False)] == [2] * (len(blocks) - 1)
    assert rates["patch_embed.proj.weight"] == blocks[0] / 2
    assert rates["head.weight"] == rates["head.bias"] == 100
    decays = {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}
    assert decays["pos_embed"] == decays["cls_token"] == decays["norm.weight"] == decays["head.bias"] == 0


def test_a_network_without_stochastic_depth_refuses_drop_path(tmp_path):
    weights = tiny_backbone(tmp_path / "tiny.safetensors")
    network = load_backbone("test_efficientnet", weights, 2, drop_path=0.1)
    assert any(type(m).__name__ == "DropPath" and m.drop_prob for m in network.modules())
    with pytest.raises(ValueError, match=r"train\.drop_path = 0\.1: expected 0, vgg11 has no stochastic depth"):
        load_backbone("vgg11", weights, 2, drop_path=0.1)


# ---- mixing


def black_and_white(weights: torch.Tensor | None = None) -> tuple[torch.Tensor, Targets]:
    """A black image of label 0 and a white one of label 1."""
    pixels = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    pixels[1] = 255
    return pixels, Targets(torch.eye(2), weights)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_targets_are_mixed_in_the_share_of_the_pixels(mixup, cutmix):
    for seed in range(20):
        pixels, (y, _) = mixed(*black_and_white(), mixup, cutmix, np.random.default_rng(seed))
        white = pixels.float().mean((1, 2, 3)) / 255
        assert torch.allclose(white, y[:, 1], atol=1e-5)
        assert torch.allclose(y.sum(1), torch.ones(2)) and y.min() >= 0 and y.max() <= 1


def test_mixup_blends_every_pixel_and_cutmix_leaves_each_of_one_image():
    blended, _ = mixed(*black_and_white(), 0.8, 0.0, np.random.default_rng(0))
    assert len(blended[0].unique()) == 1 and 0 < blended[0, 0, 0, 0] < 255
    cut, _ = mixed(*black_and_white(), 0.0, 1.0, np.random.default_rng(0))
    assert cut[0].unique().tolist() == [0, 255]


def test_with_both_off_a_batch_is_unchanged_and_with_both_on_each_comes_up():
    pixels, y = black_and_white()
    same, unchanged = mixed(pixels, y, 0.0, 0.0, np.random.default_rng(0))
    assert same is pixels and unchanged is y
    draws = [mixed(pixels, y, 0.8, 1.0, np.random.default_rng(seed))[0] for seed in range(20)]
    assert {one.dtype for one in draws} == {torch.float32, torch.uint8}
    assert pixels[1].min() == 255  # the batch itself is not written to


def test_a_killed_fold_with_the_whole_recipe_ends_in_the_same_weights(tmp_path):
    recipe = {"layer_decay": 0.8, "drop_path": 0.2, "mixup": 0.8, "cutmix": 1.0, "loss": "asl", "accumulate": 2}
    train = FinetuneTraining(epochs=3, batch=4, lr=1e-2, backbone_lr=1e-3, bfloat16=False, **recipe)
    weights = tiny_backbone(tmp_path / "tiny.safetensors")
    cfg = FinetuneExperiment(kind="finetune", model="test_efficientnet", weights=weights, size=32, train=train)
    rng = np.random.default_rng(0)
    inputs = Inputs([str(i) for i in range(13)], files=list(rng.integers(0, 255, (13, 32, 32, 3), np.uint8)))
    y, minutes = rng.integers(0, 2, (13, 2)).astype(np.uint8), iter(range(0, 6000, 60))

    def die(entry):
        if entry["epoch"] == 3:
            raise KeyboardInterrupt

    straight, resumed, epochs = FinetunedModel(cfg, 2), FinetunedModel(cfg, 2), []
    straight.fit(inputs, y, TrainingRun(0))
    with pytest.raises(KeyboardInterrupt):
        FinetunedModel(cfg, 2).fit(inputs, y, TrainingRun(0, tmp_path / "c", die, clock=lambda: next(minutes)))
    resumed.fit(inputs, y, TrainingRun(0, tmp_path / "c", lambda entry: epochs.append(entry["epoch"])))
    assert epochs == [3]
    pairs = zip(straight.network.state_dict().values(), resumed.network.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_watched_rows_are_in_the_log_and_change_no_weight():
    def trained(watched: Watched | None) -> tuple[list[dict], float]:
        task = replace(one_weight([[1.0], [3.0]]), predict_proba=lambda inputs: np.array([[0.9, 0.2]]))
        log = fit(task, Training(epochs=25, ema=0.9, bfloat16=False), TrainingRun(0, watched=watched))
        return log, task.network.weight.item()

    log, weight = trained(Watched(Inputs(("a",)), np.array([[1, 0]])))
    plain, same = trained(None)
    assert weight == same and [entry["loss"] for entry in log] == [entry["loss"] for entry in plain]
    measured = {entry["epoch"]: entry["held_out_f1"] for entry in log if "held_out_f1" in entry}
    assert list(measured) == [5, 10, 15, 20, 25] and set(measured.values()) == {1.0}
    assert not any("held_out_f1" in entry for entry in plain)

"""models/fusion_pooling.py and models/dropout.py"""

import pytest
import torch
from torch import nn

from tandem.models.dropout import ByteDropout, use_byte_dropout
from tandem.models.fusion_pooling import by_length, mean_and_max


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_mean_and_maximum_over_positions_and_their_gradient_are_those_of_torch(kind):
    torch.manual_seed(0)
    own = torch.randn(3, 25, 8).to(kind).requires_grad_()
    plain = own.detach().float().requires_grad_()
    mean, largest = mean_and_max(own)
    expected = plain.mean(1), plain.amax(1)
    assert mean.dtype == largest.dtype == torch.float32
    assert torch.allclose(mean, expected[0], atol=1e-6) and torch.equal(largest, expected[1])
    weights = torch.randn(2, 3, 8)
    for found in ((mean, largest), expected):
        (weights[0] * found[0] + weights[1] * found[1]).sum().backward()
    assert own.grad.dtype == kind
    assert torch.allclose(own.grad.float(), plain.grad, rtol=0.01, atol=1e-6 if kind == torch.float32 else 1e-2)


def test_equal_largest_values_share_the_gradient():
    positions = torch.tensor([[[2.0], [5.0], [5.0], [1.0]]], requires_grad=True)
    mean_and_max(positions)[1].sum().backward()
    assert positions.grad.flatten().tolist() == [0, 0.5, 0.5, 0]


def test_captions_in_groups_of_like_length_have_the_states_that_all_have_together_with_less_padding():
    lengths, widths = torch.arange(1, 49) % 12 + 1, []
    states = torch.ones(48, 12, 2) * (torch.arange(12) < lengths[:, None])[..., None]

    def layers(states):
        widths.append(states.shape[1])
        return states * states.sum(1, keepdim=True)  # padding adds nothing

    assert torch.equal(by_length(layers, states, lengths), states * states.sum(1, keepdim=True))
    assert widths == [4, 8, 12]


def test_a_batch_of_few_captions_is_computed_at_once():
    widths = []
    by_length(lambda states: widths.append(states.shape[1]) or states, torch.ones(20, 5, 2), torch.full((20,), 3))
    assert widths == [5]


def test_byte_dropout_keeps_the_share_and_the_mean_and_draws_by_the_seed():
    dropout, x = ByteDropout(0.25), torch.ones(999, 101)
    torch.manual_seed(0)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(0)
    assert torch.equal(dropout(x), first) and not torch.equal(first, second)
    assert first.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert (first == 0).float().mean(0).sub(0.25).abs().max() < 0.06  # of each column
    assert first.mean() == pytest.approx(1, abs=0.01)
    assert torch.equal(dropout.eval()(x), x)


def test_byte_dropout_takes_the_place_of_each_dropout_of_a_network():
    network = use_byte_dropout(nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.1))))
    assert isinstance(network[1][0], ByteDropout) and network[1][0].p == 0.1

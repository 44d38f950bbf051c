"""Convolutions with their activation in one call compute what separate calls do."""

import pytest
import torch
from torch import nn

from tandem.features.fused_convolution import FusedConvolution, fuse_convolutions
from tandem.runtime.torch_setup import has_bfloat16, import_timm

X = torch.randn(2, 4, 11, 12, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)


def convolutions() -> dict[str, nn.Conv2d]:
    import_timm()
    from timm.layers import Conv2dSame

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {
            "plain": nn.Conv2d(4, 6, 3, padding=1),
            "no bias": nn.Conv2d(4, 6, 1, bias=False),
            "depthwise": nn.Conv2d(4, 4, 5, stride=2, padding=2, groups=4),
            "same, stride 2": Conv2dSame(4, 4, 3, stride=2, groups=4),
            "same, stride 2, 5 wide": Conv2dSame(4, 4, 5, stride=2, groups=4),
        }


@torch.inference_mode()
@pytest.mark.parametrize("bfloat16", [False, pytest.param(True, marks=pytest.mark.skipif(
    not has_bfloat16("cpu"), reason="this machine computes bfloat16 slowly"))])  # fmt: skip
@pytest.mark.parametrize("name", convolutions())
def test_a_fused_convolution_gives_the_values_of_separate_calls(name, bfloat16):
    convolution = convolutions()[name].eval()
    for activation in (nn.ReLU6(), None):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            expected = convolution(X) if activation is None else activation(convolution(X))
            found = FusedConvolution(convolution, activation)(X)
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert torch.allclose(found.float(), expected.float(), atol=1e-5)


def test_a_network_is_fused_only_where_the_outputs_stay_the_same():
    import_timm()
    from timm.layers import Conv2dSame

    class Twice(nn.Module):
        """Uses a value between a convolution and its neighbour."""

        def __init__(self):
            super().__init__()
            self.convolution, self.act = Conv2dSame(4, 4, 3), nn.ReLU()

        def forward(self, x):
            return self.act(self.convolution(x) - 1)

    twice = Twice().eval()
    assert fuse_convolutions(twice, lambda network: network(X)) is twice
    plain = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()).eval()
    assert isinstance(fuse_convolutions(plain, lambda network: network(X))[0], FusedConvolution)
    assert isinstance(plain[0], nn.Conv2d)


def test_a_network_without_pairs_of_convolution_and_activation_stays_as_it_is():
    smooth = nn.Sequential(nn.Conv2d(4, 4, 3), nn.SiLU()).eval()
    assert fuse_convolutions(smooth, lambda network: network(X)) is smooth

"""Torch on this machine."""

import pytest
import torch

from tandem.runtime.torch_setup import autocast, has_bfloat16


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [("avx2", torch.float32), ("avx512_bf16", torch.bfloat16), ("bf16", torch.bfloat16)],
)
def test_a_cpu_computes_in_bfloat16_only_if_it_has_instructions_for_it(monkeypatch, instructions, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instructions: True})
    has_bfloat16.cache_clear()
    with autocast(torch.device("cpu")):
        assert (torch.eye(2) @ torch.eye(2)).dtype == expected
    has_bfloat16.cache_clear()

"""Weights on disk: large tensors in int8, small ones in float16."""

import torch

FEW = 4096  # numbers; a smaller tensor is float16
SCALE = ".scale"
# metadata of packed files, as others may read them; one entry, because safetensors writes several in any order
PACKED = {"packed": "int8"}


def pack(state: dict[str, torch.Tensor], exact: set[str]) -> dict[str, torch.Tensor]:
    """Tensors to save: int8 and a float16 scale for each row of a large matrix or kernel; `exact` ones unchanged.
    Rounded to 127 steps of a row's largest absolute value (Jacob et al. 2018, arXiv 1712.05877)."""
    out = {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        if name in exact or not tensor.is_floating_point():
            out[name] = tensor
        elif tensor.ndim < 2 or tensor.numel() < FEW:
            out[name] = tensor.half()
        else:
            rows = tensor.float().flatten(1)
            scale = (rows.abs().amax(1, keepdim=True) / 127).clamp_min(1e-7).half()
            out[name] = (rows / scale.float()).round().clamp(-127, 127).to(torch.int8).view(tensor.shape)
            out[name + SCALE] = scale
    return out


def unpack(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The inverse of `pack`, up to its rounding."""
    out = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE):
            continue
        if (scale := tensors.get(name + SCALE)) is not None:
            tensor = (tensor.float().flatten(1) * scale.float()).view(tensor.shape)
        out[name] = tensor
    return out

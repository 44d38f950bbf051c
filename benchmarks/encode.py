"""Frozen image features: timm as it comes (float32) against folded batch norms, channels last and bfloat16."""

import time

import torch

from tandem.config import ImageEncoder
from tandem.encoders.images import prepare
from tandem.encoders.weights import load_backbone
from tandem.runtime import autocast, device

BATCH, REPEATS = 32, 4


@torch.inference_mode()
def rate(network: torch.nn.Module, pixels: torch.Tensor, bfloat16: bool) -> float:
    """Images a second, the best of REPEATS after one warm-up."""
    best = float("inf")
    for repeat in range(REPEATS + 1):
        start = time.perf_counter()
        with autocast(pixels.device, bfloat16):
            network.forward_features(pixels)
        if repeat:
            best = min(best, time.perf_counter() - start)
    return len(pixels) / best


def main() -> None:
    cfg, on = ImageEncoder(), device()
    pixels = torch.randn(BATCH, 3, cfg.size, cfg.size, generator=torch.Generator().manual_seed(0)).to(on)
    plain = load_backbone(cfg.model, cfg.weights).eval().to(on)
    slow = rate(plain, pixels, bfloat16=False)
    fast = rate(prepare(plain).to(on), pixels.contiguous(memory_format=torch.channels_last), bfloat16=True)
    print(f"{cfg.model}, {cfg.size} px, batch {BATCH}, on {on}: {slow:.0f} and {fast:.0f} img/s")
    print(f"figure encode_speedup {fast / slow:.2f} x")


if __name__ == "__main__":
    main()

"""Frozen image features: timm as it comes, in batches of 32, against how Tandem computes them.

Batch norms folded, channels last, bfloat16 where the hardware has it, and a batch that fits the caches.
"""

import time

import torch

from tandem.config.encoders import ImageEncoder
from tandem.features.image_backbone_split import prepare
from tandem.features.image_encoder import BATCH
from tandem.features.pretrained_weights import load_backbone
from tandem.runtime.torch_setup import autocast, device, use_threads

IMAGES, REPEATS = 32, 4


@torch.inference_mode()
def rate(network: torch.nn.Module, pixels: torch.Tensor, batch: int, bfloat16: bool) -> float:
    """Images a second, the best of REPEATS after one warm-up."""
    best = float("inf")
    for repeat in range(REPEATS + 1):
        start = time.perf_counter()
        with autocast(pixels.device, bfloat16):
            for part in pixels.split(batch):
                network.forward_features(part)
        if repeat:
            best = min(best, time.perf_counter() - start)
    return len(pixels) / best


def main() -> None:
    use_threads()
    cfg, on = ImageEncoder(), device()
    pixels = torch.randn(IMAGES, 3, cfg.size, cfg.size, generator=torch.Generator().manual_seed(0)).to(on)
    plain = load_backbone(cfg.model, cfg.weights).eval().to(on)
    slow = rate(plain, pixels, IMAGES, bfloat16=False)
    ours = pixels.contiguous(memory_format=torch.channels_last)
    fast = rate(prepare(plain).to(on), ours, BATCH[on.type], bfloat16=True)
    print(f"{cfg.model}, {cfg.size} px, on {on}: {slow:.0f} and {fast:.0f} img/s")
    print(f"figure encode_speedup {fast / slow:.2f} x")


if __name__ == "__main__":
    main()

"""Frozen image features: timm as it comes, in batches of 32, against how Tandem computes them; and two encoders of one
network in one pass over the photos, against one pass for each.

Batch norms folded, channels last, bfloat16 where the hardware has it, and a batch that fits the caches.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from tandem.config.encoders import ImageEncoder, TrunkEncoder
from tandem.features.image_backbone_split import prepare
from tandem.features.image_encoder import PIXELS, encode_images, load_networks
from tandem.features.pretrained_weights import load_backbone
from tandem.runtime.torch_setup import autocast, device, use_threads
from tandem.sample.glyphs import Glyphs, fonts_folder
from tandem.stages.sample import draw_row

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


def seconds_of_pass(encoders: Sequence[ImageEncoder | TrunkEncoder], files: Sequence[Path]) -> float:
    """Seconds in which the photos go through the encoders, the best of REPEATS."""
    networks, slugs = load_networks(encoders), [cfg.slug for cfg in encoders]
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in encode_images(networks, files, slugs):
            pass
        best = min(best, time.perf_counter() - start)
    return best


def one_pass() -> None:
    """A network that stands frozen and as a trunk."""
    whole, trunk = ImageEncoder(size=448), TrunkEncoder(size=448)
    glyphs = Glyphs(fonts_folder())
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{row}.jpg" for row in range(IMAGES)]
        for row, file in enumerate(files):
            file.write_bytes(draw_row(0, row, glyphs)[2])
        apart = seconds_of_pass([whole], files) + seconds_of_pass([trunk], files)
        together = seconds_of_pass([whole, trunk], files)
    print(
        f"{whole.model} frozen and as a trunk, 448 px: {apart:.1f} s one after the other, {together:.1f} s in one pass"
    )
    print(f"figure one_pass_speedup {apart / together:.2f} x")


def main() -> None:
    use_threads()
    cfg, on = ImageEncoder(), device()
    pixels = torch.randn(IMAGES, 3, cfg.size, cfg.size, generator=torch.Generator().manual_seed(0)).to(on)
    plain = load_backbone(cfg.model, cfg.weights).eval().to(on)
    slow = rate(plain, pixels, IMAGES, bfloat16=False)
    ours = pixels.contiguous(memory_format=torch.channels_last)
    batch = max(1, PIXELS[on.type] // cfg.size**2)
    fast = rate(prepare(plain).to(on), ours, batch, bfloat16=True)
    print(f"{cfg.model}, {cfg.size} px, on {on}: {slow:.0f} and {fast:.0f} img/s")
    print(f"figure encode_speedup {fast / slow:.2f} x")
    one_pass()


if __name__ == "__main__":
    main()

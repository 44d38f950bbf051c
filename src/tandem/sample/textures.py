"""Noise, gradients and colours for backdrops and objects."""

from functools import cache

import numpy as np
from PIL import Image, ImageColor

FIELD = 256  # pixels per side of a noise field, which can be tiled


@cache
def rgb(colour: str) -> np.ndarray:
    """(3,) f4 in 0..255 of `#rrggbb`."""
    return np.array(ImageColor.getrgb(colour), np.float32)


def pick(colours: str, rng: np.random.Generator, spread: float = 10) -> np.ndarray:
    """A random one of the colours, such as `#ff0000 #00ff00`: (3,) f4, slightly varied."""
    choices = colours.split()
    colour = rgb(choices[rng.integers(len(choices))])
    return np.clip(colour + rng.normal(0, spread) + rng.normal(0, spread / 3, 3), 0, 255).astype(np.float32)


@cache
def noise_field(octave: int) -> np.ndarray:
    """(FIELD, FIELD) f4 in 0..1: tileable fractal noise; its largest structures have FIELD / 2**octave pixels."""
    rng = np.random.default_rng(octave)
    total = np.zeros((FIELD, FIELD), np.float32)
    for step in range(4):
        cells = min(FIELD, 2 ** (octave + step))
        coarse = np.pad(rng.random((cells, cells), np.float32), 2, mode="wrap")
        pixel = FIELD / cells
        side = round((cells + 4) * pixel)
        fine = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
        edge = round(2 * pixel)
        total += fine[edge : edge + FIELD, edge : edge + FIELD] / 2**step
    low, high = np.quantile(total, (0.01, 0.99)).astype(np.float32)
    return np.clip((total - low) / (high - low), 0, 1)


def noise(octave: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """(height, width) f4 in 0..1: a random window of a field; at most FIELD a side."""
    field = noise_field(octave)
    y, x = rng.integers(FIELD - height + 1), rng.integers(FIELD - width + 1)
    window = field[y : y + height, x : x + width]
    return window[:, ::-1] if rng.random() < 0.5 else window


def ground_noise(octave: int, height: int, width: int, rng: np.random.Generator, stretch: float = 1) -> np.ndarray:
    """(height, width) f4 in 0..1: noise on a plane in perspective, from the horizon (row 0) to the viewer."""
    field = noise_field(octave)
    away = 40.0 / (np.arange(height, dtype=np.float32) + 3)
    rows = (away * 60 + rng.integers(FIELD)).astype(int) % FIELD
    side = (np.arange(width, dtype=np.float32) - width / 2) * away[:, None] / stretch
    return field[rows[:, None], (side + rng.integers(FIELD)).astype(int) % FIELD]


def gradient(height: int, stops: list[tuple[float, np.ndarray]]) -> np.ndarray:
    """(height, 1, 3) f4 colours interpolated between `stops` (position, colour); 0 is the top, 1 the bottom.

    >>> gradient(3, [(0, np.zeros(3)), (1, np.full(3, 200))])[1, 0].tolist()
    [100.0, 100.0, 100.0]
    """
    at = np.linspace(0, 1, height)
    where = [position for position, _ in stops]
    channels = [np.interp(at, where, [colour[c] for _, colour in stops]) for c in range(3)]
    return np.stack(channels, -1)[:, None].astype(np.float32)


def mix(under: np.ndarray, over: np.ndarray, alpha: np.ndarray | float) -> np.ndarray:
    """Alpha blending of `over` on `under`; `alpha` (h, w) in 0..1, or one number."""
    a = alpha[..., None] if isinstance(alpha, np.ndarray) else alpha
    return under + (over - under) * a

"""Parts of several backdrops: a pen with smooth edges, sky, ground, hills and rows of buildings."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageDraw

from tandem.sample.scenes import SIDE
from tandem.sample.textures import gradient, ground_noise, mix, noise, pick, rgb

FINE = 2  # shapes are drawn this many times larger and then reduced, for smooth edges
SKIES = (  # zenith, middle, horizon
    ("#3b78b5", "#83b1d6", "#d6e6ee"),
    ("#2f62a3", "#6fa3d2", "#c9dfe8"),
    ("#7f93a5", "#a9b6bf", "#cfd5d6"),
    ("#34466e", "#b0718a", "#f4b27a"),
    ("#5a6fa0", "#e0a59a", "#f9d9a8"),
    ("#94a0a8", "#bcc2c4", "#dcdcd6"),
    ("#1b2442", "#3d4a75", "#8f7f95"),
)
SUNLIGHT = np.array([255, 244, 214], np.float32)


class Pen:
    """Draws on an image FINE times larger, in pixels of the final one; colours are (3,) in 0..255."""

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)

    @staticmethod
    def _ink(colour: np.ndarray) -> tuple[int, ...]:
        return tuple(int(c) for c in np.clip(colour, 0, 255))

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: np.ndarray) -> None:
        self._draw.rectangle((x0 * FINE, y0 * FINE, x1 * FINE, y1 * FINE), fill=self._ink(colour))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: np.ndarray) -> None:
        corners = ((x - rx) * FINE, (y - ry) * FINE, (x + rx) * FINE, (y + ry) * FINE)
        self._draw.ellipse(corners, fill=self._ink(colour))

    def polygon(self, points: Iterable[tuple[float, float]], colour: np.ndarray) -> None:
        self._draw.polygon([(x * FINE, y * FINE) for x, y in points], fill=self._ink(colour))

    def line(self, points: Iterable[tuple[float, float]], colour: np.ndarray, width: float = 0.5) -> None:
        scaled = [(x * FINE, y * FINE) for x, y in points]
        self._draw.line(scaled, fill=self._ink(colour), width=max(1, int(width * FINE)))


@contextmanager
def pen_on(canvas: np.ndarray) -> Iterator[Pen]:
    """A pen whose shapes are on the canvas at the end of the block."""
    small = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    large = small.resize((SIDE * FINE, SIDE * FINE), Image.Resampling.BILINEAR)
    yield Pen(large)
    canvas[:] = large.reduce(FINE)


def sky(rng: np.random.Generator) -> np.ndarray:
    """A sky over the whole image, with clouds and sometimes a sun."""
    zenith, middle, low = (rgb(c) + rng.normal(0, 6) for c in SKIES[rng.integers(len(SKIES))])
    canvas = np.repeat(gradient(SIDE, [(0, zenith), (0.3, middle), (0.62, low), (1, low)]), SIDE, axis=1)
    cover = noise(3, SIDE, SIDE // 2, rng).repeat(2, axis=1)
    cover[:, 1:-1] = (cover[:, :-2] + 2 * cover[:, 1:-1] + cover[:, 2:]) / 4
    alpha = np.clip((cover - rng.uniform(0.35, 0.75)) * 3, 0, rng.uniform(0.3, 0.85)).astype(np.float32)
    canvas = mix(canvas, np.minimum(low + 45, 252), alpha)
    if rng.random() < 0.4:
        y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
        distance = np.hypot(x - rng.uniform(10, SIDE - 10), y - rng.uniform(5, 70))
        canvas = mix(canvas, SUNLIGHT, 0.8 * np.exp(-((distance / rng.uniform(18, 50)) ** 2)).astype(np.float32))
    return canvas


def haze(canvas: np.ndarray, horizon: float) -> np.ndarray:
    """(3,) colour just above the horizon, into which distant objects fade."""
    return canvas[int(horizon) - 1].mean(axis=0)


def lay_ground(canvas: np.ndarray, top: float, far: np.ndarray, near: np.ndarray, rng: np.random.Generator,
               grain: float = 0.3, octave: int = 4, stretch: float = 1) -> None:  # fmt: skip
    """Paints a plane from row `top` down, in place; `grain` is the strength of its texture."""
    start = int(top)
    texture = ground_noise(octave, SIDE - start, SIDE, rng, stretch) - 0.5
    canvas[start:] = gradient(SIDE - start, [(0, far), (1, near)]) * (1 + grain * texture[..., None])


def _ridge(rng: np.random.Generator, base: float, height: float) -> list[tuple[float, float]]:
    """Polygon of a row of hills with its lower edge at row `base`."""
    x = np.linspace(0, SIDE, 33)
    waves = sum(np.sin(x / SIDE * 2 * np.pi * f + rng.uniform(0, 7)) / f for f in (0.7, 1.6, 3.1, 6.3))
    return [*zip(x, np.minimum(base - height * (0.5 + 0.28 * waves), base), strict=True), (SIDE, base), (0, base)]


def hills(canvas: np.ndarray, horizon: float, height: float, colours: str, rng: np.random.Generator) -> np.ndarray:
    """The canvas, changed in place, with three ridges of hills, the more distant ones paler."""
    air = haze(canvas, horizon)
    with pen_on(canvas) as pen:
        for step, part in enumerate((0.65, 0.35, 0.12)):
            colour = mix(pick(colours, rng), air, part)
            pen.polygon(_ridge(rng, horizon + 1, height * (1 - 0.27 * step)), colour)
    return canvas


WALLS = "#a8917a #b8aca0 #8c5a48 #6f7a85 #c9b99a #7d6a5e #9aa5ad"
PANES = "#2d3a46 #f2d9a0 #54687a #dfe7ea"


def _building(pen: Pen, x: float, ground: float, width: float, height: float, wall: np.ndarray,
              rng: np.random.Generator) -> None:  # fmt: skip
    pen.box(x, ground - height, x + width, ground + 2, wall)
    pane = mix(wall, pick(PANES, rng), 0.6)
    step, floor = rng.uniform(5, 8), rng.uniform(6, 9)
    for u in np.arange(x + 3, x + width - 4, step):
        for v in np.arange(ground - height + 4, ground - 5, floor):
            pen.box(u, v, u + 2.6, v + 3.6, pane)


def buildings(canvas: np.ndarray, horizon: float, tallest: float, rng: np.random.Generator) -> np.ndarray:
    """The canvas, changed in place, with two rows of buildings, the more distant one taller and paler."""
    air = haze(canvas, horizon)
    with pen_on(canvas) as pen:
        for part, low, high in ((0.55, 0.5, 1.0), (0.15, 0.2, 0.75)):
            x = -rng.uniform(0, 20)
            while x < SIDE:
                width, height = rng.uniform(14, 34), tallest * rng.uniform(low, high)
                _building(pen, x, horizon, width, height, mix(pick(WALLS, rng), air, part), rng)
                x += width + (rng.uniform(2, 14) if rng.random() < 0.25 else 0)
    return canvas

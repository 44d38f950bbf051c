"""The backdrop of each kind of scene: (SIDE, SIDE, 3) f4 in 0..255."""

from collections.abc import Callable

import numpy as np

from tandem.sample.landscape import Pen, buildings, haze, hills, lay_ground, pen_on, sky
from tandem.sample.scenes import SIDE, Scene
from tandem.sample.textures import gradient, ground_noise, mix, noise, pick, rgb


def street(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    horizon = scene.horizon
    canvas = buildings(sky(rng), horizon, rng.uniform(35, 85), rng)
    pavement = pick("#a39d93 #8f8f8c #b3a894 #8a8580", rng)
    lay_ground(canvas, horizon, pavement * 0.9, pavement, rng, grain=0.25)
    asphalt = pick("#4a4d50 #5c5c5a #3c4046 #666360", rng)
    end, far, near = rng.uniform(20, 140), rng.uniform(4, 12), rng.uniform(70, 120)
    middle = rng.uniform(40, 120)
    with pen_on(canvas) as pen:
        road = (end - far, horizon), (end + far, horizon), (middle + near, SIDE), (middle - near, SIDE)
        pen.polygon(road, asphalt)
        for t in (0.3, 0.36, 0.43, 0.52, 0.64, 0.8):
            dash = [(end + (middle - end) * s, horizon + (SIDE - horizon) * s) for s in (t, 1.1 * t)]
            pen.line(dash, asphalt + 120, width=0.5 + 3 * t)
    ground = int(horizon)
    canvas[ground:] *= 1 + 0.14 * (ground_noise(5, SIDE - ground, SIDE, rng)[..., None] - 0.5)
    return canvas


def park(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    horizon = scene.horizon
    canvas = hills(sky(rng), horizon, rng.uniform(26, 55), "#3f6b3a #54803f #2f5a3a #6f8f4a #a8793a", rng)
    canvas *= 1 + 0.12 * (noise(4, SIDE, SIDE, rng)[..., None] - 0.5)
    grass = pick("#5f9440 #78a548 #4d7f3a #8fa350 #9c9a52", rng)
    lay_ground(canvas, horizon, grass * 0.82, grass * 1.08, rng, grain=0.45)
    if rng.random() < 0.4:
        return canvas
    sand, side = pick("#cdb68c #b8a684 #a89f94", rng), rng.uniform(20, 140)
    with pen_on(canvas) as pen:
        t = np.linspace(0, 1, 16)
        x = side + 45 * np.sin(3 * t + side) * t
        y = horizon + (SIDE - horizon) * t**1.4
        wide = 1.5 + 22 * t**1.4
        pen.polygon([*zip(x - wide, y, strict=True), *zip((x + wide)[::-1], y[::-1], strict=True)], sand)
    return canvas


def farm(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    horizon = scene.horizon
    canvas = hills(sky(rng), horizon, rng.uniform(16, 40), "#6b8f4a #8aa45a #4f7a48 #a89a55", rng)
    field = pick("#7d9c4a #b59a4f #8f8a4a #a0793f #6f9146", rng)
    lay_ground(canvas, horizon, field * 0.9, field * 1.05, rng, grain=0.4, octave=3)
    across = np.arange(SIDE) - rng.uniform(0, SIDE)
    down = np.arange(SIDE - int(horizon))[:, None] + 6
    canvas[int(horizon) :] *= 1 + rng.uniform(0, 0.14) * np.sin(9 * across / down)[..., None]  # furrows
    if rng.random() < 0.4:
        return canvas
    wood, y = pick("#e3ddd0 #7a5c40 #5c4632", rng), horizon + rng.uniform(3, 12)
    with pen_on(canvas) as pen:
        for x in np.arange(rng.uniform(0, 14), SIDE, 15):
            pen.box(x, y - 9, x + 1.6, y + 3, wood)
        for rail in (-6.5, -2.5):
            pen.box(0, y + rail, SIDE, y + rail + 1.2, wood)
    return canvas


def harbour(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    horizon, quay = scene.horizon, int(scene.quay)
    canvas = sky(rng)
    glow = haze(canvas, horizon)
    if rng.random() < 0.7:
        canvas = hills(canvas, horizon, rng.uniform(8, 28), "#4a5f6a #5f7a6a #3f566f #6f6a7a", rng)
    water = pick("#2f6f86 #27577a #3f8a90 #46647a", rng)
    lay_ground(canvas, horizon, mix(water, glow, 0.55), water * 0.85, rng, stretch=4)
    glints = ground_noise(5, SIDE - int(horizon), SIDE, rng, stretch=5)
    canvas[int(horizon) :] = mix(canvas[int(horizon) :], glow, np.clip((glints - 0.72) * 2.2, 0, 0.6))
    planks = pick("#8f7a62 #a39684 #7d7468 #b0a08a", rng)
    lay_ground(canvas, quay, planks * 0.8, planks, rng, octave=5)
    with pen_on(canvas) as pen:
        for x in np.linspace(-1.5, 2.5, 24) * SIDE:
            pen.line(((SIDE / 2 + (x - SIDE / 2) * 0.55, quay), (x, SIDE)), planks * 0.7)
        pen.line(((0, quay), (SIDE, quay)), planks * 1.25, width=2)
    return canvas


def airport(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    horizon = scene.horizon
    canvas = hills(sky(rng), horizon, rng.uniform(5, 14), "#5f7a5a #7a8a6a #6a7a85", rng)
    tarmac = pick("#7d8184 #6a6d70 #94948f", rng)
    lay_ground(canvas, horizon, tarmac * 1.08, tarmac * 0.9, rng, grain=0.2)
    left, wide, high = rng.uniform(-20, 90), rng.uniform(50, 100), rng.uniform(10, 20)
    wall, tower = pick("#cfd4d6 #b8b3a8 #8f9aa3", rng), rng.uniform(10, 150)
    start, lean = horizon + (SIDE - horizon) * rng.uniform(0.2, 0.7), rng.uniform(-15, 15)
    with pen_on(canvas) as pen:
        pen.box(tower, horizon - 34, tower + 5, horizon, wall * 0.85)
        pen.box(tower - 3, horizon - 41, tower + 8, horizon - 34, rgb("#3f5566"))
        pen.box(left, horizon - high, left + wide, horizon, wall)
        pen.box(left, horizon - high * 0.7, left + wide, horizon - high * 0.4, rgb("#4a6274"))
        for t in (0.12, 0.3, 0.55, 0.85):
            y = horizon + (SIDE - horizon) * t
            pen.box(SIDE / 2 - 16 * t - 4, y, SIDE / 2 + 16 * t + 4, y + 1 + 4 * t, rgb("#e8e4c8"))
        pen.line(((0, start), (SIDE, start + lean)), rgb("#d9b53f"), width=1.5)
    return canvas


def station(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    horizon = scene.horizon
    canvas = hills(sky(rng), horizon, rng.uniform(8, 30), "#5f7a5a #54707a #7a7a68", rng)
    if rng.random() < 0.6:
        canvas = buildings(canvas, horizon, 40, rng)
    gravel = pick("#8a8078 #77706a #9a8f80", rng)
    lay_ground(canvas, horizon, gravel, gravel * 0.9, rng, grain=0.5, octave=5)
    vanish, foot, edge = rng.uniform(40, 120), rng.uniform(30, 130), rng.uniform(-60, 40)
    platform = pick("#b5ada0 #a3a3a0 #8f8a85", rng)
    steel, timber, mast, line = rgb("#b9bec2"), rgb("#54402f"), rgb("#4a4f54"), rgb("#e0c04a")

    def at(x: float, t: float) -> tuple[float, float]:
        """Pixel of the ground point that is at column `x` in front (t = 1); t = 0 is the vanishing point."""
        return vanish + (x - vanish) * t, horizon + (SIDE - horizon) * t

    with pen_on(canvas) as pen:
        for t in np.linspace(0.05, 1, 14) ** 1.6:
            pen.line((at(foot - 46, t), at(foot + 46, t)), timber, width=0.5 + 3.5 * t)
        for rail in (foot - 30, foot + 30):
            pen.polygon((at(rail, 0), at(rail + 5, 1), at(rail - 5, 1)), steel)
        pen.polygon((at(edge, 0.02), at(edge, 1), at(edge - 300, 1), at(edge - 300, 0.02)), platform)
        pen.line((at(edge - 6, 0.02), at(edge - 6, 1)), line, width=2)
        for t in (0.15, 0.4):
            x, y = at(foot + 90, t)
            pen.box(x, y - 85 * t, x + 0.5 + 2.5 * t, y, mast)
            pen.line(((x - 40 * t, y - 82 * t), (x, y - 82 * t)), mast, width=1)
    return canvas


def _pictures(pen: Pen, rng: np.random.Generator) -> None:
    light = pick("#cfe3f2 #f6e2b8 #8fb0cf #2c3a5a", rng)
    for _ in range(rng.integers(1, 4)):
        x, y, w, h = rng.uniform(0, 130), rng.uniform(4, 26), rng.uniform(18, 42), rng.uniform(20, 42)
        pen.box(x, y, x + w, y + h, pick("#efece4 #4a3626 #2b2b2b #a07d4a", rng))
        inner = light if rng.random() < 0.5 else pick("#6f8f7a #b5634a #c9b27a #54708f", rng)
        pen.box(x + 2, y + 2, x + w - 2, y + h - 2, inner)


def home(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    horizon = scene.horizon
    wall = pick("#d8cdb8 #b9c7c4 #c9a58f #a3b2c2 #e3ddd0 #8f9f8a #c2b0c4", rng)
    canvas = np.repeat(gradient(SIDE, [(0, wall * 0.82), (0.6, wall * 1.04), (1, wall)]), SIDE, axis=1)
    canvas *= 1 + 0.06 * (noise(4, SIDE, SIDE, rng)[..., None] - 0.5)
    if rng.random() < 0.35:
        stripes = np.sin(np.arange(SIDE) * 2 * np.pi / rng.uniform(9, 22)) > rng.uniform(-0.3, 0.6)
        canvas *= np.where(stripes, 1, rng.uniform(0.88, 0.96))[None, :, None]
    floor = pick("#8f6540 #b58a5a #6a4a34 #c2a37a #8a8580", rng)
    lay_ground(canvas, horizon, floor * 0.85, floor * 1.05, rng, grain=0.2, stretch=0.2)
    rug = pick("#a8483f #4f6f8f #c9b58f #5f7a5a #7a4f6f", rng)
    with pen_on(canvas) as pen:
        for x in np.linspace(-2, 3, 30) * SIDE:
            pen.line(((SIDE / 2 + (x - SIDE / 2) * 0.35, horizon), (x, SIDE)), floor * 0.72)
        pen.box(0, horizon - 5, SIDE, horizon, wall * 1.15)
        _pictures(pen, rng)
        if rng.random() < 0.6:
            x, y, wide = rng.uniform(20, 120), rng.uniform(horizon + 16, SIDE - 12), rng.uniform(40, 75)
            for part, shade in ((1, 0.8), (0.85, 1.1), (0.6, 0.92)):
                pen.ellipse(x, y, wide * part, 0.28 * wide * part, rug * shade)
    return canvas


BACKDROPS: dict[str, Callable[[Scene, np.random.Generator], np.ndarray]] = {
    backdrop.__name__: backdrop for backdrop in (street, park, home, harbour, farm, airport, station)
}

"""Random scenes: objects with their sizes and positions, without pixels and captions."""

from dataclasses import dataclass

import numpy as np

from tandem.sample.things import LABELS, THINGS

SIDE = 160  # pixels of an image
MOST = 4  # labels on a row
FAR = 0.68  # size of an object at the horizon, relative to the same object in front
TRIES = 6  # positions tried for each object; few, so that some objects are partly covered


@dataclass(frozen=True)
class Kind:
    """One kind of scene."""

    share: float  # of all scenes
    horizon: tuple[float, float]  # range, as a part of the height from the top
    labels: dict[str, float]  # {label: probability}
    others: dict[str, float]  # {thing without a label: probability}
    quay: float | None = None  # its edge, as a part of the height: above it is water, below it ground


KINDS = {
    "street": Kind(0.30, (0.48, 0.62),
        {"person": 0.42, "car": 0.62, "bus": 0.3, "bicycle": 0.2, "dog": 0.12, "bird": 0.06}
        | {"cat": 0.03, "traffic light": 0.24},
        {"tree": 0.3, "truck": 0.24, "motorcycle": 0.2, "hydrant": 0.2, "sign": 0.15}
        | {"umbrella": 0.08, "bench": 0.1}),
    "park": Kind(0.21, (0.42, 0.58),
        {"person": 0.48, "dog": 0.34, "bicycle": 0.30, "bird": 0.26, "cat": 0.06, "horse": 0.05, "car": 0.08},
        {"tree": 0.7, "bench": 0.25, "flower": 0.3, "kite": 0.2, "balloon": 0.12, "rabbit": 0.12} | {"umbrella": 0.08}),
    "home": Kind(0.15, (0.55, 0.66),
        {"cat": 0.45, "dog": 0.30, "person": 0.42, "bird": 0.08, "bicycle": 0.06},
        {"couch": 0.6, "lamp": 0.4, "chair": 0.25, "television": 0.35, "cactus": 0.25, "rabbit": 0.1}),
    "harbour": Kind(0.13, (0.36, 0.48),
        {"boat": 0.72, "person": 0.40, "bird": 0.28, "car": 0.14, "dog": 0.12, "bicycle": 0.08},
        {"lighthouse": 0.25, "palm": 0.2, "balloon": 0.1, "truck": 0.1, "umbrella": 0.08},
        quay=0.76),
    "farm": Kind(0.12, (0.38, 0.52),
        {"horse": 0.46, "dog": 0.18, "person": 0.32, "bird": 0.18, "car": 0.16, "cat": 0.12},
        {"cow": 0.4, "sheep": 0.35, "tractor": 0.3, "house": 0.4, "tree": 0.4, "rabbit": 0.1}),
    "airport": Kind(0.055, (0.46, 0.58),
        {"airplane": 0.74, "person": 0.34, "bus": 0.22, "car": 0.20, "bird": 0.08},
        {"helicopter": 0.3, "truck": 0.3, "suitcase": 0.3, "sign": 0.1}),
    "station": Kind(0.035, (0.42, 0.54),
        {"train": 0.72, "person": 0.50, "bicycle": 0.16, "bus": 0.10, "dog": 0.08},
        {"suitcase": 0.4, "bench": 0.3, "sign": 0.2, "tree": 0.3}),
}  # fmt: skip
GROUPS = {"person", "bird", "car"}  # of these there may be three


@dataclass(frozen=True)
class Item:
    """One object in a scene; lengths are pixels."""

    name: str
    drawing: str  # glyph name
    x: float  # horizontal middle
    foot: float  # lower edge
    size: float  # longer side
    depth: float  # 0 at the horizon, 1 in front
    place: str  # one of Thing.place


@dataclass(frozen=True)
class Scene:
    """One scene; its objects are ordered from far to near."""

    kind: str
    horizon: float  # pixels from the top
    quay: float  # pixels from the top; SIDE where there is none
    items: tuple[Item, ...]

    @property
    def names(self) -> list[str]:
        """Distinct things in the scene, labels first, in the order of THINGS."""
        return [name for name in THINGS if self.count(name)]

    @property
    def labels(self) -> list[str]:
        return [name for name in self.names if name in LABELS]

    def count(self, name: str) -> int:
        return sum(item.name == name for item in self.items)


def draw_names(kind: Kind, rng: np.random.Generator) -> list[str]:
    """Names of the things in one scene, one for each object; 1 to MOST different labels."""
    labels: list[str] = []
    while not 1 <= len(labels) <= MOST:
        labels = [name for name, chance in kind.labels.items() if rng.random() < chance]
    names = []
    for name in labels:
        names += [name] * (1 + (rng.random() < 0.22) + (name in GROUPS and rng.random() < 0.15))
    others = [name for name, chance in kind.others.items() if rng.random() < chance]
    rng.shuffle(others)
    return names + others[: max(1, 5 - len(names))]


def _foot(place: str, depth: float, size: float, horizon: float, quay: float, rng: np.random.Generator) -> float:
    if place == "sky":
        return horizon * rng.uniform(0.24, 0.95) + 6
    if place == "wall":
        return horizon * rng.uniform(0.55, 0.8)
    if place == "water":
        return horizon + (quay - horizon) * (0.1 + 0.85 * depth)
    top = quay + 4 if quay < SIDE else horizon + 0.06 * SIDE
    foot = top + (SIDE - 4 - top) * depth
    return foot - size * rng.uniform(0.5, 0.8) if place == "pole" else foot


def _overlap(a: Item, b: Item) -> float:
    """Overlap of the squares around two objects, relative to the smaller one."""
    width = min(a.x + a.size / 2, b.x + b.size / 2) - max(a.x - a.size / 2, b.x - b.size / 2)
    height = min(a.foot, b.foot) - max(a.foot - a.size, b.foot - b.size)
    return max(width, 0) * max(height, 0) / min(a.size, b.size) ** 2


def _try_place(name: str, drawing: str, place: str, crowd: float, horizon: float, quay: float,
               rng: np.random.Generator) -> Item:  # fmt: skip
    depth = rng.uniform(0, 1)
    size = THINGS[name].size * (FAR + (1 - FAR) * depth) * rng.uniform(0.85, 1.12) * crowd
    x = rng.uniform(0.3 * size, SIDE - 0.3 * size)
    foot = max(_foot(place, depth, size, horizon, quay, rng), 0.8 * size)
    return Item(name, drawing, x, foot, size, depth, place)


def draw_scene(rng: np.random.Generator) -> Scene:
    """One scene; each object gets the position of TRIES that overlaps least with the others."""
    shares = np.array([kind.share for kind in KINDS.values()])
    name = list(KINDS)[rng.choice(len(KINDS), p=shares / shares.sum())]
    kind = KINDS[name]
    horizon = rng.uniform(*kind.horizon) * SIDE
    quay = SIDE * (kind.quay or 1.0)
    names = draw_names(kind, rng)
    crowd = 1.0 if len(names) < 4 else 0.9
    items: list[Item] = []
    for thing_name in names:
        thing = THINGS[thing_name]
        place = thing.place[0 if rng.random() < 0.6 else -1]
        if place == "sky" and name == "home":
            place = "ground"
        drawing = thing.drawings[rng.integers(len(thing.drawings))]
        candidates = [_try_place(thing_name, drawing, place, crowd, horizon, quay, rng) for _ in range(TRIES)]
        items.append(min(candidates, key=lambda item: sum(_overlap(item, other) for other in items)))
    far_first = sorted(items, key=lambda item: (item.place not in ("sky", "wall"), item.depth))
    return Scene(name, horizon, quay, tuple(far_first))

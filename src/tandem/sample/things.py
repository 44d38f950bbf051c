"""The things in scenes: drawings, colours, size and place of each."""

from dataclasses import dataclass

Bands = tuple[tuple[float, float, str], ...]  # (from, to, palette): one colour each, from the top 0 to the bottom 1

PALETTES = {
    "skin": "#f2cfb1 #e0ac84 #c68a5e #8d5a3a #5c3a26",
    "cloth": "#c0392b #2e6da4 #2c3e50 #e3c65b #3f7d54 #7d4a8c #e07b39 #e8e4dc #20242c #5fa3a8 #b96a7d",
    "paint": "#b3202a #1f4e8c #e9e9e6 #24272b #9aa3aa #2f6b4f #d9a520 #6b2737 #7fa7c9 #cfc4ae",
    "bus": "#c8202f #f0b429 #1c5fa8 #2e8b57 #e8e6df #e0672d",
    "glass": "#33424f #5a7386 #222b33 #8fa9b8",
    "fur": "#8a5a34 #c69a63 #3b2a20 #e4d8c4 #6d6660 #a9713f #201c1a #b8a48c",
    "horse": "#6b3f22 #8f5a2e #2f2018 #c9b79c #9a938a #4a2c1a",
    "feather": "#3d5a80 #8c8f94 #20232a #f0ede6 #b5532f #6f5b45 #d9b44a",
    "bike": "#1e2226 #a8232d #1f5c99 #2f7d5b #d9d9d6 #d98a1f #5b3f8c",
    "hull": "#f1efe9 #a3262d #1e3f66 #2b2f33 #7a4a28 #2c7a7b",
    "sail": "#f7f4ec #f0e2c0 #e9edf0 #d8503f #f2c14e",
    "plane": "#eef1f3 #d5dbe0 #b9c2ca #f5f3ee",
    "livery": "#1d4f91 #c8202f #e9edf0 #24806a #e0862d",
    "post": "#2a2f2c #3d4246 #1f2322 #6b6f5a",
    "leaf": "#3f6b35 #5a8f3c #2f5233 #7d9b45 #6f8a4f #b5772f",
    "trunk": "#5a412c #4a3a2c #6d5136",
    "wall": "#d9cbb2 #b5543f #c9b48a #e9e4d8 #8a6f5a #94a3a8",
    "roof": "#7a3b2c #4a4f57 #8f5a3a #5c4033",
    "wood": "#8a6239 #a97c4b #6b4a2c #c19a6b",
    "soft": "#7a8c99 #a8574a #5f7f6a #c2a878 #4c5a7d #8c5f7a",
    "petal": "#d8434e #e8b23a #c86fb0 #f0e6e0 #8c5fc0",
    "white": "#f5f5f2 #e6e8ea #dfe3e6",
    "red": "#e0382c #ff5340",
    "amber": "#f2b02c #e8a020",
    "green": "#3fc060 #2fae58",
    "dark": "#1d2126 #2a2d31 #26221f",
}  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """One kind of object."""

    drawings: tuple[str, ...]  # glyph names, see `glyphs`
    size: float  # pixels of the longer side in a 160 px image, for an object in front
    body: Bands  # colours of the ink
    inside: Bands  # colours of the areas that the ink encloses (windows, eyes); empty: transparent
    place: tuple[str, ...]  # ground, sky, water, wall or pole; the first is the most frequent
    turn: float  # degrees of rotation (two standard deviations)
    texture: float  # strength of its pattern


def _bands(text: str) -> Bands:
    """
    >>> _bands("skin:0-0.2 dark")
    ((0.0, 0.2, 'skin'), (0.0, 1.0, 'dark'))
    """
    bands = []
    for part in text.split():
        name, _, span = part.partition(":")
        low, _, high = (span or "0-1").partition("-")
        bands.append((float(low), float(high), name))
    return tuple(bands)


def thing(drawings: str, size: float, body: str, inside: str = "dark", place: str = "ground", turn: float = 4,
          texture: float = 0.10) -> Thing:  # fmt: skip
    """A Thing from space-separated lists; colours as in `skin:0-0.2 cloth:0.25-1`, a name alone is for the whole."""
    return Thing(tuple(drawings.split()), size, _bands(body), _bands(inside), tuple(place.split()), turn, texture)


CLOTHED = "skin:0-0.2 cloth:0.24-0.56 cloth:0.6-0.92 dark:0.95-1"

LABELS = {  # the labels, roughly by frequency; OTHERS in a scene have no label
    "person": thing(
        "mdi:human-male mdi:human-female mdi:walk mdi:human-greeting mdi:human-handsdown mdi:run mdi:human-child "
        "ph:person-simple-walk-bold ph:person-fill ph:person-simple-run-bold fa6:person fa6:person-walking "
        "fa6:person-hiking fa6:person-dress fa6:child fa5:walking ri:walk-fill ri:run-fill",
        88, CLOTHED, inside="cloth", turn=6),
    "car": thing(
        "mdi:car mdi:car-side mdi:car-hatchback mdi:car-estate mdi:car-sports mdi:car-convertible mdi:taxi "
        "ph:car-fill ph:car fa6:car fa6:car-side fa6:car-rear fa5:car fa5:car-side ri:car-fill ri:taxi-fill",
        84, "paint:0-0.8 dark:0.92-1", inside="glass:0-0.55 white:0.6-1"),
    "dog": thing(
        "mdi:dog mdi:dog-side mdi:dog-service ph:dog-fill ph:dog-bold fa6:dog fa5:dog",
        64, "fur", inside="fur", turn=9, texture=0.25),
    "bicycle": thing(
        "mdi:bicycle mdi:bicycle-basket mdi:bicycle-penny-farthing mdi:bicycle-cargo ph:bicycle-bold ph:bicycle "
        "fa6:bicycle ri:bike-fill", 76, "bike:0-0.5 dark:0.62-1", inside="", turn=7, texture=0.05),
    "bird": thing(
        "mdi:bird ph:bird-fill ph:bird-bold fa6:dove fa6:crow fa5:crow",
        62, "feather:0-0.3 feather:0.6-1", inside="feather", place="sky ground", turn=16, texture=0.2),
    "cat": thing("mdi:cat ph:cat-fill ph:cat-bold ph:cat fa6:cat", 58, "fur", inside="fur", turn=9, texture=0.28),
    "boat": thing(
        "mdi:sail-boat mdi:ferry ph:boat-fill ph:boat-bold fa6:ship fa6:sailboat fa6:ferry ri:ship-fill "
        "ri:ship-2-fill ri:sailboat-fill", 86, "sail:0-0.52 hull:0.62-1", inside="sail", place="water", turn=7),
    "bus": thing(
        "mdi:bus mdi:bus-side mdi:bus-double-decker mdi:bus-school ph:bus-fill ph:bus fa6:bus fa6:bus-simple fa5:bus "
        "ri:bus-fill ri:bus-2-fill", 98, "bus:0-0.9 dark:0.96-1", inside="glass:0-0.6 white:0.66-1", turn=2),
    "horse": thing(
        "mdi:horse mdi:horse-variant ph:horse-fill ph:horse-bold fa6:horse fa6:horse-head fa5:horse",
        88, "horse", inside="horse", turn=5, texture=0.2),
    "traffic light": thing(
        "mdi:traffic-light mdi:traffic-light-outline fa6:traffic-light fa5:traffic-light ri:traffic-light-fill "
        "ri:traffic-light-line",
        58, "post", inside="red:0-0.36 amber:0.42-0.58 green:0.66-1", place="pole", turn=3, texture=0.03),
    "airplane": thing(
        "mdi:airplane mdi:airplane-takeoff mdi:airplane-landing ph:airplane-fill ph:airplane-tilt-fill "
        "ph:airplane-in-flight-fill fa6:plane fa6:plane-departure fa6:jet-fighter ri:plane-fill",
        92, "plane:0-0.55 livery:0.8-1", inside="livery", place="sky ground", turn=14, texture=0.04),
    "train": thing(
        "mdi:train mdi:tram mdi:train-variant ph:train-fill ph:train-simple-fill ph:train-regional-fill fa6:train "
        "fa6:train-tram ri:train-fill", 98, "bus:0-0.85 dark:0.94-1", inside="glass:0-0.6 white:0.68-1", turn=1),
}  # fmt: skip

OTHERS = {
    "tree": thing(
        "mdi:tree ph:tree-fill ph:tree-evergreen-fill fa6:tree mdi:pine-tree",
        96, "leaf:0-0.3 leaf:0.5-0.7 trunk:0.85-1", inside="leaf", texture=0.4),
    "palm": thing("mdi:palm-tree", 98, "leaf:0-0.4 trunk:0.5-1", inside="leaf", texture=0.3),
    "flower": thing("mdi:flower-tulip mdi:flower ph:flower-fill", 38, "petal:0-0.45 leaf:0.6-1", inside="petal"),
    "house": thing("mdi:home fa6:house ph:house-fill mdi:barn", 92, "roof:0-0.4 wall:0.45-1", turn=1, texture=0.2),
    "truck": thing("fa6:truck mdi:truck ph:truck-fill mdi:dump-truck", 96, "paint:0-0.8 dark:0.92-1", inside="glass"),
    "motorcycle": thing(
        "mdi:motorbike mdi:moped fa6:motorcycle fa5:motorcycle ri:motorbike-fill",
        76, "paint:0-0.5 dark:0.65-1", turn=6),
    "helicopter": thing("mdi:helicopter fa6:helicopter", 80, "paint", inside="glass", place="sky", turn=12),
    "tractor": thing("mdi:tractor fa6:tractor", 82, "paint:0-0.6 dark:0.75-1"),
    "cow": thing("mdi:cow fa6:cow", 80, "fur", inside="white", turn=3, texture=0.35),
    "sheep": thing("mdi:sheep", 56, "white", turn=5, texture=0.3),
    "rabbit": thing("mdi:rabbit mdi:rabbit-variant", 46, "fur", inside="white", turn=8, texture=0.2),
    "lighthouse": thing(
        "mdi:lighthouse mdi:lighthouse-on", 92, "white:0-0.3 red:0.35-0.6 white:0.65-1", inside="red", turn=1),
    "umbrella": thing(
        "mdi:umbrella fa6:umbrella ph:umbrella-fill", 58, "cloth:0-0.5 dark:0.6-1", inside="cloth", turn=12),
    "hydrant": thing("mdi:fire-hydrant", 44, "red:0-0.6 amber:0.9-1", turn=2),
    "bench": thing("mdi:bench-back mdi:bench", 62, "wood:0-0.5 dark:0.8-1", inside="wood", turn=1),
    "lamp": thing("mdi:floor-lamp mdi:lamp ph:lamp-fill", 84, "amber:0-0.4 dark:0.5-1", inside="amber", turn=1),
    "couch": thing("mdi:sofa fa6:couch ph:armchair-fill", 96, "soft", inside="soft", turn=1, texture=0.2),
    "chair": thing("fa6:chair mdi:chair-rolling", 68, "wood", inside="soft", turn=1, texture=0.15),
    "television": thing("mdi:television fa6:tv", 62, "dark", inside="glass", place="wall", turn=0),
    "cactus": thing("mdi:cactus", 44, "leaf:0-0.7 wood:0.78-1", inside="leaf", turn=3, texture=0.2),
    "balloon": thing(
        "mdi:airballoon", 58, "petal:0-0.3 cloth:0.4-0.7 wood:0.85-1", inside="petal", place="sky", turn=5),
    "kite": thing("mdi:kite", 46, "petal:0-0.4 cloth:0.6-1", inside="cloth", place="sky", turn=25),
    "sign": thing(
        "mdi:sign-direction mdi:sign-caution mdi:sign-yield", 66, "post:0-0.3 wood:0.5-1", inside="white", turn=4),
    "suitcase": thing("mdi:bag-suitcase mdi:bag-checked fa6:suitcase-rolling", 44, "cloth", turn=3),
}  # fmt: skip

THINGS = LABELS | OTHERS

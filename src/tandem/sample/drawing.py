"""Renders a scene: objects are painted, lit and put on the backdrop, then camera effects are added."""

import io

import numpy as np
from PIL import Image, ImageFilter

from tandem.sample.backdrops import BACKDROPS
from tandem.sample.glyphs import Glyphs
from tandem.sample.scenes import SIDE, Item, Scene
from tandem.sample.textures import gradient, mix, noise, pick
from tandem.sample.things import PALETTES, THINGS, Bands

SHADOW, POST = np.array([18, 20, 30], np.float32), np.array([52, 56, 58], np.float32)
BLURS = (0.35, 0.5, 0.8, 1.1)  # pixels
QUALITY = (55, 90)  # of the JPEG


def _colours(bands: Bands, height: int, rng: np.random.Generator) -> np.ndarray:
    """(height, 1, 3) colours of the rows: each band in one colour of its palette."""
    stops = []
    for low, high, name in bands:
        colour = pick(PALETTES[name], rng)
        stops += [(low, colour), (high, colour * 0.92)]
    return gradient(height, stops)


def _masks(item: Item, glyphs: Glyphs, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(ink, outline) in 0..1 at the item's size, randomly mirrored, scaled in width and rotated."""
    images = glyphs.glyph(item.drawing)
    width, height = images[0].size
    scale = item.size / max(height, width)
    shape = max(6, round(width * scale * rng.uniform(0.9, 1.1))), max(6, round(height * scale))
    mirror, angle = rng.random() < 0.5, rng.normal(0, THINGS[item.name].turn / 2)
    masks = []
    for image in images:
        image = image.resize(shape, Image.Resampling.BOX)
        if mirror:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = image.rotate(angle, Image.Resampling.BILINEAR, expand=True)
        masks.append(np.asarray(image, np.float32) / 255)
    return masks[0], masks[1]


def paint(item: Item, glyphs: Glyphs, sun: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(colours (h, w, 3), alpha (h, w)) of one object, lit from direction `sun`: -1 is left, 1 right."""
    thing = THINGS[item.name]
    ink, outline = _masks(item, glyphs, rng)
    height, width = ink.shape
    colours = np.broadcast_to(_colours(thing.body, height, rng), (height, width, 3))
    if thing.inside:
        colours = mix(_colours(thing.inside, height, rng), colours, ink)
    else:
        outline = ink
    blur = ImageFilter.BoxBlur(max(1.0, item.size / 14))
    bulge = np.asarray(Image.fromarray((outline * 255).astype(np.uint8)).filter(blur), np.float32) / 255  # heights
    dy, dx = np.gradient(bulge)
    light = np.clip(1 + item.size * (0.026 * dy - 0.031 * sun * dx), 0.55, 1.5)
    light *= 0.72 + 0.28 * bulge
    light *= np.linspace(1.1, 0.86, height, dtype=np.float32)[:, None]
    light *= 1 + 1.6 * thing.texture * (noise(5, height, width, rng) - 0.5)
    return colours * light[..., None], outline


def _blend(canvas: np.ndarray, colours: np.ndarray, alpha: np.ndarray, left: int, top: int) -> None:
    """Blends colours (h, w, 3) or (3,) into the canvas in place; parts outside are cut off."""
    height, width = alpha.shape
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + height, SIDE), min(left + width, SIDE)
    if y0 >= y1 or x0 >= x1:
        return
    cut = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    colours = colours if colours.ndim == 1 else colours[cut]
    canvas[y0:y1, x0:x1] = mix(canvas[y0:y1, x0:x1], colours, alpha[cut])


def _cast_shadow(canvas: np.ndarray, outline: np.ndarray, left: int, foot: int, sun: float, strength: float) -> None:
    """Darkens the ground by the outline, flattened and sheared away from the sun."""
    height, width = outline.shape
    flat, margin = max(3, height // 4), height // 2 + 4
    lying = Image.fromarray((outline * 255).astype(np.uint8)).resize((width, flat), Image.Resampling.BOX)
    wide = Image.new("L", (width + 2 * margin, flat + 8))
    wide.paste(lying, (margin, 2))
    lean = sun * 0.5 * height / flat
    shear = (1, -lean, lean * (flat + 2), 0, 1, 0)
    wide = wide.transform(wide.size, Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR)
    alpha = np.asarray(wide.filter(ImageFilter.BoxBlur(1.5)), np.float32) / 255 * strength
    _blend(canvas, SHADOW, alpha, left - margin, foot - flat)


def draw_image(scene: Scene, glyphs: Glyphs, rng: np.random.Generator) -> Image.Image:
    """RGB image of SIDE x SIDE pixels."""
    canvas = BACKDROPS[scene.kind](scene, rng)
    air = canvas[: int(scene.horizon)].mean(axis=(0, 1))
    sun, strength = rng.uniform(-1, 1), rng.uniform(0.15, 0.5)
    for item in scene.items:
        colours, alpha = paint(item, glyphs, sun, rng)
        height, width = alpha.shape
        left, foot = round(item.x - width / 2), round(item.foot)
        if item.place == "pole":
            post = np.ones((round(item.size * 1.1), max(2, round(item.size / 14))), np.float32)
            _blend(canvas, POST, post, round(item.x) - 1, foot - 3)
        elif item.place == "ground":
            _cast_shadow(canvas, alpha, left, foot, sun, strength)
        elif item.place == "water":
            depth = height // 2  # of the reflection
            fade = np.linspace(0.4, 0, depth, dtype=np.float32)[:, None]
            _blend(canvas, 0.8 * colours[::-1][:depth], alpha[::-1][:depth] * fade, left, foot - 1)
        faded = 0.22 * (1 - item.depth) if item.place in ("ground", "water") else 0.05
        _blend(canvas, mix(colours, air, faded), alpha, left, foot - height)
    return photograph(canvas, rng)


def photograph(canvas: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Adds camera effects: white balance, contrast, vignette, blur and sensor noise."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    vignette = 1 - rng.uniform(0, 0.3) * (x * x + y * y) / 2
    tint = 1 + rng.normal(0, 0.05) * np.array([1, 0, -1], np.float32) + rng.normal(0, 0.02, 3).astype(np.float32)
    light = np.clip(canvas * (vignette[..., None] * tint / 255), 0, 1) ** rng.uniform(0.75, 1.35)
    light = (light - 0.5) * rng.uniform(0.75, 1.1) + 0.5 + rng.uniform(-0.06, 0.06)
    image = Image.fromarray((np.clip(light, 0, 1) * 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(BLURS[rng.integers(len(BLURS))]))
    grain = rng.standard_normal((SIDE, SIDE, 1), np.float32)  # brightness
    grain = grain + 0.5 * rng.standard_normal((SIDE, SIDE, 3), np.float32)  # colour
    noisy = np.asarray(image, np.float32) + grain * rng.uniform(1.5, 7.5)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def to_jpeg(image: Image.Image, rng: np.random.Generator) -> bytes:
    """JPEG of a random quality in QUALITY."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(*QUALITY)))
    return buffer.getvalue()

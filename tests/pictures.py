"""Kinds of pictures that are unlike each other though they look alike when small, and changed copies of a picture."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

LETTERS = "eeeeettttaaaoooiiinnnsshhrrddlluucmfwypvbgkjqxz"
FONT = ImageFont.load_default(13)


def words(rng: np.random.Generator, letters: int) -> str:
    """About `letters` characters of made-up words."""
    drawn = []
    while sum(map(len, drawn)) + len(drawn) < letters:
        drawn.append("".join(rng.choice(list(LETTERS), rng.integers(1, 11))))
    return " ".join(drawn)


def document(rng: np.random.Generator) -> Image.Image:
    """A page of paragraphs in one layout."""
    page = Image.new("L", (424, 600), 255)
    draw, y = ImageDraw.Draw(page), 40
    while y < 560:
        ends = rng.random() < 0.2
        line = words(rng, 65)[: rng.integers(10, 60) if ends else 60]
        draw.text((40, y), line, 0, FONT)
        y += 24 if ends else 16
    return page.convert("RGB")


def page_of_lines(rng: np.random.Generator) -> Image.Image:
    """A page of dense lines without paragraphs: only the words differ."""
    page = Image.new("L", (424, 600), 255)
    draw = ImageDraw.Draw(page)
    for y in range(40, 560, 16):
        draw.text((40, y), words(rng, 65)[:58], 0, FONT)
    return page.convert("RGB")


def form(rng: np.random.Generator) -> Image.Image:
    """A scan of one form: ten short entries, a few ticks, noise and a small shift of the paper."""
    page = Image.new("L", (424, 600), 250)
    draw = ImageDraw.Draw(page)
    draw.text((60, 30), "APPLICATION FOR A RESIDENCE PERMIT", 0, FONT)
    for i in range(10):
        y = 70 + 40 * i
        draw.text(
            (40, y), ("Name", "Born on", "Street", "Town", "Phone", "Mail", "From", "Until", "Job", "Sum")[i], 0, FONT
        )
        draw.rectangle((130, y - 6, 380, y + 22), outline=60)
        draw.text((136, y), words(rng, int(rng.integers(4, 28))), 30, FONT)
    for i in range(6):
        draw.rectangle((40 + 60 * i, 500, 52 + 60 * i, 512), outline=0)
        if rng.random() < 0.5:
            draw.line((40 + 60 * i, 500, 52 + 60 * i, 512), 0, 3)
    shifted = page.rotate(0, translate=tuple(map(int, rng.integers(-2, 3, 2))), fillcolor=250)
    noisy = np.asarray(shifted.filter(ImageFilter.GaussianBlur(0.6)), float) + rng.normal(0, 3, (600, 424))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert("RGB")


def chart(rng: np.random.Generator) -> Image.Image:
    """Bars between the same axes."""
    picture = Image.new("RGB", (480, 360), "white")
    draw = ImageDraw.Draw(picture)
    for y in range(40, 320, 40):
        draw.line((50, y, 460, y), "lightgrey")
        draw.text((20, y - 8), str(320 - y), "black", FONT)
    draw.line((50, 20, 50, 320, 460, 320), "black", 2)
    for i, height in enumerate(rng.integers(20, 290, 8)):
        draw.rectangle((65 + 50 * i, 320 - int(height), 95 + 50 * i, 319), "steelblue")
    return picture


def line_drawing(rng: np.random.Generator) -> Image.Image:
    """Thin strokes on white."""
    picture = Image.new("RGB", (400, 400), "white")
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        start = rng.integers(40, 360, 2)
        points = np.vstack([start, start + rng.integers(-120, 121, (3, 2)).cumsum(0)])
        draw.line([*map(tuple, points.tolist())], "black", 3)
    return picture


def nearly_uniform(rng: np.random.Generator) -> Image.Image:
    """A smooth slope of grey with a little noise."""
    y, x = np.mgrid[:240, :320] / 240
    slope = rng.normal(0, 12, 2)
    grey = rng.integers(60, 200) + slope[0] * x + slope[1] * y + rng.normal(0, 1.5, x.shape)
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")


def scene(rng: np.random.Generator, size: int = 128) -> Image.Image:
    """Overlapping coloured patches: as much structure, at all scales, as a photo has."""
    canvas = np.full((size, size, 3), rng.integers(256, size=3), np.uint8)
    for extent in np.geomspace(size, 4, 60).astype(int):
        x, y = rng.integers(-extent // 2, size, 2).clip(0)
        canvas[y : y + extent, x : x + rng.integers(extent // 2, extent + 1)] = rng.integers(256, size=3)
    return Image.fromarray(canvas)


UNLIKE: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    kind.__name__: kind for kind in (document, page_of_lines, form, chart, line_drawing, nearly_uniform, scene)
}


def encoded(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Without these shares of the width and height on each side."""
    w, h = image.size
    return image.crop((round(left * w), round(top * h), round(w - right * w), round(h - bottom * h)))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 50": lambda im: encoded(im, 50),
    "half the size": lambda im: im.resize((im.width // 2, im.height // 2), Image.Resampling.LANCZOS),
    "brighter": lambda im: ImageEnhance.Brightness(im).enhance(1.2),
    "darker": lambda im: ImageEnhance.Brightness(im).enhance(0.7),
    "less contrast": lambda im: ImageEnhance.Contrast(im).enhance(0.7),
    "mirrored": ImageOps.mirror,
    "cropped by 3 % a side": lambda im: cropped(im, 0.03, 0.03, 0.03, 0.03),
    "cropped by 6 % a side": lambda im: cropped(im, 0.06, 0.06, 0.06, 0.06),
    "cropped by 8 % on two sides": lambda im: cropped(im, 0.08, 0.0, 0.0, 0.08),
    "mirrored, cropped by 6 % a side": lambda im: ImageOps.mirror(cropped(im, 0.06, 0.06, 0.06, 0.06)),
}

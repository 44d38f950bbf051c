"""Broken, odd and intact images made from numbers, and what must come of each."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, features

Rng = np.random.Generator
FORMS = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"]
FORMS += ["AVIF"] * features.check("avif") + ["JPEG2000"] * features.check("jpg_2000")
SUFFIX = {name: f".{name.lower()}" for name in FORMS} | {"JPEG": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2"}
COLOUR = (200, 120, 40)
NAMES = ["a\nb", "a\rb", "a\r\nb", 'a"b', "a,b", "=1+1", "-rf", "--help", "'a'", " a ", "\ta", "a\u2028b", "x" * 200]
NAMES += ["\x1b[31m", "a\\..\\b", "a;b", "\ufeff", "é", "\u202ea", "%s", "{0}", "\udcff"]
READ, REFUSED, EITHER = "read", "refused", "either"


@dataclass(frozen=True)
class Case:
    """One file and what must come of it; `size` and `colour` (mean) where it is read, `reason` where it is refused."""

    kind: str
    content: bytes | Callable[[Path], object]
    suffix: str
    outcome: str = READ
    size: tuple[int, int] | None = None
    colour: tuple[int, int, int] | None = None
    reason: str = ""
    stem: str = ""
    listed: bool = True  # by its suffix


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def drawn(rng: Rng) -> Image.Image:
    """One colour, of a size of its own."""
    return Image.new("RGB", (int(rng.integers(17, 90)), int(rng.integers(17, 90))), COLOUR)


def textured(rng: Rng) -> tuple[bytes, str, tuple[int, int]]:
    """An intact file of any format, and its suffix and size."""
    form = str(rng.choice(FORMS))
    size = int(rng.integers(20, 90)), int(rng.integers(20, 90))
    image = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8).astype(np.uint8))
    options: dict[str, object] = {}
    if form == "JPEG":
        options = {"progressive": bool(rng.integers(2))}
    if form == "TIFF":
        options = {"compression": str(rng.choice(["raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits"]))}
    if form == "JPEG2000":
        options = {"no_jp2": bool(rng.integers(2))}
    return encoded(image, form, **options), SUFFIX[form], size


def intact(rng: Rng) -> Case:
    image, form = drawn(rng), str(rng.choice(FORMS))
    return Case("intact", encoded(image, form), SUFFIX[form], READ, image.size, COLOUR)


def wrong_suffix(rng: Rng) -> Case:
    image, form, other = drawn(rng), str(rng.choice(FORMS)), str(rng.choice(FORMS))
    return Case("wrong suffix", encoded(image, form), SUFFIX[other].upper(), READ, image.size, COLOUR)


def truncated(rng: Rng) -> Case:
    data, suffix, _ = textured(rng)
    return Case("truncated", data[: int(rng.integers(1, len(data)))], suffix, EITHER)


def header_only(rng: Rng) -> Case:
    data, suffix, _ = textured(rng)
    return Case("header only", data[: int(rng.integers(0, 12))], suffix, REFUSED)


def flipped(rng: Rng) -> Case:
    data, suffix, _ = textured(rng)
    array = np.frombuffer(data, np.uint8).copy()
    end = len(array) if rng.integers(2) else min(len(array), 300)  # the headers more often
    at = rng.integers(0, end, int(rng.integers(1, 20)))
    array[at] = rng.integers(0, 256, len(at))
    return Case("flipped bytes", array.tobytes(), suffix, EITHER)


def spliced(rng: Rng) -> Case:
    one, suffix, _ = textured(rng)
    other, _, _ = textured(rng)
    data = one[: int(rng.integers(1, len(one)))] + other[int(rng.integers(0, len(other))) :]
    return Case("spliced", data, suffix, EITHER)


def noise(rng: Rng) -> Case:
    form = str(rng.choice(FORMS))
    start = encoded(Image.new("RGB", (9, 9)), form)[: int(rng.integers(0, 40))]
    return Case("noise", start + rng.bytes(int(rng.integers(0, 5000))), SUFFIX[form], EITHER)


def trailing(rng: Rng) -> Case:
    image, form = drawn(rng), str(rng.choice([form for form in FORMS if form not in ("AVIF", "JPEG2000")]))
    return Case("bytes behind", encoded(image, form) + rng.bytes(3000), SUFFIX[form], READ, image.size, COLOUR)


def animated(rng: Rng) -> Case:
    image = drawn(rng)
    form = str(rng.choice([f for f in ("GIF", "WEBP", "PNG", "TIFF", "AVIF") if f in FORMS]))
    frames = [Image.new("RGB", image.size, (0, 0, int(n))) for n in rng.integers(0, 99, 5)]
    return Case("animated", encoded(image, form, save_all=True, append_images=frames), SUFFIX[form], READ, image.size,
                COLOUR)  # fmt: skip


def sixteen_bits(rng: Rng) -> Case:
    value, form = int(rng.integers(0, 65536)), str(rng.choice([f for f in ("PNG", "TIFF", "PPM") if f in FORMS]))
    grey = round(value / 257)
    image = Image.fromarray(np.full((20, 30), value, np.uint16))
    return Case("16 bits", encoded(image, form), SUFFIX[form], READ, (30, 20), (grey, grey, grey))


def cmyk(rng: Rng) -> Case:
    form = str(rng.choice(["JPEG", "TIFF"]))
    return Case("CMYK", encoded(Image.new("CMYK", (24, 24), (0, 255, 255, 0)), form), SUFFIX[form], READ, (24, 24),
                (254, 0, 0))  # fmt: skip


def palette_alpha(rng: Rng) -> Case:
    image = Image.new("P", (20, 20), int(rng.integers(2)))
    shown = image.getpixel((0, 0))
    image.putpalette([*COLOUR, 0, 0, 255])
    data = encoded(image, "PNG", transparency=b"\xff\x00")
    return Case("palette with alpha", data, ".png", READ, (20, 20), (255, 255, 255) if shown else COLOUR)


def upright(rng: Rng) -> Case:
    exif = Image.Exif()
    exif[274] = int(rng.choice([5, 6, 7, 8]))
    form = str(rng.choice([f for f in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF") if f in FORMS]))
    return Case("orientation", encoded(Image.new("RGB", (40, 24), COLOUR), form, exif=exif), SUFFIX[form], READ,
                (24, 40), COLOUR)  # fmt: skip


def empty(rng: Rng) -> Case:
    return Case("zero size", b"", SUFFIX[str(rng.choice(FORMS))], REFUSED, reason="empty file")


def long_and_thin(rng: Rng) -> Case:
    form = str(rng.choice(["PNG", "BMP", "TIFF", "PPM"]))
    size = (1, 100_000) if rng.integers(2) else (100_000, 1)
    return Case("1 x 100,000", encoded(Image.new("RGB", size, COLOUR), form), SUFFIX[form], READ, size, COLOUR)


def other_format(rng: Rng) -> Case:
    """What is not read: SVG, HEIC, ICO; under the suffix of an image it is refused, under its own it is passed over."""
    texts = {
        ".svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        ".heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + rng.bytes(200),
        ".ico": encoded(Image.new("RGB", (16, 16)), "ICO"),
        "": rng.bytes(30),
    }
    suffix = str(rng.choice(list(texts)))
    as_image = bool(rng.integers(2))
    return Case("other format", texts[suffix], ".png" if as_image else suffix, REFUSED, reason="unreadable",
                listed=as_image)  # fmt: skip


def no_file(rng: Rng) -> Case:
    kind, make = [
        ("named pipe", lambda path: os.mkfifo(path)),
        ("device", lambda path: path.symlink_to("/dev/zero")),
        ("device", lambda path: path.symlink_to("/dev/random")),
        ("does not exist", lambda path: path.symlink_to("nowhere")),
        ("symbolic links", lambda path: path.symlink_to(path.name)),
    ][int(rng.integers(5))]
    return Case(f"no file: {kind}", make, SUFFIX[str(rng.choice(FORMS))], REFUSED, reason=kind)


def folder(rng: Rng) -> Case:
    def make(path: Path) -> None:
        path.mkdir()
        (path / "again").symlink_to(path)

    return Case("folder", make, ".jpg", listed=False) if rng.integers(2) else Case(
        "link to a folder", lambda path: path.symlink_to(path.parent), ".jpg", listed=False)  # fmt: skip


def odd_name(rng: Rng) -> Case:
    image = drawn(rng)
    return Case("odd name", encoded(image, "PNG"), ".png", READ, image.size, COLOUR, stem=str(rng.choice(NAMES)))

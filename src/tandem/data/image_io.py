"""Safe decoding of untrusted images to RGB."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 64_000_000  # a larger image is refused before it is decoded
MAX_BYTES = 64 * 2**20
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}


class BadImage(ValueError):
    """An image that cannot be used; the message gives the reason, such as "truncated: ..."."""


@contextmanager
def _bad_image() -> Iterator[None]:
    """Raises what PIL raises on a damaged image as BadImage."""
    try:
        yield
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(f"oversized: {error}") from error
    except Exception as error:  # PIL raises OSError, SyntaxError, ValueError, struct.error... on damage
        kind = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise BadImage(f"{kind}: {error}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Turned upright by EXIF; transparent pixels are put on white, 16 bits are scaled to 8; raises BadImage."""
    with _bad_image():
        return _to_rgb(image.copy())


def _to_rgb(image: Image.Image) -> Image.Image:
    """Changes `image`."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImage(f"oversized: {width}x{height} pixels, at most {MAX_PIXELS:,} in all are decoded")
    image.load()
    with suppress(Exception):  # damaged EXIF data: the pixels are intact
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16") or image.mode == "I":
        image = image.point(lambda v: v / 257).convert("L")
        image.info.pop("transparency", None)  # a 16-bit grey value: not valid for 8 bits
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image.convert("RGB")


def _check_size(size: int) -> None:
    if not size:
        raise BadImage("unreadable: empty file")
    if size > MAX_BYTES:
        raise BadImage(f"oversized: {size:,} bytes, at most {MAX_BYTES:,} are read")


def decode(data: bytes) -> Image.Image:
    """RGB at full size, see `to_rgb`; raises BadImage."""
    _check_size(len(data))
    with _bad_image():
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise BadImage(f"unreadable: {len(data)} bytes that are not one of {', '.join(FORMATS)}") from error
        return _to_rgb(image)


def read(path: Path) -> bytes:
    """The file's bytes; raises BadImage where it is missing or oversized."""
    try:
        _check_size(path.stat().st_size)
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadImage("missing: no such file") from error
    except OSError as error:
        raise BadImage(f"unreadable: {error.strerror}") from error


def load_rgb(path: Path) -> Image.Image:
    """Decodes a file (see `decode`); raises BadImage with its path."""
    try:
        return decode(read(path))
    except BadImage as error:
        raise BadImage(f"{path}: {error}") from error

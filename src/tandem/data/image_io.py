"""Opening a stranger's image safely, as RGB."""

import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 64_000_000  # a larger image is refused before it is decoded
MAX_BYTES = 64 * 2**20
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImage(ValueError):
    """An image that can't be used; the message says why."""


def upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says; damaged EXIF is ignored, for the pixels are whole."""
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:
        return image
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def as_rgb(image: Image.Image) -> Image.Image:
    """Alpha on white, 16 bit scaled to 8."""
    if image.mode.startswith("I;16") or image.mode == "I":
        image = image.point(lambda v: v / 257).convert("L")
        image.info.pop("transparency", None)  # a 16 bit grey, which means nothing in 8
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def decode(data: bytes, enough: int = 0) -> Image.Image:
    """RGB, upright by EXIF, see `as_rgb`; raises BadImage.

    `enough`: pixels that both sides must keep; a larger JPEG is decoded at 1/2, 1/4 or 1/8 of its size, in a third of
    the time. 0: as it is.
    """
    if len(data) > MAX_BYTES:
        raise BadImage(f"oversized: {len(data):,} bytes, at most {MAX_BYTES:,} are read")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise BadImage(f"oversized: {width}x{height} pixels, at most {MAX_PIXELS:,} in all are decoded")
        if enough:
            image.draft(None, (enough, enough))
        image.load()
        return as_rgb(upright(image))
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(f"oversized: {error}") from error
    except UnidentifiedImageError as error:
        came = f"{len(data)} bytes that are not one of {', '.join(FORMATS)}" if data else "empty file"
        raise BadImage(f"unreadable: {came}") from error
    except Exception as error:  # PIL raises OSError, SyntaxError, ValueError, struct.error... on damage
        kind = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise BadImage(f"{kind}: {error}") from error


def read(path: Path) -> bytes:
    """The file's bytes; raises BadImage where it is missing or oversized."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BadImage(f"oversized: {size:,} bytes, at most {MAX_BYTES:,} are read")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadImage("missing: no such file") from error
    except OSError as error:
        raise BadImage(f"unreadable: {error.strerror}") from error


def load_rgb(path: Path, enough: int = 0) -> Image.Image:
    """`decode` of a file; raises BadImage with the path, also where the file is missing."""
    try:
        return decode(read(path), enough)
    except BadImage as error:
        raise BadImage(f"{path}: {error}") from error

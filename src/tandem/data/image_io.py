"""Safe decoding of untrusted images to RGB."""

import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 64_000_000  # a larger image is refused before it is decoded
MAX_BYTES = 64 * 2**20
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}
ORIENTATION = 0x0112  # the EXIF tag
STEPS = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"]
TRANSPOSES = {orientation: Image.Transpose[name] for orientation, name in enumerate(STEPS, 2)}  # to turn it upright


class BadImage(ValueError):
    """An image that cannot be used; the message gives the reason, such as "truncated: ..."."""


def apply_orientation(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation; damaged EXIF data is ignored, because the pixels are intact."""
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:
        return image
    return image.transpose(TRANSPOSES[orientation]) if orientation in TRANSPOSES else image


def to_rgb(image: Image.Image) -> Image.Image:
    """Transparent pixels are put on white, 16 bits are scaled to 8."""
    if image.mode.startswith("I;16") or image.mode == "I":
        image = image.point(lambda v: v / 257).convert("L")
        image.info.pop("transparency", None)  # a 16-bit grey value: not valid for 8 bits
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image.convert("RGB")


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise BadImage(f"oversized: {size:,} bytes, at most {MAX_BYTES:,} are read")


def decode(data: bytes, min_side: int = 0) -> Image.Image:
    """RGB, turned upright by EXIF, see `to_rgb`; raises BadImage.

    `min_side`: pixels that both sides must keep; a larger JPEG is decoded at 1/2, 1/4 or 1/8 of its size, which takes
    a third of the time. 0: full size.
    """
    _check_size(len(data))
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise BadImage(f"oversized: {width}x{height} pixels, at most {MAX_PIXELS:,} in all are decoded")
        if min_side:
            image.draft(None, (min_side, min_side))
        image.load()
        return to_rgb(apply_orientation(image))
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(f"oversized: {error}") from error
    except UnidentifiedImageError as error:
        reason = f"{len(data)} bytes that are not one of {', '.join(FORMATS)}" if data else "empty file"
        raise BadImage(f"unreadable: {reason}") from error
    except Exception as error:  # PIL raises OSError, SyntaxError, ValueError, struct.error... on damage
        kind = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise BadImage(f"{kind}: {error}") from error


def read(path: Path) -> bytes:
    """The file's bytes; raises BadImage where it is missing or oversized."""
    try:
        _check_size(path.stat().st_size)
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadImage("missing: no such file") from error
    except OSError as error:
        raise BadImage(f"unreadable: {error.strerror}") from error


def load_rgb(path: Path, min_side: int = 0) -> Image.Image:
    """Decodes a file (see `decode`); raises BadImage with its path."""
    try:
        return decode(read(path), min_side)
    except BadImage as error:
        raise BadImage(f"{path}: {error}") from error

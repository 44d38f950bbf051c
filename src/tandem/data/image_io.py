"""Safe decoding of untrusted images to RGB."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from tandem.artifacts import user_files
from tandem.data.image_limits import CountedBytes, TooCostly, check_cost

MAX_PIXELS = 64_000_000  # a larger image is refused before it is decoded
MAX_BYTES = 64 * 2**20
MAX_SLOW_PIXELS = 4_000_000  # of a PPM that Pillow decodes number by number
PHOTOMETRIC = 262  # tag of a TIFF; 0: white is 0, which Pillow inverts for 8 bits alone
MAX_EXIF = 2**20  # bytes; a larger one is not searched for the orientation
SUFFIXES_OF = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k"),
}
OPTIONAL = {"AVIF": "avif", "JPEG2000": "jpg_2000"}  # formats that not every Pillow has, and its names of them
FORMATS = tuple(name for name in SUFFIXES_OF if name not in OPTIONAL or features.check(OPTIONAL[name]))
SUFFIXES = {suffix for name in FORMATS for suffix in SUFFIXES_OF[name]}
# Pillow warns of damage too, thousands of times for one file; for all threads, as catch_warnings cannot be
warnings.filterwarnings("ignore", module="PIL")


class BadImage(ValueError):
    """An image that cannot be used; the message gives the reason, such as "truncated: ..."."""


@contextmanager
def _bad_image() -> Iterator[None]:
    """Raises what PIL raises on a damaged image as BadImage."""
    try:
        yield
    except BadImage:
        raise
    except (TooCostly, Image.DecompressionBombError) as error:
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
    if len(image.info.get("exif") or b"") <= MAX_EXIF:
        with suppress(Exception):  # damaged EXIF data: the pixels are intact
            ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey, from pixels of 16 bits; raises BadImage where they have more."""
    pixels = np.asarray(image)
    if pixels.dtype.kind not in "iu" or pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
        raise BadImage("unreadable: pixels of 32 bits; expected 8 or 16 bits for each colour")
    grey = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    is_negative = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0
    return Image.fromarray(255 - grey if is_negative else grey)


def _check_size(size: int) -> None:
    if not size:
        raise BadImage("unreadable: empty file")
    if size > MAX_BYTES:
        raise BadImage(f"oversized: {size:,} bytes, at most {MAX_BYTES:,} are read")


def decode(data: bytes) -> Image.Image:
    """RGB at full size, see `to_rgb`; raises BadImage."""
    _check_size(len(data))
    with _bad_image():
        check_cost(data, MAX_PIXELS)
        file = CountedBytes(data)
        try:
            image = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError as error:
            raise BadImage(f"unreadable: {len(data)} bytes that are not one of {', '.join(FORMATS)}") from error
        if any(tile.codec_name in ("ppm", "ppm_plain") for tile in image.tile):
            if image.width * image.height > MAX_SLOW_PIXELS:
                size = f"{image.width}x{image.height} pixels as text or of an odd depth"
                raise BadImage(f"oversized: {size}, at most {MAX_SLOW_PIXELS:,} are decoded")
            file.most += MAX_SLOW_PIXELS  # each pixel is read by itself
        return _to_rgb(image)


def read(path: Path) -> bytes:
    """The file's bytes; raises BadImage where it is missing or oversized."""
    try:
        return user_files.read_bytes(path, MAX_BYTES)
    except user_files.UnusableFile as error:
        kind = {user_files.MissingFile: "missing", user_files.LargeFile: "oversized"}.get(type(error), "unreadable")
        raise BadImage(f"{kind}: {error.reason}") from error


def load_rgb(path: Path) -> Image.Image:
    """Decodes a file (see `decode`); raises BadImage with its path."""
    try:
        return decode(read(path))
    except BadImage as error:
        raise BadImage(f"{path}: {error}") from error

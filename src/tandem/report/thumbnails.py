"""Thumbnails of the rows that the page shows: JPEG files as data URIs."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from tandem.data.image_io import BadImage, load_rgb
from tandem.data.image_loader import ahead
from tandem.html import data_uri

SIDE = 112  # pixels of the longer side
QUALITY = 62


def thumbnail(file: Path) -> str:
    """A data URI; "" if the file cannot be read."""
    try:
        image = load_rgb(file)
    except BadImage:
        return ""
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return data_uri(image, "JPEG", quality=QUALITY, optimize=True)


def thumbnails(files: Sequence[Path], rows: Iterable[int], threads: int) -> dict[int, str]:
    """The data URI of each of `rows`, made in parallel threads."""
    wanted = sorted(set(rows))
    made = ahead(lambda row: thumbnail(files[row]), wanted, threads, depth=4 * threads)
    return dict(zip(wanted, made, strict=True))

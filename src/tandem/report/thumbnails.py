"""Thumbnails of the rows that the page shows: JPEG files as data URIs."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from tandem.data.image_io import BadImage, load_rgb
from tandem.data.image_loader import ahead
from tandem.html import data_uri
from tandem.runtime.resources import threads

SIDE = 112  # pixels of the longer side
QUALITY = 62


def thumbnails(files: Sequence[Path], rows: Iterable[int]) -> dict[int, str]:
    """The data URI of each of `rows`; "" for a file that cannot be read."""
    wanted = sorted(set(rows))
    made = ahead(_thumbnail, [files[row] for row in wanted], threads(), depth=4 * threads())
    return dict(zip(wanted, made, strict=True))


def _thumbnail(file: Path) -> str:
    try:
        image = load_rgb(file)
    except BadImage:
        return ""
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return data_uri(image, "JPEG", quality=QUALITY, optimize=True)

"""A photo and the heat maps on it, as images that a page holds in itself."""

import numpy as np
from PIL import Image

from tandem.html import data_uri

PHOTO, HEAT = 640, 96  # pixels of the longest side; the browser smooths what is smaller
OPAQUE = 0.85  # the hottest place


def photo_uri(photo: Image.Image) -> str:
    """A JPEG of at most `PHOTO` pixels a side."""
    small = photo.copy()
    small.thumbnail((PHOTO, PHOTO), Image.Resampling.LANCZOS)
    return data_uri(small, "JPEG", quality=85)


def heat_uri(heat: np.ndarray, width: int, height: int) -> str:
    """A PNG of a photo's proportions from a map (h, w), at least 0: clear where it is cold."""
    return data_uri(overlay(heat, width, height), "PNG", optimize=True)


def overlay(heat: np.ndarray, width: int, height: int) -> Image.Image:
    """RGBA in the colours of matplotlib's inferno, which all eyes and greyscale printers tell apart."""
    from matplotlib import colormaps

    scale = HEAT / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    smooth = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    values = np.clip(np.asarray(smooth) / max(float(heat.max()), 1e-12), 0, 1)
    rgba = colormaps["inferno"](values, bytes=True)
    rgba[:, :, 3] = np.round(255 * OPAQUE * values)
    return Image.fromarray(rgba)

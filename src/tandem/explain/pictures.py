"""An image and its heat maps as data URIs."""

import numpy as np
from PIL import Image

from tandem.html import data_uri

PHOTO, HEAT = 640, 96  # pixels of the longest side; the browser enlarges a heat map smoothly
OPAQUE = 0.85  # alpha of the maximum


def photo_uri(photo: Image.Image) -> str:
    """A JPEG of at most `PHOTO` pixels a side."""
    small = photo.copy()
    small.thumbnail((PHOTO, PHOTO), Image.Resampling.LANCZOS)
    return data_uri(small, "JPEG", quality=85)


def heat_uri(heat: np.ndarray, width: int, height: int) -> str:
    """A PNG with the aspect ratio of the image from a map (h, w), at least 0; "" if it is 0 everywhere."""
    return data_uri(overlay(heat, width, height), "PNG", optimize=True) if heat.max() > 0 else ""


def overlay(heat: np.ndarray, width: int, height: int) -> Image.Image:
    """RGBA, transparent where the map is 0, in inferno, a colour map for colour-blind readers and greyscale print."""
    from matplotlib import colormaps

    scale = HEAT / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    smooth = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    values = np.clip(np.asarray(smooth) / max(float(heat.max()), 1e-12), 0, 1)
    rgba = colormaps["inferno"](values, bytes=True)
    rgba[:, :, 3] = np.round(255 * OPAQUE * values)
    return Image.fromarray(rgba)

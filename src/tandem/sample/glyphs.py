"""Glyphs of the fonts that `qtawesome` ships, as masks."""

import importlib.util
import json
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

SIZE = 144  # pixels of the em square; no glyph in a scene is larger
FONTS = {  # short name: start of the names of its .ttf and its charmap
    "mdi": "materialdesignicons6-webfont-",
    "ph": "phosphor-",
    "fa5": "fontawesome5-solid-webfont-",
    "fa6": "fontawesome6-solid-webfont-",
    "ri": "remixicon-",
}


def fonts_folder() -> Path:
    """The `fonts` folder of the installed qtawesome, found without importing it (the import would need Qt)."""
    spec = importlib.util.find_spec("qtawesome")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package qtawesome, whose fonts draw the sample, is missing; run: make setup")
    return Path(spec.submodule_search_locations[0]) / "fonts"


def fill_holes(ink: np.ndarray) -> np.ndarray:
    """The ink (h, w) u1 with the areas it encloses set to 255.

    >>> fill_holes(np.array([[255, 255, 255], [255, 0, 255], [255, 255, 255]], np.uint8))[1].tolist()
    [255, 255, 255]
    """
    enclosed = ndimage.binary_fill_holes(ink > 96)
    inner = ndimage.binary_dilation(enclosed & (ink <= 96), iterations=2) & enclosed
    return np.where(inner, 255, ink).astype(np.uint8)


class Glyphs:
    """The glyphs of one fonts folder by name, `mdi:car-side`; each is rendered once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.glyph = cache(self._render)
        self._font = cache(self._load)

    def _file(self, font: str, suffix: str) -> Path:
        pattern = f"{FONTS[font]}{'charmap-' if suffix == '.json' else ''}[0-9]*{suffix}"
        found = sorted(self.folder.glob(pattern))
        if not found:
            raise FileNotFoundError(f"{self.folder}: no file {pattern}; install qtawesome as in requirements.txt")
        return found[-1]

    def _load(self, font: str) -> tuple[ImageFont.FreeTypeFont, dict[str, str]]:
        truetype = ImageFont.truetype(str(self._file(font, ".ttf")), SIZE, layout_engine=ImageFont.Layout.BASIC)
        return truetype, json.loads(self._file(font, ".json").read_text(encoding="utf-8"))

    def _render(self, name: str) -> tuple[Image.Image, Image.Image]:
        """(ink, outline), mode L, cropped: the area that the font fills, and the same with its holes filled."""
        font, _, key = name.partition(":")
        truetype, charmap = self._font(font)
        if key not in charmap:
            raise ValueError(f"{self.folder}: {FONTS[font]}* has no glyph {key!r}; expected one of its {len(charmap)}")
        canvas = Image.new("L", (2 * SIZE, 2 * SIZE))
        ImageDraw.Draw(canvas).text((SIZE // 2, SIZE // 2), chr(int(charmap[key], 16)), 255, truetype)
        ink = canvas.crop(canvas.getbbox())
        return ink, Image.fromarray(fill_holes(np.asarray(ink)))

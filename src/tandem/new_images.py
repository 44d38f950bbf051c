"""The images of a folder, and the captions of those that have one."""

from collections.abc import Sequence
from pathlib import Path

from tandem.tables import read_table

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}


def list_images(folder: Path) -> list[str]:
    """Every image below `folder` by its suffix, hidden ones aside, as a path inside it, in a fixed order.

    Raises ValueError where there is none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected one with images")
    found = sorted(
        p.relative_to(folder).as_posix()
        for p in folder.rglob("*")
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and not p.is_dir()
    )
    if not found:
        raise ValueError(f"{folder}: holds no image; expected files ending in {', '.join(sorted(SUFFIXES))}")
    return found


def read_captions_of(path: Path, images: Sequence[str]) -> list[str]:
    """The caption of each image, "" where there is none: a CSV with an image column, then one of captions.

    An image is named by its path inside the folder, its file name or its name without suffix. Raises ValueError where
    the file has no two columns, names none of the images, or gives one of them two captions.
    """
    table = read_table(path)
    if len(table.columns) < 2:
        raise ValueError(
            f"{path}: header is {list(table.columns)}; expected a column of images and one of captions"
        )
    named = [c for c in table.columns if "caption" in c.lower()]
    caption = named[0] if named else table.columns[-1]
    image = next(c for c in table.columns if c != caption)
    of: dict[str, str] = {}
    for name, text, line in zip(table.column(image), table.column(caption), table.lines, strict=True):
        if of.setdefault(name, text) != text:
            raise ValueError(f"{path}: line {line}: a second caption for {name!r}; keep one of the two")

    def find(name: str) -> str | None:
        return next((of[key] for key in (name, Path(name).name, Path(name).stem) if key in of), None)

    found = [find(name) for name in images]
    if all(caption is None for caption in found):
        first = next(iter(of), "")
        raise ValueError(
            f"{path}: column {image!r} (such as {first!r}) names none of the images, such as {images[0]!r}"
        )
    return [caption or "" for caption in found]

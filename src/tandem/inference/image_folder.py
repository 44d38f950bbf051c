"""The images of a folder, and the captions of those that have one."""

from collections.abc import Sequence
from pathlib import Path

from tandem.data.csv_reader import read_table

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}


def list_images(folder: Path) -> list[str]:
    """Every image below `folder` by its suffix, hidden files and folders aside, as a path inside it, in a fixed order.

    Raises ValueError where there is none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected one with images")
    inside = (
        p.relative_to(folder) for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.is_dir()
    )
    found = sorted(p.as_posix() for p in inside if not any(part.startswith(".") for part in p.parts))
    if not found:
        raise ValueError(f"{folder}: holds no image; expected files ending in {', '.join(sorted(SUFFIXES))}")
    return found


def read_captions_of(path: Path, images: Sequence[str]) -> list[str]:
    """The caption of each image, "" where there is none: a CSV with an image column, then one of captions.

    An image is named by its path inside the folder, its file name or its name without suffix. Raises ValueError where
    the file has no two columns, names none of the images, gives one of them two captions, or means two by one name.
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

    found: dict[str, str] = {}  # by the name that is used: the image
    captions, every = [], set(images)
    for name in images:
        short = (key for key in (Path(name).name, Path(name).stem) if key not in every)
        key = next((key for key in (name, *short) if key in of), None)
        captions.append("" if key is None else of[key])
        if key is not None and found.setdefault(key, name) != name:
            raise ValueError(
                f"{path}: {key!r} may be {found[key]!r} or {name!r}; name them by their paths inside the folder"
            )
    if not found:
        first = next(iter(of), "")
        raise ValueError(
            f"{path}: column {image!r} (such as {first!r}) names none of the images, such as {images[0]!r}"
        )
    return captions

"""The images of a folder, and their captions from a CSV file."""

from collections.abc import Sequence
from pathlib import Path

from tandem.data.csv_reader import read_table
from tandem.data.image_io import SUFFIXES


def list_images(folder: Path) -> list[str]:
    """Paths of all images (by suffix) relative to `folder`, sorted, without hidden files and folders; raises
    FileNotFoundError where the folder does not exist, ValueError where it has no image."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected one with images")
    inside = (p.relative_to(folder) for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.is_dir())
    images = sorted(p.as_posix() for p in inside if not any(part.startswith(".") for part in p.parts))
    if not images:
        raise ValueError(f"{folder}: contains no image; expected files ending in {', '.join(sorted(SUFFIXES))}")
    return images


def read_image_captions(path: Path, images: Sequence[str]) -> list[str]:
    """The caption of each image, "" where there is none, from a CSV with a column of images (path inside the folder,
    file name or name without suffix) and one of captions. Raises ValueError where the file has fewer than two columns,
    names none of the images, has two captions for one of them, or a name that fits two images."""
    table = read_table(path)
    if len(table.columns) < 2:
        raise ValueError(f"{path}: header is {list(table.columns)}; expected a column of images and one of captions")
    caption = next((c for c in table.columns if "caption" in c.lower()), table.columns[-1])
    image = next(c for c in table.columns if c != caption)
    caption_of: dict[str, str] = {}
    for name, text, line in zip(table.column(image), table.column(caption), table.lines, strict=True):
        if caption_of.setdefault(name, text) != text:
            raise ValueError(f"{path}: line {line}: a second caption for {name!r}; keep one of the two")

    image_of: dict[str, str] = {}  # name in the CSV: image
    captions, all_images = [], set(images)
    for name in images:
        short = (key for key in (Path(name).name, Path(name).stem) if key not in all_images)
        key = next((key for key in (name, *short) if key in caption_of), None)
        captions.append("" if key is None else caption_of[key])
        if key is not None and image_of.setdefault(key, name) != name:
            either = f"{image_of[key]!r} or {name!r}"
            raise ValueError(f"{path}: {key!r} may be {either}; name them by their paths inside the folder")
    if not image_of:
        column = f"column {image!r} (such as {next(iter(caption_of), '')!r})"
        raise ValueError(f"{path}: {column} names none of the images, such as {images[0]!r}")
    return captions

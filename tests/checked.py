"""What `make check` and `make folds` write, for a competition that a test makes up."""

from collections.abc import Sequence

from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths
from tandem.data.split_tables import write_captions, write_images


def write_split(
    paths: Paths,
    split: str,
    ids: Sequence[str],
    captions: Sequence[str],
    folder: str = "",
    size: tuple[int, int] = (8, 8),
) -> None:
    """Rows whose images lie in `folder` of the competition, all of one width and height."""
    n, (width, height) = len(ids), size
    images = {"id": list(ids), "file": [f"{folder}{name}" for name in ids], "width": [width] * n}
    images |= {"height": [height] * n, "bytes": [1] * n, "sha": list(ids), "hash": [b"0" * 64] * n}
    write_images(paths.images(split), images)
    write_captions(paths.captions(split), list(ids), list(captions))


def write_folds(paths: Paths, ids: Sequence[str], folds: Sequence[int]) -> None:
    """The fold of each row, and a group of its own."""
    rows = (f"{name},{fold},{i}\n" for i, (name, fold) in enumerate(zip(ids, folds, strict=True)))
    write_text(paths.folds, "id,fold,group\n" + "".join(rows))

"""Infers the folder and the suffix that turn an id into the path of its image."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from tandem.data.image_io import SUFFIXES


class ImageIndex:
    """The image files of a folder, searchable by id.

    >>> ImageIndex(["data/7.jpg", "data/8.jpg"]).count_places(["7", "8", "9"])
    Counter({('data', '.jpg'): 2})
    """

    def __init__(self, files: Iterable[str]) -> None:
        self.files = [file for file in files if PurePosixPath(file).suffix.lower() in SUFFIXES]
        self._by_name: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for file in self.files:
            path = PurePosixPath(file)
            self._by_name[path.name].append((file, ""))
            self._by_name[path.stem].append((file, path.suffix))

    def count_places(self, ids: Sequence[str]) -> Counter[tuple[str, str]]:
        """Number of ids that name a file in each (folder, suffix)."""
        places: Counter[tuple[str, str]] = Counter()
        for id in ids:
            for file, suffix in self._by_name.get(id.rsplit("/", 1)[-1], ()):
                if f"/{file}".endswith(f"/{id}{suffix}"):
                    places[file[: len(file) - len(id + suffix)].rstrip("/") or ".", suffix] += 1
        return places

    def largest_folder(self) -> str:
        """The folder with the most images; '.' where there are none."""
        folders = Counter(PurePosixPath(file).parent.as_posix() for file in self.files)
        return folders.most_common(1)[0][0] if folders else "."


def best_place(places: Counter[tuple[str, str]]) -> tuple[str, str]:
    """The (folder, suffix) of most ids; of equals, the one with the shortest folder name."""
    return min(places, key=lambda place: (-places[place], len(place[0]), place))

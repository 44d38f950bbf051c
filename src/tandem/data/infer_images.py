"""Where the images of a table lie: the folder and the suffix that turn an id into a file."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}


class ImageIndex:
    """The image files of a folder, found by the ids that may name them.

    >>> ImageIndex(["data/7.jpg", "data/8.jpg"]).place(["7", "8", "9"])
    Counter({('data', '.jpg'): 2})
    """

    def __init__(self, files: Iterable[str]):
        self.files = [file for file in files if PurePosixPath(file).suffix.lower() in SUFFIXES]
        self._named: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for file in self.files:
            path = PurePosixPath(file)
            self._named[path.name].append((file, ""))
            self._named[path.stem].append((file, path.suffix))

    def place(self, ids: Sequence[str]) -> Counter[tuple[str, str]]:
        """How many ids name a file in each (folder, suffix)."""
        found: Counter[tuple[str, str]] = Counter()
        for id in ids:
            for file, suffix in self._named.get(id.rsplit("/", 1)[-1], ()):
                if f"/{file}".endswith(f"/{id}{suffix}"):
                    found[file[: len(file) - len(id + suffix)].rstrip("/") or ".", suffix] += 1
        return found

    def largest_folder(self) -> str:
        """The folder that holds most images; '.' where there are none."""
        folders = Counter(PurePosixPath(file).parent.as_posix() for file in self.files)
        return folders.most_common(1)[0][0] if folders else "."


def best_place(found: Counter[tuple[str, str]]) -> tuple[str, str]:
    """The (folder, suffix) of most ids; of equals, the shortest folder."""
    return min(found, key=lambda place: (-found[place], len(place[0]), place))

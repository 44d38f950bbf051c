"""Which image file a cell of a table names.

One rule for `make import` and `make check`: a cell names the file whose path ends with the cell's parts. The number of
leading parts that are dropped first (such as kaggle/input/x) is one for a whole column, so that no row gets the file of
another folder because its own is missing.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from tandem.config.competition import Competition
from tandem.data.image_io import SUFFIXES

ANY = ".*"  # a suffix setting: any image suffix
NOT_READ = {"SVG": {".svg", ".svgz"}, "HEIC": {".heic", ".heif"}}  # images of other formats that people have
NO_IMAGES = {
    ".csv",
    ".tsv",
    ".psv",
    ".txt",
    ".md",
    ".json",
    ".jsonl",
    ".toml",
    ".py",
    ".parquet",
    ".npy",
    ".zip",
    ".gz",
}
SHOWN = 9  # suffixes
DEEP = "/**"  # end of a folder setting: and all folders in it
_FIELD = re.compile(r"\{id((?::[^:{}]+)*)\}")


def normalised(cell: str) -> str:
    """The path in a cell without outer spaces, backslashes and leading ./, ../ and /; "" where .. comes later.

    >>> normalised("..\\\\img\\\\1.jpg "), normalised("/kaggle/input/1.jpg"), normalised("./a//1.jpg")
    ('img/1.jpg', 'kaggle/input/1.jpg', 'a/1.jpg')
    """
    if cell.isalnum():
        return cell
    parts = [part for part in cell.strip().replace("\\", "/").split("/") if part not in ("", ".")]
    while parts and parts[0] == "..":
        parts.pop(0)
    return "" if ".." in parts else "/".join(parts)


def image_suffix(name: str) -> str:
    """The suffix of an image file's name as it is written; "" where it has none.

    >>> image_suffix("a/1.JPG"), image_suffix("2.5")
    ('.JPG', '')
    """
    suffix = PurePosixPath(name).suffix
    return suffix if suffix.lower() in SUFFIXES else ""


def may_be_image(file: str) -> bool:
    """Whether a file of a competition has neither the name of a table, of settings or code, nor a hidden one."""
    path = PurePosixPath(file)
    return path.suffix.lower() not in NO_IMAGES and not any(part.startswith(".") for part in path.parts)


def passed_over(files: Iterable[str]) -> str:
    """What is not read among files that may be meant as images, by suffix; "" where all are.

    >>> passed_over(["a/1.jpg", "2.SVG", "3.svg", "4"]).partition(";")[0]
    'passed over: 2 .svg, 1 without suffix'
    """
    suffixes = (PurePosixPath(file).suffix.lower() for file in files if not image_suffix(file))
    counts = Counter(one if re.fullmatch(r"(\.\w{1,9})?", one) else "with another suffix" for one in suffixes)
    if not counts:
        return ""
    most = sorted(counts.items(), key=lambda one: (-one[1], not one[0], one[0]))
    listed = ", ".join(f"{n:,} {suffix or 'without suffix'}" for suffix, n in most[:SHOWN])
    listed += f" and {len(counts) - SHOWN} other suffixes" if len(counts) > SHOWN else ""
    asked = [kind for kind, suffixes in NOT_READ.items() if counts.keys() & suffixes]
    save = f"; no reader of {' and '.join(asked)}: save them as PNG or JPEG" if asked else ""
    return f"passed over: {listed}; read are {', '.join(sorted(SUFFIXES))}{save}"


def image_name(template: str, cell: str) -> str:
    """The name of an image file; {id} is the cell, and changes may follow it.

    `:04` four digits, `:d` a number without leading zeros, `:lower`, `:upper`, `:stem` without suffix, `:-TEXT` without
    the beginning TEXT. A number that is none stays as it is.

    >>> image_name("img_{id:04}.jpg", "7"), image_name("{id:stem:lower}.png", "A.JPG"), image_name("{id:-id_}", "id_5")
    ('img_0007.jpg', 'a.png', '5')
    """

    def change(match: re.Match[str]) -> str:
        text = cell
        for step in match[1].split(":")[1:]:
            if step == "stem":
                text = text.removesuffix(image_suffix(text))
            elif step in ("lower", "upper"):
                text = getattr(text, step)()
            elif step.startswith("-"):
                text = text.removeprefix(step[1:])
            elif step == "d" or step.isdecimal():
                text = str(int(text)).zfill(int(step) if step != "d" else 0) if text.isdecimal() else text
            else:
                raise ValueError(f"image_name = {template!r}: {step!r} is not 04, d, lower, upper, stem or -TEXT")
        return text

    return _FIELD.sub(change, template)


def renamed(cell: str, template: str) -> str:
    """The normalised path of a cell, its last part changed by the template of `image_name`, if there is one."""
    path = normalised(cell)
    if not template or not path:
        return path
    folder, _, name = path.rpartition("/")
    return joined(folder, image_name(template, name))


def id_of_image(competition: Competition, file: str) -> str:
    """The id that names an image file: the opposite of `suffix` and `image_name`; a text without the suffix of an image
    is an id already, and an id in another column than the image's is not known.

    Changes of `image_name` that lose something (lower, upper, stem) are not undone.
    """
    name = normalised(file).rpartition("/")[2]
    if not image_suffix(name) or competition.image_column != competition.id:
        return name if image_suffix(name) else file
    name = name.removesuffix(image_suffix(name) if competition.suffix == ANY else competition.suffix)
    field = _FIELD.search(competition.image_name)
    if field is None:
        return name
    before, after = competition.image_name[: field.start()], competition.image_name[field.end() :]
    if not name.startswith(before) or not name.endswith(after):
        return name
    id = name[len(before) : len(name) - len(after)]
    for step in reversed(field[1].split(":")[1:]):
        if step.startswith("-"):
            id = step[1:] + id
        elif step.isdecimal() and id.isdecimal():
            id = str(int(id))
    return id


class ImageFiles:
    """Image files, searchable by the end of their paths.

    >>> ImageFiles(["data/a/7.jpg", "data/8.PNG"]).named("a/7.jpg", "")
    ['data/a/7.jpg']
    >>> ImageFiles(["data/a/7.jpg", "data/8.PNG"]).named("8", ANY)
    ['data/8.PNG']
    """

    def __init__(self, files: Iterable[str]) -> None:
        self.files = [file for file in files if image_suffix(file)]

    @cached_property
    def _by_name(self) -> Mapping[str, list[str]]:
        """{last part of the path, with and without suffix: files}."""
        found: dict[str, list[str]] = defaultdict(list)
        for file in self.files:
            name = file.rpartition("/")[2]
            found[name].append(file)
            found[PurePosixPath(name).stem].append(file)
        return found

    def named(self, path: str, suffix: str) -> list[str]:
        """The files that end with the parts of `path` and this suffix; ANY: exact names before added suffixes."""
        if suffix != ANY:
            end = f"/{path}{suffix}"
            name = end.rpartition("/")[2]
            return [file for file in self._by_name.get(name, ()) if f"/{file}".endswith(end)]
        exact = self.named(path, "")
        if exact:
            return exact
        found = self._by_name.get(path.rpartition("/")[2], ())
        return [file for file in found if f"/{file}".endswith(f"/{path}{PurePosixPath(file).suffix}")]


def without(path: str, n: int) -> str:
    """The path without its first `n` parts, but never without the last.

    >>> without("kaggle/input/1.jpg", 2), without("1.jpg", 2)
    ('1.jpg', '1.jpg')
    """
    parts = path.split("/")
    return "/".join(parts[min(n, len(parts) - 1) :])


def parts_to_drop(paths: Sequence[str], finds: Callable[[str], bool]) -> int:
    """The fewest leading parts without which half of the paths are found; where there are none, those that find most.

    More are not dropped for the sake of a few: a row whose file is missing would get a file of another folder.
    """
    most, best = 0, 0
    for n in range(max((path.count("/") for path in paths), default=0) + 1):
        count = sum(finds(without(path, n)) for path in paths)
        if count > most:
            most, best = count, n
        if 2 * count >= len(paths):
            break
    return best


@dataclass(frozen=True)
class Images:
    """Where the images of a split are, as `competition.toml` says."""

    files: ImageFiles
    folders: Sequence[str]
    suffix: str = ""
    template: str = ""

    @classmethod
    def of(cls, competition: Competition, split: str, files: Iterable[str]) -> "Images":
        """`files` are relative to the competition's folder."""
        folders = competition.image_folders(split)
        inside = (file for file in files if any(holds(folder, file) for folder in folders))
        return cls(ImageFiles(inside), folders, competition.suffix, competition.image_name)

    def find(self, cells: Sequence[str]) -> list[list[str]]:
        """The files that each cell names, without doubt where it is one."""
        names = [renamed(cell, self.template) for cell in cells]
        n = parts_to_drop([name for name in names if name], lambda path: bool(self._named(path)))
        return [self._named(without(name, n)) if name else [] for name in names]

    def _named(self, path: str) -> list[str]:
        found = self.files.named(path, self.suffix)
        return [file for file in found if any(self._is_at(folder, path, file) for folder in self.folders)]

    def _is_at(self, folder: str, path: str, file: str) -> bool:
        """A plain folder holds the file at exactly this path; one ending in /** at any depth."""
        if folder.endswith(DEEP[1:]):
            return holds(folder, file)
        suffix = PurePosixPath(file).suffix if self.suffix == ANY else self.suffix
        return file in (joined(folder, path), joined(folder, path + suffix))

    def expected(self, cell: str) -> str:
        """The file that a cell should name; raises ValueError where it is outside the folders."""
        name = renamed(cell, self.template)
        if not name or "\0" in name:
            raise ValueError(f"{cell!r} does not name a file inside {' or '.join(self.folders)}/")
        return joined(
            self.folders[0].removesuffix(DEEP[1:]).rstrip("/"), name + (self.suffix if self.suffix != ANY else "")
        )


def list_files(root: Path, folders: Iterable[str]) -> list[str]:
    """The files below these folders of `root`, relative to it."""
    found: set[str] = set()
    for top in dict.fromkeys(folder.removesuffix(DEEP[1:]).rstrip("/") or "." for folder in folders):
        for here, _, names in os.walk(root / top):
            folder = Path(here).relative_to(root).as_posix()
            found.update(joined(folder, name) for name in names)
    return sorted(found)


def joined(folder: str, path: str) -> str:
    return path if folder in ("", ".") else f"{folder}/{path}"


def holds(folder: str, file: str) -> bool:
    """Whether a file is in a folder or below it."""
    folder = folder.removesuffix(DEEP[1:]).rstrip("/")
    return folder in ("", ".") or file.startswith(f"{folder}/")


def is_counter(name: str, cells: Sequence[str]) -> bool:
    """Whether a column only counts rows: 0, 1, ... or 1, 2, ... in order; or in any order where it has no real name.

    >>> is_counter("id", ["1", "2", "3"]), is_counter("id", ["7", "2"]), is_counter("Unnamed: 0", ["7", "2"])
    (True, False, True)
    """
    if not all(cell.strip().isdecimal() for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    if len(numbers) > 1 and numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return True
    return is_nameless(name) and len(set(numbers)) == len(numbers)


def is_nameless(name: str) -> bool:
    """Whether a column has the name that a program gives to one without a name, such as an index."""
    return bool(re.fullmatch(r"(unnamed[: _]*\d*|index|level_0|column ?[01]|)", name.strip(), re.IGNORECASE))

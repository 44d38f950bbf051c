"""Which image file a cell of a table names, and which folders and suffix fit a whole column.

One rule for `make import`, `make check` and `make predict CAPTIONS=`: a cell names the file whose path ends with the
cell's parts. The number of leading parts that are dropped first (such as kaggle/input/x) is one for a whole column, so
that no row gets the file of another folder because its own is missing.
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
DEEP = "/**"  # end of a folder setting: and all folders in it
FEW = 4  # folders that are listed; more are searched below their common folder
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
    tops = dict.fromkeys(folder.removesuffix(DEEP[1:]).rstrip("/") or "." for folder in folders)
    found = (Path(here, name) for top in tops for here, _, names in os.walk(root / top) for name in names)
    return sorted({path.relative_to(root).as_posix() for path in found})


def joined(folder: str, path: str) -> str:
    return path if folder in ("", ".") else f"{folder}/{path}"


def holds(folder: str, file: str) -> bool:
    """Whether a file is in a folder or below it."""
    folder = folder.removesuffix(DEEP[1:]).rstrip("/")
    return folder in ("", ".") or file.startswith(f"{folder}/")


@dataclass(frozen=True)
class Reading:
    """How the cells of one column name image files.

    found    (n,) files of each cell, those of the best suffix rule
    suffix   "" names with suffix, ANY names without one
    """

    column: str
    found: list[list[str]]
    suffix: str
    dropped: int

    @property
    def n_found(self) -> int:
        return sum(map(bool, self.found))

    @property
    def is_unique(self) -> bool:
        """Whether (nearly) every row has a file of its own."""
        return len({files[0] for files in self.found if files}) > 0.9 * self.n_found


def read_column(column: str, cells: Sequence[str], files: ImageFiles) -> Reading:
    """The reading that finds the most files; of equals, the one without added suffixes."""
    paths = [normalised(cell) for cell in cells]
    best: Reading | None = None
    for suffix in ("", ANY):
        n = parts_to_drop([path for path in paths if path], lambda path: bool(files.named(path, suffix)))  # noqa: B023
        read = Reading(column, [files.named(without(p, n), suffix) if p else [] for p in paths], suffix, n)
        if best is None or read.n_found > best.n_found:
            best = read
        if best.n_found == len(paths):
            break
    assert best is not None
    return best


@dataclass(frozen=True)
class Place:
    """Folders and a suffix that hold an image for each cell, as far as there is one."""

    folders: tuple[str, ...]
    suffix: str
    n: int  # cells that they hold a file for

    @property
    def setting(self) -> str | list[str]:
        return self.folders[0] if len(self.folders) == 1 else list(self.folders)

    def pattern(self, column: str) -> str:
        """Such as data/<id>.jpg."""
        more = f" (and {len(self.folders) - 1} more)" if len(self.folders) > 1 else ""
        return f"{self.folders[0]}/<{column}>{self.suffix}{more}"


def places(reading: Reading, cells: Sequence[str], split: str) -> list[Place]:
    """The places that fit equally well, best first: more than one is a question.

    One folder and suffix where they hold every file that was found; else one folder with any suffix, few folders, or
    all folders below a common one. Of equals, those whose name speaks of the split, not of the other.
    """
    seen: Counter[tuple[str, str]] = Counter()
    folders: Counter[str] = Counter()
    for cell, found in zip(cells, reading.found, strict=True):
        spots = {_spot(file, without(normalised(cell), reading.dropped), reading.suffix) for file in found}
        seen.update(spots)
        folders.update({folder for folder, _ in spots})
    n = reading.n_found
    if whole := [Place((folder,), suffix, n) for (folder, suffix), count in seen.items() if count == n]:
        return _preferred(whole, split)
    if whole := [Place((folder,), ANY, n) for folder, count in folders.items() if count == n]:
        return _preferred(whole, split)
    suffixes = {suffix for _, suffix in seen}
    return [_several(reading, cells, folders, next(iter(suffixes)) if len(suffixes) == 1 else ANY)]


def _spot(file: str, path: str, suffix: str) -> tuple[str, str]:
    """(folder, suffix) of a file that `path` names."""
    added = PurePosixPath(file).suffix if suffix == ANY and not file.endswith(path) else ""
    return file[: len(file) - len(path + added)].rstrip("/") or ".", added


def _preferred(found: list[Place], split: str) -> list[Place]:
    """Those whose folder names the split, else those that do not name another one; shorter names first."""
    other = {"train": "test", "test": "train"}.get(split, "train")
    drawn = re.compile("mask|segm|annot|label", re.IGNORECASE)  # of images, not photos
    found = sorted(found, key=lambda p: (bool(drawn.search(p.folders[0])), len(p.folders[0]), p.folders, p.suffix))
    own = [place for place in found if split in place.folders[0].lower()]
    return own or [place for place in found if other not in place.folders[0].lower()] or found


def _several(reading: Reading, cells: Sequence[str], folders: Counter[str], suffix: str) -> Place:
    """The fewest folders that together hold what was found, largest first; many are searched below a common one."""
    paths = [without(normalised(cell), reading.dropped) for cell in cells]
    options = [
        {_spot(file, path, reading.suffix)[0] for file in found}
        for path, found in zip(paths, reading.found, strict=True)
        if found
    ]
    left = options
    chosen: list[str] = []
    while left and len(chosen) <= FEW:
        best = min(folders, key=lambda folder: (-sum(folder in spots for spots in left), folder))
        chosen.append(best)
        left = [spots for spots in left if best not in spots]
        folders = Counter(folder for spots in left for folder in spots)
    if left or len(chosen) > FEW:
        above = Counter(p for spots in options for p in {p for spot in spots for p in _above(spot)})
        chosen = [max((p for p, n in above.items() if n == len(options)), key=lambda p: (p != ".", p.count("/")))]
        chosen = [joined(chosen[0], DEEP[1:])]
    return Place(tuple(chosen), suffix, reading.n_found)


def _above(folder: str) -> list[str]:
    """The folder and those that it is in."""
    return [folder, *(parent.as_posix() for parent in PurePosixPath(folder).parents)]


@dataclass(frozen=True)
class Repair:
    """A template for `image_name` with which every cell names one file, and what differs."""

    template: str
    example: str
    differs: str


def find_repair(cells: Sequence[str], files: ImageFiles) -> Repair | None:
    """The first change of the names that fits all rows: case, suffix, zeros, a prefix, or two of these."""
    names = {file.rpartition("/")[2]: file for file in reversed(files.files)}
    cleaned = [normalised(cell).rpartition("/")[2] for cell in cells]
    if not names or not cleaned or not all(cleaned):
        return None
    for template, differs in _templates(cleaned, sorted(names)):
        if not all(image_name(template, cell) in names for cell in cleaned[:9]):
            continue
        made = [image_name(template, cell) for cell in cleaned]
        if all(name in names for name in made) and len(set(made)) == len(set(cleaned)):
            return Repair(template, f"{cells[0]!r} -> {names[made[0]]}", differs)
    return None


def _templates(cells: Sequence[str], names: Sequence[str]) -> Iterable[tuple[str, str]]:
    """(template, what differs), plain changes first."""
    suffixes = sorted({PurePosixPath(name).suffix for name in names})
    widths = sorted({len(digits) for name in names for digits in re.findall(r"\d+", name)})
    changes = [("", ""), (":lower", "case"), (":upper", "case"), (":d", "leading zeros")]
    changes += [(f":{width:02}", "leading zeros") for width in widths if width < 100]
    if len(cells) > 1 and (own := _common_start(cells)):
        changes += [(f":-{own}{change}", f"the prefix {own!r}") for change, _ in list(changes)]
    own_suffix = any(map(image_suffix, cells))
    stem, differs_in = (":stem", "the suffix") if own_suffix else ("", "")
    ends = [("{id%s}", "")] + [(f"{{id{stem}%s}}{suffix}", differs_in) for suffix in suffixes]
    start = _common_start(names) if len(names) > 1 else ""
    starts = dict.fromkeys(["", start, re.sub(r"\d+$", "", start)])
    for prefix in starts:
        for form, suffix_differs in ends:
            for change, differs in changes:
                if set("{}:") & set(prefix) or "{id" not in form:
                    continue
                what = [differs, suffix_differs, f"the prefix {prefix!r}" if prefix else ""]
                yield prefix + form % change, " and ".join(filter(None, what))


def _common_start(texts: Sequence[str]) -> str:
    low, high = min(texts), max(texts)
    n = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return re.sub(r"\d+$", "", low[:n])

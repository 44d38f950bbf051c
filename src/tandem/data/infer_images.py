"""Which folders and suffix fit a column that names images, and which change of its names would."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tandem.data.image_names import (
    ANY,
    DEEP,
    ImageFiles,
    image_name,
    image_suffix,
    joined,
    normalised,
    parts_to_drop,
    without,
)

SCIENTIFIC = {".tif", ".tiff", ".jp2", ".j2k", ".pgm", ".ppm"}  # often with more bands or bits than a photo
FEW = 4  # folders that are listed; more are searched below their common folder


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
        found = [photos_first(files.named(without(p, n), suffix)) if p else [] for p in paths]
        read = Reading(column, found, suffix, n)
        if best is None or read.n_found > best.n_found:
            best = read
        if best.n_found == len(paths):
            break
    assert best is not None
    return best


def photos_first(files: list[str]) -> list[str]:
    """Without those of scientific formats where the same name is there as a photo too.

    >>> photos_first(["jpg/a.jpg", "tif/a.tif"]), photos_first(["tif/a.tif"])
    (['jpg/a.jpg'], ['tif/a.tif'])
    """
    return [file for file in files if PurePosixPath(file).suffix.lower() not in SCIENTIFIC] or files


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


def find_repairs(cells: Sequence[str], files: ImageFiles) -> list[Repair]:
    """The first change of the names that fits all rows: case, suffix, zeros, a prefix, or two of these; or all endings
    that do, where each row has several files, such as the colours of a microscope."""
    names = {file.rpartition("/")[2]: file for file in reversed(files.files)}
    cleaned = [normalised(cell).rpartition("/")[2] for cell in cells]
    if not names or not cleaned or not all(cleaned):
        return []

    def repaired(template: str, differs: str) -> Repair | None:
        if not all(image_name(template, cell) in names for cell in cleaned[:9]):
            return None
        made = [image_name(template, cell) for cell in cleaned]
        fits = all(name in names for name in made) and len(set(made)) == len(set(cleaned))
        return Repair(template, f"{cells[0]!r} -> {names[made[0]]}", differs) if fits else None

    for template, differs in _templates(cleaned, sorted(names)):
        if found := repaired(template, differs):
            return [found]
    own = len(cleaned[0])
    endings = (name[own:] for name in sorted(names) if name.startswith(cleaned[0]) and not set("{}") & set(name))
    return [found for end in endings if (found := repaired("{id}" + end, f"the ending {end!r}"))]


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

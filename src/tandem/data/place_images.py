"""Chooses the column that names images, and their folders and suffix; what is not certain is a question."""

from collections.abc import Mapping, Sequence
from typing import Any

from tandem.config.questions import Question, as_list
from tandem.data.csv_reader import Table
from tandem.data.image_names import ANY, ImageFiles, holds, is_counter, is_nameless, renamed
from tandem.data.infer_images import Place, Reading, find_repairs, places, read_column
from tandem.data.infer_tables import Found

FOUND = 0.5  # share of the rows whose images must be found for a column to name images


def find_image_columns(train: Table, test: Table | None, images: ImageFiles, found: Found) -> dict[str, Reading]:
    """{column: reading} of the columns that name image files, best first; row counters only where there is no other."""
    template, readings = found.given.get("image_name", ""), {}
    for column in train.columns:
        if test is None or column in test.columns:
            cells = [renamed(cell, template) for cell in train.column(column)]
            reading = read_column(column, cells, images)
            if reading.n_found and reading.n_found >= FOUND * len(cells):
                readings[column] = reading
    unique = {column for column, reading in readings.items() if reading.is_unique}
    counters = {column for column in readings if is_counter(column, train.column(column))}
    # a fold or a label may be a number too, and 3 names 3.jpg: such a column is not unique and needs an added suffix
    real = {c for c in readings if c not in counters and (c in unique or readings[c].suffix != ANY)}
    if not real:  # then an id that counts the rows may name the images, but not an index without a name
        real = {c for c in readings if not (c in counters and is_nameless(c))}

    def rank(column: str) -> tuple[bool, int, bool, int]:
        read = readings[column]
        return column not in unique, -read.n_found, read.suffix == ANY, train.columns.index(column)

    return {column: readings[column] for column in sorted(real or readings, key=rank)}


def choose_image(readings: Mapping[str, Reading], found: Found) -> str | None:
    """The column that names the images; one that is like the best but names other files is a question."""
    if "image" in found.given or not readings:
        return found.given.get("image")
    best, *others = readings.values()
    exact = [r for r in (best, *others) if r.suffix != ANY]  # its cells are names with suffix
    if exact and exact[0].n_found >= best.n_found:
        best = exact[0]
    # a rival names other files, and as many of them, as surely: with suffix, and a file of its own for each row
    rivals = [r for r in others if r is not best and r.found != best.found and r.n_found >= best.n_found]
    if best.suffix != ANY:
        rivals = [r for r in rivals if r.suffix != ANY or r.n_found > best.n_found]
    rivals = [r for r in rivals if r.is_unique or not best.is_unique]
    if exact and best.suffix == ANY and exact[0].is_unique:  # fewer files, but by their whole names
        rivals.append(exact[0])
    if rivals:
        examples = {r.column: next(files[0] for files in r.found if files) for r in (best, *rivals)}
        found.questions.append(Question("image", "several columns name image files; the first of each", examples))
    return best.column


def place_images(image: str | None, tables: Mapping[str, Table], images: ImageFiles, found: Found) -> None:
    """Folders and suffix of the images of each split."""
    if found.given.get("images") == "" or not images.files:
        return
    column, template = image or found.values["id"], found.given.get("image_name", "")
    options: dict[str, list[Place]] = {}
    for split in ("train", "test"):
        if split not in tables or column not in tables[split].columns:
            continue
        cells = [renamed(cell, template) for cell in tables[split].column(column)]
        reading = read_column(column, cells, images_in(found.given.get("images"), split, images))
        n = len(cells) - reading.n_found
        if split == "train" and n and not template and ask_repair(column, cells, images, found):
            return
        if split == "train" and not reading.n_found:
            about = f"column {column!r}, such as {cells[0]!r}, names none of the {len(images.files):,} image files"
            about += f", such as {images.files[0]}"
            found.questions.append(Question("images", about, {"": "no images: text only"}))
            return
        options[split] = places(reading, cells, split) if reading.n_found else []
        if n:
            found.notes.append(f"{n:,} of {len(cells):,} {split} rows have no image: make check lists them")
    settle_places(options, column, found)


def images_in(given: Any, split: str, images: ImageFiles) -> ImageFiles:
    """The files in the folders that are given for a split; all where none are."""
    setting = given.get(split) or given.get("test") if isinstance(given, Mapping) else given
    folders = as_list(setting or [])
    return ImageFiles(f for f in images.files if any(holds(d, f) for d in folders)) if folders else images


def settle_places(options: Mapping[str, list[Place]], column: str, found: Found) -> None:
    """One setting for the splits, or one for each; a question where two places fit the training rows."""
    best = options["train"][0]
    if len({place.folders for place in options["train"]}) > 1:
        listed = {_both(place, options.get("test", [])): place.pattern(column) for place in options["train"]}
        found.questions.append(Question("images", "several folders hold an image for each row", listed))
        return
    if len(options["train"]) > 1 and "suffix" not in found.given:
        listed = {place.suffix: place.pattern(column) for place in options["train"]}
        found.questions.append(Question("suffix", "files of several suffixes have the same names", listed))
    test = options.get("test") or [best]
    same = next((place for place in test if all(_is_in(best.folders, folder) for folder in place.folders)), None)
    chosen = same or test[0]
    found.values["images"] = best.setting
    if same is None:
        found.values["images"] = {"train": best.setting, "test": chosen.setting}
    found.values["suffix"] = best.suffix if best.suffix == chosen.suffix else ANY


def _both(train: Place, test: Sequence[Place]) -> str:
    """The setting of train and test images together: one folder, or the test folder of the same name."""
    folder = train.folders[0]
    apart = [place.folders[0] for place in test if not any(_is_in(train.folders, f) for f in place.folders)]
    if not apart or len(apart) < len(test):
        return folder
    twin = folder.replace("train", "test")
    return f'{{train = "{folder}", test = "{twin if twin in apart else apart[0]}"}}'


def _is_in(folders: Sequence[str], folder: str) -> bool:
    return folder in folders or any(f.endswith("**") and holds(f, f"{folder}/_") for f in folders)


def ask_repair(column: str, cells: Sequence[str], images: ImageFiles, found: Found) -> bool:
    """Whether a change of the names fits all rows: it is asked for, with what differs."""
    repairs = find_repairs(cells, images)
    if not repairs:
        return False
    differs = repairs[0].differs if len(repairs) == 1 else f"{len(repairs)} files of each row have another ending"
    about = f"column {column!r} names no file as it stands: {differs}" + " differs" * (len(repairs) == 1)
    about += f", such as {repairs[0].example}"
    found.questions.append(Question("image_name", about, {one.template: one.example for one in repairs}))
    return True

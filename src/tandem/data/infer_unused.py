"""The columns and folders that nothing reads, with the reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from tandem.config.questions import as_list
from tandem.data.csv_reader import Table
from tandem.data.image_names import holds, is_counter


def unused_columns(train: Table, used: Sequence[str | None], sample: Table | None, test: Table | None) -> list[str]:
    """The columns that nothing reads, with the reason."""
    unused = []
    for column in train.columns:
        if column in used:
            continue
        if is_counter(column, train.column(column)):
            reason = "it counts the rows"
        elif sample and column not in sample.columns:
            reason = "neither a caption nor in the sample submission"
        else:
            reason = "neither a caption nor a label" if test and column in test.columns else "not read as a label"
        unused.append(f"column {column}: {reason}")
    return unused


def unused_folders(files: Sequence[str], tables: Sequence[str], images: Any) -> list[str]:
    """The folders whose files nothing reads; `images` is the setting of that name."""
    settings = images.values() if isinstance(images, Mapping) else [images]
    folders = [folder for setting in settings if setting for folder in as_list(setting)]
    left = Counter(
        PurePosixPath(file).parent.as_posix()
        for file in files
        if file not in tables and not any(holds(folder, file) for folder in folders)
    )
    return [f"{folder}/: {n:,} file{'s' * (n > 1)} that no row names" for folder, n in left.items() if folder != "."]

"""Infers the column that names a row, also in the submission."""

import re

from tandem.config.questions import Question
from tandem.data.csv_reader import Table
from tandem.data.image_names import is_nameless
from tandem.data.infer_tables import Found

ID_NAME = re.compile(r"(^|[_ -])id$|^id|Id$|ID$")


def choose_id(train: Table, test: Table | None, sample: Table | None, image: str | None, found: Found) -> str:
    """The column that names a row, as the sample submission has it; else that of the images, or of different values."""
    id = found.given.get("id") or _id_column(train, test, sample, image, found)
    found.values["id"] = id
    if image and image != id:
        found.values["image"] = image
    return id


def _id_column(train: Table, test: Table | None, sample: Table | None, image: str | None, found: Found) -> str:
    columns = [c for c in train.columns if test is None or c in test.columns]
    if not columns:
        both = f"{list(train.columns)} and {list(test.columns if test else ())}"
        expected = "expected the same name for the column of ids"
        raise ValueError(f"no column is in both the training and the test table: {both}; {expected}")
    in_sample = [c for c in columns if sample and c in sample.columns and _is_unique(sample, c)]
    if in_sample and test is not None:
        same = [c for c in in_sample if set(sample.column(c)) == set(test.column(c))] if sample else []
        in_sample = same or in_sample
    if in_sample:
        return image if image in in_sample else in_sample[0]
    unique = [c for c in columns if _is_unique(train, c)]
    if image:
        if image not in unique:
            raise ValueError(
                f"column {image!r} names many images in more than one row; expected one row for each image"
            )
        rivals = [c for c in unique if c != image and ID_NAME.search(c)]
        if rivals and not sample:
            examples = {c: train.column(c)[0] for c in (image, *rivals)}
            found.questions.append(Question("id", "the submission may name a row by several columns", examples))
        return image
    if not unique:
        raise ValueError(f"no column of {columns} has a different value in each row; expected one with ids of images")
    hinted = re.compile("id|image|file|name", re.IGNORECASE)
    return min(unique, key=lambda c: (is_nameless(c), not hinted.search(c), columns.index(c)))


def _is_unique(table: Table, column: str) -> bool:
    return len(set(table.column(column)) - {""}) > 0.9 * len(table.rows)

"""Rows of an array in the order of other ids."""

from collections.abc import Sequence

import numpy as np


def rows_by_id(values: np.ndarray, ids: Sequence[str], wanted: Sequence[str], of: str) -> np.ndarray:
    """The rows of `values` (n, ...) with `ids` (n,) in the order of `wanted`: the array itself where these are equal.

    Raises ValueError where one has no row; `of` names in it what a row is, such as "prediction".

    >>> rows_by_id(np.array([1.0, 2.0]), ["a", "b"], ["b", "a"], "number").tolist()
    [2.0, 1.0]
    """
    if list(ids) == list(wanted):
        return values
    row = {id: i for i, id in enumerate(ids)}
    if absent := [id for id in wanted if id not in row]:
        raise ValueError(f"{len(absent):,} ids have no {of}, first: {absent[0]}")
    return values[[row[id] for id in wanted]]

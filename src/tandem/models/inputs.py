"""What a model may read of some rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tandem.config.encoders import AddedFeatures, Encoder
from tandem.config.experiments import Experiment
from tandem.data.image_loader import Image, load_square
from tandem.data.split_tables import has_caption

ROWS = 4096  # computed at once
COPIED = 2**28  # bytes: of larger features `Inputs.take` only notes the rows, and they are read when they are needed


@dataclass(frozen=True)
class Maps:
    """Rows of arrays on disk, (n, views, ...) each, read as if they were one array; indexing gives arrays."""

    parts: tuple[np.ndarray, ...]
    rows: np.ndarray | None = None  # numbers of the selected rows, over all `parts` in order; None = all

    def __len__(self) -> int:
        return sum(map(len, self.parts)) if self.rows is None else len(self.rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        """As of one array: rows, or (rows, view) of one view or of one for each row."""
        rows, view = key if isinstance(key, tuple) else (key, None)
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        if view is not None:
            return self.read(rows, view)
        return np.stack([self.read(rows, v) for v in range(self.shape[1])], axis=1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.parts[0].dtype, copy=False)

    @property
    def numbers(self) -> np.ndarray:
        return np.arange(len(self)) if self.rows is None else self.rows

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.parts[0].shape[1:])

    def take(self, rows: np.ndarray) -> "Maps":
        return Maps(self.parts, self.numbers[rows])

    def followed_by(self, other: "Maps") -> "Maps":
        numbers = np.concatenate([self.numbers, other.numbers + sum(map(len, self.parts))])
        return Maps((*self.parts, *other.parts), numbers)

    def read(self, rows: np.ndarray, view: int | np.ndarray) -> np.ndarray:
        """(b, ...) of rows (b,), each in its own `view`, or its last one where it has fewer."""
        views = np.minimum(np.broadcast_to(view, rows.shape), self.shape[1] - 1)
        numbers, start = rows if self.rows is None else self.rows[rows], 0
        out = np.empty((len(rows), *self.shape[2:]), self.parts[0].dtype)
        for part in self.parts:
            inside = (numbers >= start) & (numbers < start + len(part))
            out[inside] = part[numbers[inside] - start, views[inside]]
            start += len(part)
        return out


@dataclass(frozen=True)
class Inputs:
    """n rows of one or more splits in one order; an experiment has only the parts that it reads."""

    ids: Sequence[str]
    features: Mapping[str, np.ndarray | Maps] = field(
        default_factory=dict
    )  # by slug of the encoder, (n, views, d) float16; of added ones, by name, float32
    maps: Mapping[str, Maps] = field(default_factory=dict)  # the same, (n, views, ...); too large to copy, so on disk
    captions: Sequence[str] | None = None
    files: Sequence[Image] | None = None
    captioned: np.ndarray | None = None  # (n,) bool: which rows have a caption; None: all, or captions are not read
    caption_lists: Sequence[Sequence[str]] | None = None  # those of each row, where each is trained on by itself

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def views(self) -> int:
        """The largest number of views that an encoder has of a row."""
        shapes = [part.shape for parts in (self.features, self.maps) for part in parts.values()]
        return max((shape[1] for shape in shapes), default=1)

    def matrix(self, *names: str) -> np.ndarray:
        """(n, d) float32: the features of these names, or of all, side by side, each in its first view."""
        if unknown := set(names) - set(self.features):
            raise ValueError(f"no features {min(unknown)!r}; there are: {sorted(self.features)}")
        blocks = [self.features[name][:, 0] for name in names or self.features]
        return np.concatenate(blocks, axis=1).astype(np.float32)

    def pixels(self, size: int, rows: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """(b, size, size, 3) uint8 RGB: the whole images of these rows, or of all, resized to squares."""
        if self.files is None:
            raise ValueError("images are not read; declare them: pixels = 224, the side of the square")
        return np.stack([load_square(self.files[i], size) for i in (range(len(self)) if rows is None else rows)])

    def take(self, rows: np.ndarray) -> "Inputs":
        """The rows with these numbers, in this order."""
        return Inputs(
            [self.ids[i] for i in rows],
            {slug: _take(values, rows) for slug, values in self.features.items()},
            {slug: maps.take(rows) for slug, maps in self.maps.items()},
            None if self.captions is None else [self.captions[i] for i in rows],
            None if self.files is None else [self.files[i] for i in rows],
            None if self.captioned is None else self.captioned[rows],
            None if self.caption_lists is None else [self.caption_lists[i] for i in rows],
        )

    def followed_by(self, other: "Inputs") -> "Inputs":
        """These rows, then those of `other`, which has the same parts."""
        return Inputs(
            [*self.ids, *other.ids],
            {slug: _followed_by(own, other.features[slug]) for slug, own in self.features.items()},
            {slug: own.followed_by(other.maps[slug]) for slug, own in self.maps.items()},
            None if self.captions is None or other.captions is None else [*self.captions, *other.captions],
            None if self.files is None or other.files is None else [*self.files, *other.files],
            None if self.captioned is None or other.captioned is None else np.append(self.captioned, other.captioned),
            None if self.caption_lists is None else [*self.caption_lists, *(other.caption_lists or ())],
        )

    def side_by_side(
        self,
        encoders: Sequence[Encoder | AddedFeatures],
        view: int | np.ndarray,
        rows: np.ndarray | slice = slice(None),
    ) -> np.ndarray:
        """(b, d) float32: the features of `encoders`, in one `view` or one per row; the last where there are fewer."""
        blocks = [self.features[encoder.slug] for encoder in encoders]
        picked = [block[rows, np.minimum(view, block.shape[1] - 1)] for block in blocks]
        return np.concatenate(picked, axis=1).astype(np.float32)


def row_slices(n: int) -> list[slice]:
    """n rows in order, ROWS at a time."""
    return [slice(start, min(n, start + ROWS)) for start in range(0, n, ROWS)]


def _take(values: np.ndarray | Maps, rows: np.ndarray) -> np.ndarray | Maps:
    if isinstance(values, Maps):
        return values.take(rows)
    per_row = math.prod(values.shape[1:]) * values.itemsize
    return values[rows] if per_row * len(rows) <= COPIED else Maps((values,), rows)


def _followed_by(values: np.ndarray | Maps, others: np.ndarray | Maps) -> np.ndarray | Maps:
    if isinstance(values, np.ndarray) and isinstance(others, np.ndarray):
        return np.concatenate([values, others])
    first, second = (part if isinstance(part, Maps) else Maps((part,)) for part in (values, others))
    return first.followed_by(second)


class Source(Protocol):
    """Where inputs come from: the features of a split on disk, or encoders that are run on new rows."""

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def captions(self) -> Sequence[str]: ...

    @property
    def caption_lists(self) -> Sequence[Sequence[str]]: ...

    def images(self, size: int) -> Sequence[Image]:
        """Files, or squares of `size` pixels."""

    def features(self, encoder: Encoder) -> np.ndarray:
        """(n, views, ...) float16."""

    def added(self, features: AddedFeatures) -> np.ndarray:
        """(n, 1, d) float32 of the user; raises ValueError where there are none, as of new rows."""


def build_inputs(experiment: Experiment, source: Source) -> Inputs:
    """What the models of `experiment` read of the rows of `source`."""
    each_caption = getattr(experiment, "caption_views", False)  # of encoders, their features hold each
    return Inputs(
        source.ids,
        {encoder.slug: source.features(encoder) for encoder in experiment.encoders if not encoder.cached_map}
        | {added.slug: source.added(added) for added in experiment.features},
        {encoder.slug: Maps((source.features(encoder),)) for encoder in experiment.encoders if encoder.cached_map},
        source.captions if "caption" in experiment.reads_rows else None,
        source.images(experiment.image_size) if experiment.image_size else None,
        np.array([has_caption(text) for text in source.captions], bool) if "caption" in experiment.reads else None,
        source.caption_lists if each_caption and not experiment.encoders else None,
    )

"""Frozen features of several encoders in shards: rows that one process computes, on any machine.

`split_work` -> shards -> `run_shard` of each, in any order and at any time -> `put_together`. The same bytes come out
whatever the number of shards is. Only `run_shard` loads torch.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tandem.artifacts.paths import Paths
from tandem.config.encoders import Encoder
from tandem.features.extract import encoded_ids, encoded_items, load_encoders
from tandem.features.feature_store import CHUNK, Parts, PartWriter, ranges
from tandem.runtime.disk import require_room
from tandem.runtime.progress import log_line, progress
from tandem.runtime.resources import threads

SAID_GB = 0.5  # how much the features of an encoder take is said from here on
SHARD_ROWS = 1024  # at least: to start a process takes seconds


@dataclass(frozen=True)
class Wanted:
    """Features of one split that are to be made.

    rows       of the split
    made_from  key and inputs, which are kept beside them
    """

    encoder: Encoder
    split: str
    rows: int
    made_from: Mapping[str, Any]

    def parts(self, paths: Paths) -> Parts:
        return Parts(paths.features(self.encoder.slug, self.split), self.rows, self.made_from["key"])


@dataclass(frozen=True)
class Shard:
    """Some rows for all encoders.

    wanted  of the whole run; their encoders have the same `items`
    rows    (split, first row, last row + 1), multiples of CHUNK but for the end of a split
    """

    wanted: tuple[Wanted, ...]
    rows: tuple[tuple[str, int, int], ...]

    @property
    def number_of_rows(self) -> int:
        return sum(stop - start for _, start, stop in self.rows)

    def files(self, paths: Paths) -> list[Path]:
        """The files that `run_shard` writes, for a machine that does not share the folder of the features."""
        found = []
        for split, start, stop in self.rows:
            for parts in (wanted.parts(paths) for wanted in self.wanted if wanted.split == split):
                npy = [parts.file(first) for first in range(start, stop, CHUNK)]
                found += [file for one in npy for file in (one, one.with_suffix(".json"))]
        return found


def split_work(paths: Paths, wanted: Sequence[Wanted], number: int) -> list[Shard]:
    """At most `number` shards of about the same size, of the rows that no earlier run has computed; what was computed
    of other keys is removed."""
    missing: dict[tuple[str, int], int] = {}  # (split, first row) -> rows
    for one in wanted:
        parts = one.parts(paths)
        parts.forget_others()
        missing |= {(one.split, first): min(CHUNK, one.rows - first) for first in parts.missing()}
    splits = list(dict.fromkeys(one.split for one in wanted))
    ordered = sorted(missing, key=lambda part: (splits.index(part[0]), part[1]))
    shards: list[Shard] = []
    rows_left = sum(missing.values())
    while ordered:
        taken, share = [ordered.pop(0)], rows_left / (number - len(shards))
        rows = missing[taken[0]]
        while ordered and rows + missing[ordered[0]] / 2 <= share:
            rows += missing[ordered[0]]
            taken.append(ordered.pop(0))
        rows_left -= rows
        shards.append(Shard(tuple(wanted), tuple(_rows_of(taken, wanted))))
    return shards


def _rows_of(parts: Sequence[tuple[str, int]], wanted: Sequence[Wanted]) -> Iterator[tuple[str, int, int]]:
    for split in dict.fromkeys(split for split, _ in parts):
        rows = next(one.rows for one in wanted if one.split == split)
        for found in ranges([first for of, first in parts if of == split], rows):
            yield split, found.start, found.stop


def run_shard(paths: Paths, shard: Shard) -> None:
    """Computes what is missing of a shard, in files of CHUNK rows; a killed one continues after the last whole file."""
    todo = [found for rows in shard.rows for found in _todo(paths, shard, *rows)]
    if not todo:
        return
    encoders = {one.encoder.slug: one.encoder for _, wanted, _ in todo for one in wanted}
    encode = load_encoders(list(encoders.values()))
    first = next(iter(encoders.values()))
    label = first.slug if len(encoders) == 1 else f"{len(encoders)} {first.reads} encoders"
    room = _Room(paths, shard)
    done = shard.number_of_rows - sum(len(rows) for _, _, rows in todo)
    with progress(shard.number_of_rows, label, "img" if first.reads == "image" else "captions", done) as bar:
        for split, wanted, rows in todo:
            items = encoded_items(paths, first, split)
            writers = {one.encoder.slug: PartWriter(one.parts(paths), rows.start) for one in wanted}
            before, shown = time.perf_counter(), rows.start
            try:
                for blocks in encode(items[rows.start : rows.stop], list(writers)):
                    now = time.perf_counter()
                    for slug, block in blocks.items():
                        room.ask(slug, block)
                        writers[slug].add(block, threads() * (now - before) / len(blocks))
                    before = now
                    written = sum(writer.row for writer in writers.values()) // len(writers)
                    bar.update(written - shown)
                    shown = written
            finally:
                for writer in writers.values():
                    writer.close()


class _Room:
    """Asks for room on the disk for all features of a shard's encoders before the first of them are written."""

    def __init__(self, paths: Paths, shard: Shard) -> None:
        self.paths, self.shard, self.sizes = paths, shard, dict[str, int]()  # bytes by slug

    def ask(self, slug: str, block: np.ndarray) -> None:
        """Raises OSError where there is none; the shard of the first rows says how much the features of `slug` take."""
        if slug in self.sizes:
            return
        wanted = [one for one in self.shard.wanted if one.encoder.slug == slug]
        size, folder = 2 * block[0].size * sum(one.rows for one in wanted), self.paths.features(slug, "_").parent
        there = sum(file.stat().st_size for one in wanted for file in one.parts(self.paths).folder.glob("*"))
        self.sizes[slug] = size - there
        cure = "make room; make clean-cache COMP=... removes features of another competition that can be made again"
        names = ", ".join(self.sizes)
        require_room(folder, sum(self.sizes.values()), f"features of {names}", cure)
        if self.shard.rows[0][1] == 0 and size > SAID_GB * 1e9:
            log_line(f"features of {slug} take {size / 1e9:.1f} GB on disk ({folder}); make clean-cache removes them")


def _todo(paths: Paths, shard: Shard, split: str, start: int, stop: int) -> Iterator[tuple[str, list[Wanted], range]]:
    """(split, whose features, rows): rows that follow one another and that the same encoders miss."""
    here = [one for one in shard.wanted if one.split == split]
    missing = [set(one.parts(paths).missing()) for one in here]
    by_encoders: dict[tuple[int, ...], list[int]] = {}
    for first in range(start, stop, CHUNK):
        these = tuple(number for number, starts in enumerate(missing) if first in starts)
        by_encoders.setdefault(these, []).append(first)
    for numbers, starts in by_encoders.items():
        for rows in ranges(starts, here[0].rows) if numbers else ():
            yield split, [here[number] for number in numbers], rows


def put_together(paths: Paths, wanted: Sequence[Wanted]) -> None:
    """Writes the features once all shards have run; raises ValueError where rows are missing."""
    for one in wanted:
        one.parts(paths).put_together(encoded_ids(paths, one.encoder, one.split), one.made_from)

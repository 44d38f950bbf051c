"""Check: input/C -> reports/C/check.json, build/C/{*.images,*.captions,train.labels}.parquet and checked.

Every row and every image is looked at, and the ids of a sample submission. The tables, each rewritten only when its
content changes, and `checked` are written only where nothing would make training wrong.
"""

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.table import Table as RichTable
from rich.text import Text

from tandem.artifacts.atomic_io import write_json, write_text
from tandem.artifacts.paths import SPLITS, Paths
from tandem.config.competition import Competition, load_competition
from tandem.data.checks import (
    Split,
    check_captions,
    check_duplicates,
    check_ids,
    check_images,
    check_labels,
    check_sample,
    check_table,
    make_split,
    needed_columns,
)
from tandem.data.csv_reader import Table, read_table
from tandem.data.image_scan import ImageInfo as Look
from tandem.data.image_scan import scan_images as scan
from tandem.data.issues import Issue as Finding
from tandem.data.issues import check_report as report
from tandem.data.issues import count_errors as blocking
from tandem.data.issues import group_by_kind as problems
from tandem.data.label_codec import LabelCodec
from tandem.data.split_tables import write_captions, write_images, write_labels
from tandem.runtime.console import make_console

STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}


def read_split(path: Path, split: str) -> Table:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; add it, or correct {split} in competition.toml")
    return read_table(path)


def check_rows(
    competition: Competition, splits: Mapping[str, Split], tables: Mapping[str, Table]
) -> tuple[np.ndarray, list[Finding]]:
    """(y, findings) of all that can be said without an image."""
    y, findings = check_labels(splits["train"], tables["train"], competition)
    findings = [*check_ids(*splits.values()), *findings]
    if competition.caption:
        for name, split in splits.items():
            findings += check_captions(split, tables[name].column(competition.caption))
    return y, findings


def image_columns(split: Split, looks: Mapping[str, Look]) -> dict[str, list]:
    seen = [looks[file] for file in split.images]
    columns = {name: [getattr(s, name) for s in seen] for name in ("width", "height", "sha", "hash")}
    return {"id": list(split.ids), "file": list(split.images), "bytes": [s.size for s in seen]} | columns


def problem_table(findings: Sequence[Finding]) -> RichTable:
    """One line a kind: how bad, how many, the first of them, what to do."""
    table = RichTable(show_lines=True)
    for name in ("problem", "severity", "count", "first of them", "what to do"):
        table.add_column(name, justify="right" if name == "count" else "left", overflow="fold")
    for p in problems(findings):
        first = f"{p.first.place}\n{p.first.message:.200}"
        style = STYLES[p.severity]
        table.add_row(Text(p.kind, style), Text(p.severity, style), f"{p.count:,}", Text(first), p.advice)
    return table


def write_tables(
    paths: Paths,
    competition: Competition,
    splits: Mapping[str, Split],
    looks: Mapping[str, Look],
    y: np.ndarray,
    captions: Mapping[str, Sequence[str]],
) -> None:
    for stale in set(SPLITS) - set(splits):
        paths.images(stale).unlink(missing_ok=True)
        paths.captions(stale).unlink(missing_ok=True)
    for name, split in splits.items():
        write_images(paths.images(name), image_columns(split, looks))
        if name in captions:
            write_captions(paths.captions(name), list(split.ids), list(captions[name]))
        else:
            paths.captions(name).unlink(missing_ok=True)
    write_labels(paths.labels, list(splits["train"].ids), tuple(competition.labels.names), y)
    write_text(paths.checked, "")


def conclude(paths: Paths, findings: Sequence[Finding], rows: dict[str, int], looked: str) -> int:
    """Prints and stores what was found; the number of errors."""
    write_json(paths.check_report, report(findings, rows))
    if findings:
        make_console().print(problem_table(findings))
    print(f"{rows['train']:,} + {rows['test']:,} rows, {looked}; details: {paths.check_report}")
    errors = blocking(findings)
    if errors:
        again = f"make check COMP={paths.comp}"
        print(f"not ready: {errors:,} error{'s' * (errors > 1)} to put right; then: {again}")
    return errors


def add_arguments(parser) -> None:
    del parser  # --comp says it all


def main(args) -> int:
    warnings.filterwarnings("ignore", module="PIL")  # what matters of them becomes a finding
    paths = Paths(args.comp)
    paths.checked.unlink(missing_ok=True)
    competition = load_competition(paths.competition)
    files = {name: paths.input / getattr(competition, name) for name in competition.splits}
    tables = {name: read_split(file, name) for name, file in files.items()}
    rows = {name: len(table.rows) for name, table in tables.items()}
    findings: list[Finding] = []
    for name, table in tables.items():
        findings += check_table(str(files[name]), table, needed_columns(competition, name))
    if findings:
        return bool(conclude(paths, findings, rows, "no image was looked at"))

    splits: dict[str, Split] = {}
    for name, table in tables.items():
        splits[name], found = make_split(str(files[name]), table, competition)
        findings += found
    sample = paths.input / competition.sample_submission
    if sample.is_file():
        findings += check_sample(splits["test"], read_table(sample), str(sample), competition)
    y, found = check_rows(competition, splits, tables)
    findings += found
    started = time.perf_counter()
    wanted = dict.fromkeys(file for split in splits.values() for file in split.images if file)
    looks, opened = scan(paths.input, list(wanted), paths.scan_cache)
    seconds = time.perf_counter() - started
    for split in splits.values():
        findings += check_images(split, looks)
    cells = LabelCodec(competition.labels.names, competition.labels.separator).decode(y)
    findings += check_duplicates(splits["train"], splits["test"], looks, cells)

    looked = f"{len(looks):,} images, {opened:,} of them new"
    looked += f" ({opened / seconds:,.0f} img/s)" if opened else ""
    if conclude(paths, findings, rows, looked):
        return 1
    captions = {name: tables[name].column(competition.caption) for name in splits if competition.caption}
    write_tables(paths, competition, splits, looks, y, captions)
    print(f"ready: make submit COMP={args.comp}")
    return 0

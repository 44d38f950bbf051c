"""The tables of a competition as `make import` and `make check` read them: one for each split, headers matched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tandem.artifacts.paths import LABELLED
from tandem.config.competition import Competition
from tandem.data.csv_reader import Table, read_table
from tandem.data.long_labels import one_row_an_id

WORDS = {  # what the cells of a split column may say
    "train": ("train", "training", "restval"),
    "valid": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLIT_OF = {word: split for split, words in WORDS.items() for word in words}


@dataclass(frozen=True)
class SplitTable:
    """The rows of one split."""

    table: Table
    files: Sequence[str]  # (n,) the file of each row, as it is shown in messages

    @property
    def name(self) -> str:
        """Of the file, or of all files together."""
        return " + ".join(dict.fromkeys(self.files))

    def replaced(self, table: Table) -> "SplitTable":
        """With the rows of a table that was made from this one; where they come from is known for one file only."""
        return self if table is self.table else SplitTable(table, [self.name] * max(1, len(table.rows)))


def read_one(file: Path, encoding: str | None = None, columns: Sequence[str] | None = None) -> Table:
    """One table file, with the encoding and the names of columns that `competition.toml` gives."""
    return with_plain_names(read_table(file, encoding, columns))


def names_of_test(columns: Sequence[str] | None, labels: Sequence[str]) -> list[str] | None:
    """The names of the columns of a test table without a header line: those of the training table but labels."""
    return None if columns is None else [name for name in columns if name not in labels]


def with_plain_names(table: Table) -> Table:
    """Without outer spaces in the names of columns, where they stay different."""
    plain = tuple(name.strip() for name in table.columns)
    return replace(table, columns=plain) if len(set(plain)) == len(plain) and all(plain) else table


def matched(table: Table, columns: Sequence[str]) -> tuple[Table, dict[str, str]]:
    """(the table with names as in `columns`, {own name: that name} where they differed in case or spaces only)."""
    spelling = {name.strip().casefold(): name for name in columns}
    other = {name: spelling[name.strip().casefold()] for name in table.columns if name.strip().casefold() in spelling}
    other = {own: name for own, name in other.items() if own != name and name not in table.columns}
    if len(set(other.values())) < len(other) or len(spelling) < len(columns):
        return table, {}
    return replace(table, columns=tuple(other.get(name, name) for name in table.columns)), other


def rows_of(table: Table, rows: Sequence[int]) -> Table:
    """Some rows of a table."""
    lines = [table.lines[i] for i in rows]
    repaired = {line: text for line, text in table.repaired.items() if line in set(lines)}
    return Table(table.columns, [table.rows[i] for i in rows], lines, repaired)


def split_word(cell: str) -> str | None:
    """train, valid or test, where a cell of a split column says so.

    >>> split_word("Validation "), split_word("holdout")
    ('valid', None)
    """
    return SPLIT_OF.get(cell.strip().casefold())


def rows_in_split(table: Table, column: str, split: str, valid: str | None) -> Table:
    """The rows that a split column assigns to train or test; `valid`: "out" leaves the valid rows out of train."""
    wanted = {split} | ({"valid"} if split == "train" and valid != "out" else set())
    return rows_of(table, [i for i, cell in enumerate(table.column(column)) if split_word(cell) in wanted])


def joined_tables(tables: Sequence[Table]) -> Table:
    """The rows of all, with the columns of the first; "" where another table lacks a column."""
    first, *others = tables
    rows, lines, repaired = list(first.rows), list(first.lines), dict(first.repaired)
    for table in others:
        columns = [table.column(name) if name in table.columns else [""] * len(table.rows) for name in first.columns]
        rows += list(zip(*columns, strict=True))
        lines += table.lines
        repaired |= table.repaired
    return Table(first.columns, rows, lines, repaired)


def read_splits(competition: Competition, folder: Path) -> dict[str, SplitTable]:
    """{split: rows}; raises FileNotFoundError where a file does not exist, ValueError where one can't be read."""
    read: dict[str, Table] = {}
    splits: dict[str, SplitTable] = {}
    for split in competition.splits:
        for name in competition.table_files(split):
            if not (folder / name).exists():
                raise FileNotFoundError(
                    f"{folder / name} does not exist; add it, or correct {split} in competition.toml"
                )
            if name not in read:
                columns = competition.columns
                if split not in LABELLED:
                    columns = names_of_test(columns, competition.labels.table_columns)
                read[name] = read_one(folder / name, competition.encoding, columns)
        splits[split] = _split(competition, split, folder, read, splits)
    return splits


def read_test(competition: Competition, folder: Path) -> Table:
    """The test rows alone; raises ValueError where there are none."""
    if not competition.has_test:
        raise ValueError(f"{folder} has no test rows to submit; add test.csv, or label images with make predict")
    columns = competition.columns
    if competition.test:
        columns = names_of_test(columns, competition.labels.table_columns)
    tables = [read_one(folder / name, competition.encoding, columns) for name in competition.table_files("test")]
    if not competition.test and competition.split:
        tables = [rows_in_split(table, competition.split, "test", None) for table in tables]
    table = matched(joined_tables(tables), [competition.id])[0]
    long = competition.labels.format == "long" and competition.id in table.columns
    return one_row_an_id(table, competition.id, competition.labels) if long else table


def _split(
    competition: Competition, split: str, folder: Path, read: Mapping[str, Table], before: Mapping[str, SplitTable]
) -> SplitTable:
    names = competition.table_files(split)
    header = before["train"].table.columns if before else read[names[0]].columns
    tables = [matched(read[name], header)[0] for name in names]
    column = competition.split
    if column and (split == "train" or (split == "test" and not competition.test)):
        tables = [rows_in_split(t, column, split, competition.valid) if column in t.columns else t for t in tables]
    files = [str(folder / name) for name, table in zip(names, tables, strict=True) for _ in table.rows]
    table = joined_tables(tables)
    if split not in LABELLED and competition.labels.format == "long" and competition.id in table.columns:
        table = one_row_an_id(table, competition.id, competition.labels)
        files = [" + ".join(dict.fromkeys(files))] * len(table.rows)
    return SplitTable(table, files or [str(folder / names[0])])

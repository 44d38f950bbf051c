"""Import: a zip, or a folder -> input/C/ with its files, and competition.toml, written last."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from rich.table import Table as RichTable
from rich.text import Text

from tandem.artifacts.atomic_io import write_text
from tandem.artifacts.paths import Paths, local_path
from tandem.config.competition import Competition, load_competition, to_toml
from tandem.config.trusted_code import record_untrusted
from tandem.data.archive import copy_folder, unpack_zip
from tandem.data.infer_competition import Inference, file_pattern, infer_competition
from tandem.runtime.console import make_console
from tandem.sample import NAME as SAMPLE


def add_arguments(parser: ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--zip", type=local_path, metavar="FILE", help="a zip, as Kaggle gives it")
    source.add_argument("--dir", type=local_path, metavar="DIR", help="a folder with the same files")


def check_free(paths: Paths, source: Path) -> None:
    """Raises ValueError where an import would overwrite a competition."""
    if paths.comp == SAMPLE:
        raise ValueError(f"{SAMPLE!r} is the competition that comes with Tandem; give yours a name: COMP=<name>")
    if paths.competition.exists():
        raise ValueError(f"{paths.competition} exists already; choose another COMP, or remove {paths.input} first")
    if paths.input.exists() and source.resolve() != paths.input.resolve() and any(paths.input.iterdir()):
        raise ValueError(
            f"{paths.input} holds files already, but no competition.toml; to go on with these, run: "
            f"make import DIR={paths.input} COMP={paths.comp}; else remove the folder"
        )


def summary(found: Inference) -> RichTable:
    """The inferred keys, for the user to verify, and what they were inferred from."""
    c, table = found.competition, RichTable(show_header=False, min_width=60)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for split in ("train", "test"):
        if split in found.tables:
            table.add_row(split, Text(f"{getattr(c, split)}: {_rows(found, split)}"))
    for role in ("sample_submission", "solution"):
        if role in found.roles:
            table.add_row(role.replace("_", " "), Text(found.roles[role]))
    table.add_row("id", Text(c.id))
    table.add_row("images", Text(file_pattern((c.images, c.suffix), c.id)))
    table.add_row("caption", Text(c.caption or "none: images only"))
    table.add_row("labels", Text(_labels(c)))
    table.add_row("name:rows", Text("   ".join(f"{name}:{n}" for name, n in list(found.counts.items())[:100])))
    table.add_row("metric", Text(f"{c.metric}, unless you edit it"))
    table.add_row("experiments", Text(" ".join(c.experiments)))
    for note in found.notes:
        table.add_row("note", Text(note))
    return table


def _rows(found: Inference, split: str) -> str:
    table = found.tables[split]
    rows = f"{len(table.rows):,} rows"
    if not table.repaired:
        return rows
    return f"{rows}, {len(table.repaired):,} of them repaired (first on line {min(table.repaired)})"


def _labels(c: Competition) -> str:
    per_row = f"{c.least} to {c.most} a row"
    if c.labels.format == "columns":
        return f"{len(c.labels.names)} columns of 0 and 1, {per_row}"
    return f"{len(c.labels.names)} names in {c.labels.column!r}, cut at {c.labels.separator!r}, {per_row}"


def main(args: Namespace) -> None:
    paths = Paths(args.comp)
    source = args.zip or args.dir
    if source is None:
        raise ValueError(f"nothing to import; run: make import ZIP=<file.zip> COMP={args.comp} (or DIR=<folder>)")
    check_free(paths, source)
    if source.resolve() == paths.input.resolve():
        print(f"the files are already in {paths.input}")
    else:
        n = unpack_zip(source, paths.input) if args.zip else copy_folder(source, paths.input)
        # a folder is the user's own, but a competition.toml in it may name a file of somebody else's
        theirs = args.zip is not None or paths.competition.exists()
        record_untrusted(paths.input, [file.name for file in paths.input.glob("*.py") if theirs])
        print(f"{n:,} files in {paths.input}")
    if paths.competition.exists():
        load_competition(paths.competition)
        print(f"{paths.competition} came with the files and stays as it is; next: make check COMP={args.comp}")
        return
    try:
        found = infer_competition(paths.input)
    except ValueError as error:
        again = f"make import DIR={paths.input} COMP={args.comp}"
        raise ValueError(f"{error}\ncorrect this in {paths.input}, then run: {again}") from error
    write_text(paths.competition, to_toml(found.competition))
    console = make_console()
    console.print(summary(found))
    for question in found.questions:
        console.print(Text.assemble(("verify: ", "bold yellow"), question))
    if found.questions:
        print(f"the keys to edit are in {paths.competition}")
    print(f"wrote {paths.competition}; next: make check COMP={args.comp}, then make submit COMP={args.comp}")

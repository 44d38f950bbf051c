"""Clean-history: history/C/kept of all but the last rows -> nothing; the journal stays."""

from argparse import ArgumentParser, Namespace

from tandem.artifacts import journal
from tandem.artifacts.atomic_io import read_json
from tandem.artifacts.kept_files import freed_bytes, kept_files
from tandem.artifacts.paths import Paths
from tandem.config.competition import require_competition
from tandem.graph.lock import only_run
from tandem.runtime.wrong_values import Number


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--keep", type=Number("KEEP", 0, instead="10"), help="files of the last so many rows stay")


def main(args: Namespace) -> None:
    """Without KEEP it removes nothing, and says what it would free."""
    require_competition(args.comp)
    paths = Paths(args.comp)
    with only_run(paths):
        named = names_of(paths, journal.read(paths)[-int(args.keep) :] if args.keep else [])
        old = [file for file in kept_files(paths) if file.name not in named]
        freed, folder, n = freed_bytes(old), paths.kept("_").parent, len(old)
        about = (
            f"{n} file{'s' * (n != 1)} of old rows, {freed / 1e6:,.1f} MB (files still in use elsewhere take no room)"
        )
        if args.keep is None:
            print(f"{folder}: {about}; nothing was removed; run: make clean-history COMP={args.comp} KEEP=10")
            return
        for file in old:
            file.unlink()
    print(f"{folder}: removed {about}; {paths.journal} stays" if old else f"{folder}: nothing to remove")


def names_of(paths: Paths, rows: list[journal.Row]) -> set[str]:
    """The kept files of these rows."""
    records = (paths.journal_record(f"{row['name']}.{row['digest']}") for row in rows if "/" not in row["name"])
    return {name for record in records if record.is_file() for name in read_json(record)["files"].values()}

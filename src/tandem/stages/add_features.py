"""Add features: FILE (.parquet, .csv, .npy) -> input/C/features/NAME/{split.npy,split.ids.json,features.json}.

Joined by id to the rows of every split; nothing is written where an id is missing, extra or repeated, or a cell is no
finite number. A column that nearly equals a label is named. `features = ["NAME"]` in an experiment reads them.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import get_args

from tandem.artifacts.atomic_io import file_digest
from tandem.artifacts.paths import Paths, check_name, local_path
from tandem.artifacts.rows_by_id import rows_by_id
from tandem.config.competition import Competition, require_competition
from tandem.config.encoders import Joint
from tandem.data.added_features import content_digest, read_records, write_added
from tandem.data.feature_file import FeatureFile, constant_columns, join_splits, read_feature_file
from tandem.data.label_copies import copy_warnings, label_copies
from tandem.data.split_tables import read_ids, read_labels
from tandem.graph.lock import only_run
from tandem.runtime.wrong_values import require_one_of
from tandem.stages._run import checked_graph

SPLITS = ("train", "test", "unlabelled", "extra")
READS = get_args(Joint)
SHOWN = 5  # names of constant columns


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help='what experiments call them: features = ["NAME"]')
    parser.add_argument("--file", type=local_path, help="the features of all rows: .parquet, .csv, .tsv or .npy")
    for split in SPLITS:
        parser.add_argument(f"--{split}", type=local_path, help=f"those of the rows of {split} in a file of their own")
    parser.add_argument("--ids", type=local_path, help="ids of the rows of an .npy file: .txt, .csv or .json")
    parser.add_argument("--id", default="", help="the column of ids; default: that of the competition, or id")
    parser.add_argument("--reads", default="", help="what they were computed from: image, caption or both (not known)")
    parser.add_argument("--again", action="store_true", help="replace features of this name")


def main(args: Namespace) -> None:
    paths, name = Paths(args.comp), check_name("NAME", args.name)
    if args.reads:
        require_one_of("READS", args.reads, READS)
    require_competition(args.comp)
    with only_run(paths):
        competition = checked_graph(paths).competition
        splits = {split: read_ids(paths.images(split)) for split in competition.splits}
        files = read_files(args, competition)
        reads = reads_of(args.reads, competition)
        values = join_splits(files, splits)
        columns = list(files["train"].columns)
        about = {
            "reads": reads,
            "width": len(columns),
            "columns": columns,
            "rows": {split: len(ids) for split, ids in splits.items()},
            "digest": content_digest(splits, values, reads),
            "files": {str(file): file_digest(file) for file in dict.fromkeys(one.path for one in files.values())},
        }
        before = read_records(paths).get(name)
        if before and before["digest"] == about["digest"]:
            print(f"{paths.added_features(name)}: these features are there already")
            return
        if before and not args.again:
            raise ValueError(
                f"{paths.added_features(name)} holds other features ({before['width']} columns, from "
                f"{', '.join(before['files'])}); AGAIN=1 replaces them, or choose another NAME"
            )
        write_added(paths, name, splits, values, about)
    if constant := constant_columns(values["train"], columns):
        more = ", ..." if len(constant) > SHOWN else ""
        print(
            f"warning: {len(constant):,} of {len(columns):,} columns are the same in every training row: "
            f"{', '.join(constant[:SHOWN])}{more}"
        )
    train, names, y, known = read_labels(paths.labels)
    in_order = rows_by_id(values["train"], splits["train"], train, "feature")
    for line in copy_warnings(label_copies(in_order, columns, y, names, known), SHOWN):
        print(line)
    rows = " + ".join(f"{len(ids):,} {split}" for split, ids in splits.items())
    print(f"{paths.added_features(name)}: {len(columns):,} features of {rows} rows, of {_of(reads)}")
    print(f'use them in configs/<experiment>.toml: features = ["{name}"]')


def _of(reads: Joint) -> str:
    return reads if reads != "both" else "image and caption together (READS=image or caption, if of one alone)"


def read_files(args: Namespace, competition: Competition) -> dict[str, FeatureFile]:
    """The file of each split that there is; the same one for all splits that have none of their own."""
    given: dict[str, Path] = {split: file for split in SPLITS if (file := getattr(args, split))}
    if absent := [split for split in given if split not in competition.splits]:
        raise ValueError(f"{absent[0].upper()}={given[absent[0]]}: the competition has no rows of {absent[0]}")
    if not (given or args.file):
        raise ValueError("FILE= is missing: .parquet, .csv or .npy with features and ids; or TRAIN= and TEST=")
    if args.ids and len(given) + bool(args.file) > 1:
        raise ValueError(f"IDS={args.ids}: with several files, put the ids beside each: NAME.ids.txt beside NAME.npy")
    wanted = {split: given.get(split, args.file) for split in competition.splits if split in given or args.file}
    columns = [args.id] if args.id else list(dict.fromkeys([competition.id, "id", competition.image_column]))
    read = {file: read_feature_file(file, columns, args.ids) for file in dict.fromkeys(wanted.values())}
    return {split: read[file] for split, file in wanted.items()}


def reads_of(given: str, competition: Competition) -> Joint:
    """What they were computed from: as given, else the one that the competition has, else both."""
    has = competition.reads
    if given and given != "both" and given not in has:
        raise ValueError(f"READS={given}: the competition has no {given}s; expected {' or '.join(sorted(has))}")
    found = given or (next(iter(has)) if len(has) == 1 else "both")
    if found == "both" and len(has) == 1:
        raise ValueError(f"READS=both: the competition has only {next(iter(has))}s")
    return found  # type: ignore[return-value]

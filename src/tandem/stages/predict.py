"""Predict: a folder of images, models/C/*, oof/C/*/thresholds.json -> labels and probabilities (CSV, JSON lines).

What the output holds already is not labelled again, so a killed run goes on. Exit status 3: some files could not be
read; they are in the output too.
"""

import sys
from collections.abc import Sequence

from tandem.artifacts.paths import Paths, local_path
from tandem.config.competition import load_competition
from tandem.inference.image_folder import list_images, read_image_captions
from tandem.inference.labeler import Labeler
from tandem.inference.results import (
    TEXT,
    LabelledImage,
    csv_line,
    escaped_name,
    format_line,
    header,
    label_separator,
    read_finished,
)
from tandem.runtime.progress import progress

SHOWN = 10  # unreadable files


def add_arguments(parser) -> None:
    parser.add_argument("--images", required=True, type=local_path, help="folder of images")
    parser.add_argument(
        "--captions", type=local_path, help="CSV: a column of images, one of captions; some may be missing"
    )
    parser.add_argument("--out", required=True, help="FILE.csv, FILE.jsonl, or - for standard output")
    parser.add_argument(
        "--bundle", type=local_path, help="FILE.zip of `make bundle`, or the folder: instead of --comp"
    )
    parser.add_argument("--exp", default="stack", help="the experiment whose models are used")
    parser.add_argument("--folds", type=int, default=0, help="only so many of its models: faster; 0: all")


def main(args) -> int:
    out = None if args.out == "-" else local_path(args.out)
    if out and out.suffix not in (".csv", ".jsonl"):
        raise ValueError(f"--out {out}: expected a name ending in .csv or .jsonl, or -")
    images = list_images(args.images)
    captions = read_image_captions(args.captions, images) if args.captions else [""] * len(images)
    if not (args.bundle or args.comp):
        raise ValueError("name what is to label: --comp a trained competition, or --bundle a packed one")
    labeler = Labeler.load(args.bundle) if args.bundle else Labeler.of(Paths(args.comp), args.exp, args.folds)
    separator = label_separator(load_competition(labeler.paths.competition).labels)
    known = read_finished(out, labeler.names) if out else {}
    left = [i for i, image in enumerate(images) if escaped_name(image) not in known]
    unread = sum(bool(known.get(escaped_name(image))) for image in images)
    if known:
        print(f"{len(images) - len(left):,} of {len(images):,} are in {out} already", file=sys.stderr)
    if unread:
        print(f"{unread:,} of these could not be read; delete their rows to try again", file=sys.stderr)
    json_lines = bool(out) and out.suffix == ".jsonl"
    problems, blind = [], 0
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
    else:
        sys.stdout.reconfigure(**TEXT)
    stream = out.open("a", **TEXT) if out else sys.stdout
    try:
        if not json_lines and not (out and out.stat().st_size):
            stream.write(csv_line(header(labeler.names)))
        found = labeler.label([args.images / images[i] for i in left], [captions[i] for i in left])
        with progress(len(left), "label", "img") as bar:
            for i, one in zip(left, found, strict=True):
                one = one.renamed(images[i])
                stream.write(format_line(one, labeler.names, separator, json_lines))
                problems += [one] if one.problem else []
                blind += one.without_caption
                bar.update()
    finally:
        stream.flush()
        if out:
            stream.close()
    if blind and labeler.blind is not labeler.panel:  # else no caption was wanted
        print(f"{blind:,} of {len(left):,} from the photo alone, by {labeler.blind.title}", file=sys.stderr)
    if problems:
        _list(problems, args.out)
    return 3 if problems or unread else 0


def _list(problems: Sequence[LabelledImage], out: str) -> None:
    print(f"{len(problems):,} files could not be read:", file=sys.stderr)
    for one in problems[:SHOWN]:
        print(f"  {one.image!r}: {one.problem}", file=sys.stderr)
    if len(problems) > SHOWN:
        print(f"  ... and {len(problems) - SHOWN:,} more: column problem of {out}", file=sys.stderr)

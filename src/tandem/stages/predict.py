"""Predict: images or captions, models/C/*, oof/C/*/thresholds.json -> labels and probabilities (CSV, JSON lines).

Images that are in the output already are not labelled again, so a killed run continues; rows by other models or from
other captions are refused (AGAIN=1 starts the file anew). Exit status 3: some files could not be read; they are in the
output too.
"""

import io
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from tandem.artifacts.atomic_io import csv_text
from tandem.artifacts.paths import local_path
from tandem.config.competition import Competition, load_competition
from tandem.graph.keys import STACK
from tandem.inference.image_folder import list_images, read_image_captions, read_rows
from tandem.inference.labeler import Labeler
from tandem.inference.output_record import check_captions, check_record, start_anew, write_record
from tandem.inference.results import (
    TEXT,
    LabelledImage,
    escaped_name,
    format_line,
    header,
    label_separator,
    read_finished,
)
from tandem.runtime.progress import progress
from tandem.runtime.wrong_values import Number, WrongValue, unknown
from tandem.stages._labeler import open_labeler

SHOWN = 10  # unreadable files


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--images", type=local_path, help="folder of images")
    parser.add_argument(
        "--captions", type=local_path, help="table: a column of images, one of captions; some may be missing"
    )
    parser.add_argument("--out", default="", help="FILE.csv, FILE.jsonl, or - for standard output")
    parser.add_argument(
        "--bundle", type=local_path, help="FILE.zip of `make bundle`, or the folder: instead of a competition"
    )
    parser.add_argument("--trust", default="", help="the digest of a bundle's own Python code, which is run then")
    parser.add_argument("--again", action="store_true", help="replace OUT instead of continuing it")
    parser.add_argument("--exp", default=STACK, help="the experiment whose models are used")
    parser.add_argument("--fast", action="store_true", help="one small model, trained first where it is stale")
    parser.add_argument("--decoder", default="", help="how labels are chosen, such as shrunk; default: the one in use")
    parser.add_argument(
        "--folds", type=Number("FOLDS", 0), default=0, help="number of its fold models, fewer are faster; 0: all"
    )


def main(args: Namespace) -> int:
    check_paths(args)
    out = None if args.out == "-" else local_path(args.out)
    labeler = open_labeler(args)
    if labeler.note:
        print(labeler.note, file=sys.stderr)
    competition = load_competition(labeler.paths.competition)
    images, captions = read_new_rows(args, competition)
    done = continue_output(out, labeler, images, captions, getattr(args, "again", False)) if out else {}
    left = [i for i, image in enumerate(images) if escaped_name(image) not in done]
    unread = sum(bool(done.get(escaped_name(image))) for image in images)
    if done:
        print(f"{len(images) - len(left):,} of {len(images):,} are in {out} already", file=sys.stderr)
    if unread:
        print(f"{unread:,} of these could not be read; delete their rows to try again", file=sys.stderr)
    separator = label_separator(competition.labels)
    json_lines = out is not None and out.suffix == ".jsonl"
    problems, without_caption, training = [], 0, list[LabelledImage]()
    with open_output(out) as stream:
        if not json_lines and not (out and out.stat().st_size):
            stream.write(csv_text(header(labeler.names)))
        files = [images[i] if labeler.text_only else args.images / images[i] for i in left]
        results = labeler.label(files, [captions[i] for i in left])
        with progress(len(left), "label", "img") as bar:
            for i, result in zip(left, results, strict=True):
                result = replace(result, image=images[i])
                stream.write(format_line(result, labeler.names, separator, json_lines))
                problems += [result] if result.problem else []
                training += [result] if result.training else []
                without_caption += result.without_caption
                bar.update()
    if without_caption and labeler.no_caption and labeler.no_caption is not labeler.predictor:
        by = f"from the image alone, by {labeler.no_caption.title}"
        print(f"{without_caption:,} of {len(left):,} {by}", file=sys.stderr)
    if training:
        print_training(training, len(left))
    if problems:
        print_problems(problems, args.out)
    if out:
        failed = len(problems) + sum(map(bool, done.values()))
        what = "rows" if labeler.text_only else "images"
        print(f"{out}: {len(done) + len(left):,} {what}{f', {failed:,} unreadable' if failed else ''}")
    return 3 if problems or unread else 0


def continue_output(
    out: Path, labeler: Labeler, images: Sequence[str], captions: Sequence[str], again: bool
) -> dict[str, str]:
    """{image: problem or ""} of what is in `out` already, whose record is written or checked; raises ValueError where
    other models made it, or from other captions."""
    if again:
        start_anew(out)
    check_record(out, labeler.made_by)
    texts = dict(zip(map(escaped_name, images), captions, strict=True))
    done = read_finished(out, labeler.names)
    check_captions(out, texts, done)
    write_record(out, labeler.made_by, texts)
    return done


def check_paths(args: Namespace) -> None:
    """Raises WrongValue where nothing to read, or no file to write, is named; before models are loaded."""
    if not args.images and not args.captions:
        changed = {"IMAGES": "photos", "OUT": args.out or "labels.csv"}
        raise WrongValue("predict needs IMAGES=, a folder of images, or CAPTIONS=, a table", changed)
    if args.images and not args.images.is_dir():
        folders = sorted(str(folder) for folder in args.images.parent.glob("*/") if folder.name[0] not in "._")
        raise unknown("IMAGES", str(args.images), "expected a folder of images; folders beside it", folders)
    if args.captions and not args.captions.is_file():
        tables = sorted(str(file) for end in ("csv", "tsv") for file in args.captions.parent.glob(f"*.{end}"))
        raise unknown("CAPTIONS", str(args.captions), "expected a table of captions; tables beside it", tables)
    if args.out != "-" and local_path(args.out).suffix not in (".csv", ".jsonl"):
        came = f"OUT={args.out}: expected" if args.out else "predict needs OUT=,"
        name = str(Path(args.out).with_suffix(".csv")) if Path(args.out).name else "labels.csv"
        raise WrongValue(f"{came} a name ending in .csv or .jsonl, or - for standard output", {"OUT": name})
    if args.out != "-" and (out := local_path(args.out)).exists() and not out.is_file():
        raise ValueError(f"OUT={args.out} is a folder, a named pipe or a device; expected a file, or a new name")


def read_new_rows(args: Namespace, competition: Competition) -> tuple[list[str], list[str]]:
    """(names, captions) of the images, or of the rows of a table of captions where the competition has no images."""
    if competition.images is None:
        if args.images or not args.captions:
            run = "run: make predict CAPTIONS=file.csv OUT=file.csv"
            raise ValueError(f"{args.bundle or args.comp} was trained on captions alone; {run}")
        return read_rows(args.captions, competition)
    if not args.images:
        raise ValueError("there is no folder of images; run: make predict IMAGES=folder OUT=file.csv")
    images, note = list_images(args.images)
    if note:
        print(note, file=sys.stderr)
    if not args.captions:
        return images, [""] * len(images)
    return images, read_image_captions(args.captions, images, competition.caption_columns)


def open_output(out: Path | None) -> AbstractContextManager[TextIO]:
    """The file, opened for appending, or standard output."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        return out.open("a", **TEXT)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(**TEXT)
    return nullcontext(sys.stdout)


def print_training(found: Sequence[LabelledImage], labelled: int) -> None:
    """Which of the images that were labelled now are training photos, and what labelled these."""
    unseen = sum(one.training is not None and one.training.fold is not None for one in found)
    print(f"{len(found):,} of {labelled:,} are training photos:", file=sys.stderr)
    if unseen:
        print(f"  {unseen:,} labelled by the models of the fold that was not trained on them", file=sys.stderr)
    if rest := len(found) - unseen:
        print(f"  {rest:,} by models that were trained on them: these labels look too good", file=sys.stderr)
    for one in found[:SHOWN]:
        print(f"  {one.image!r}: {one.training.note if one.training else ''}", file=sys.stderr)
    if len(found) > SHOWN:
        print(f"  ... and {len(found) - SHOWN:,} more; OUT=file.jsonl names each", file=sys.stderr)


def print_problems(problems: Sequence[LabelledImage], out: str) -> None:
    print(f"{len(problems):,} files could not be read:", file=sys.stderr)
    for one in problems[:SHOWN]:
        print(f"  {one.image!r}: {one.problem}", file=sys.stderr)
    if len(problems) > SHOWN:
        print(f"  ... and {len(problems) - SHOWN:,} more: column problem of {out}", file=sys.stderr)

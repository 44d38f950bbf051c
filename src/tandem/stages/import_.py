"""Import: a zip, or a folder -> input/C/ with its files, and competition.toml, written last.

What is certain is written; the rest is asked in a terminal, else left as open questions in competition.toml.
"""

import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from tandem.artifacts.paths import Paths, local_path
from tandem.config.competition import load_competition, required_keys
from tandem.config.import_record import assumed_metric
from tandem.config.labels import Labels
from tandem.config.questions import OPEN, Question, answer_of, as_list, flat, nested, one_line, parse_answers, written
from tandem.config.toml_files import parse_toml
from tandem.config.trusted_code import record_untrusted
from tandem.data.archive import copy_folder, unpack_archive
from tandem.data.caption_words import without_spaces
from tandem.data.complete_competition import complete
from tandem.data.infer_competition import Inference
from tandem.runtime.console import make_console
from tandem.runtime.wrong_values import WrongValue, listed, nearest_first, unknown
from tandem.sample import NAME as SAMPLE

ANSWERS = {"labels": "labels.column", "id": "id", "image": "image", "caption": "caption", "metric": "metric"}
SHOWN = 12  # unused columns, files and folders


def add_arguments(parser: ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--zip", type=local_path, metavar="FILE", help="a zip, as Kaggle gives it, or tar.gz")
    source.add_argument("--dir", type=local_path, metavar="DIR", help="a folder with the same files")
    parser.add_argument("--labels", help="the column of labels, or the columns of flags with commas between them")
    parser.add_argument("--id", help="the column that names a row, also in the submission")
    parser.add_argument("--image", help="the column that names the image file")
    parser.add_argument("--caption", help="the column of captions, or columns with commas between them")
    parser.add_argument("--metric", help="the metric of the competition")
    parser.add_argument("--set", help='other keys of competition.toml, such as "labels.separator=| folds.n=3"')


def read_answers(args: Namespace) -> dict[str, Any]:
    """{key of competition.toml: value} of what was given on the command line."""
    answers = {key: getattr(args, name) for name, key in ANSWERS.items() if getattr(args, name) is not None}
    for key, several in (("labels.column", "labels.names"), ("caption", "caption")):
        if "," in answers.get(key, ""):
            answers[several] = [column.strip() for column in answers.pop(key).split(",")]
    return answers | (parse_answers(args.set) if args.set else {})


def fetch(paths: Paths, args: Namespace) -> None:
    """Unpacks or copies the files; those that are there already stay."""
    source = args.zip or args.dir
    if paths.comp == SAMPLE:
        name = re.sub("[^a-z0-9]+", "_", source.stem.lower()).strip("_") if source else ""
        changed = {"COMP": name if name not in ("", SAMPLE) else "mine"} | ({} if source else {"ZIP": "mine.zip"})
        raise WrongValue(f"{SAMPLE!r} is the competition that comes with Tandem; give yours a name", changed)
    there, was_there = paths.input.is_dir() and any(paths.input.iterdir()), paths.competition.exists()
    own = python_files(paths.input)
    if source is None and not there:
        zips = [str(file) for file in sorted(Path().glob("*.zip"))]
        here = f"zip files here, {listed(nearest_first(paths.comp, zips))}"
        zip_file = nearest_first(paths.comp, zips)[0] if zips else f"{paths.comp}.zip"
        message = f"nothing to import: expected ZIP= with a file, or DIR= with a folder; {here}"
        raise WrongValue(message, {"ZIP": zip_file})
    if args.zip and not args.zip.exists():
        zips = [str(file) for file in sorted(args.zip.parent.glob("*.zip"))]
        raise unknown("ZIP", str(args.zip), "no such file; zip files in this folder", zips)
    if args.dir and not args.dir.is_dir():
        folders = sorted(str(folder) for folder in args.dir.parent.glob("*/") if folder.name[0] != ".")
        raise unknown("DIR", str(args.dir), "no such folder; folders beside it", folders)
    if source is None or source.resolve() == paths.input.resolve():
        print(f"the files are already in {paths.input}")
    else:
        n = unpack_archive(source, paths.input) if args.zip else copy_folder(source, paths.input)
        # a folder is the user's own, but a competition.toml in it may name a file of somebody else's
        theirs = args.zip is not None or (paths.competition.exists() and not was_there)
        record_untrusted(paths.input, [name for name in python_files(paths.input) - own if theirs])
        print(f"{n:,} files in {paths.input}")


def python_files(folder: Path) -> set[str]:
    return {file.name for file in folder.glob("*.py")}


def summary(found: Inference) -> RichTable:
    """The inferred keys, for the user to verify, and what they were inferred from; "?" where a question is open."""
    values, table = found.values, RichTable(show_header=False, min_width=60)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for split in ("train", "test"):
        if split in found.tables:
            named = ", ".join(found.roles.get(split) or as_list(values.get(split) or values.get("train") or OPEN))
            table.add_row(split, Text(f"{named}: {_rows(found, split)}"))
    for role in ("sample_submission", "solution"):
        if role in found.roles:
            table.add_row(role.replace("_", " "), Text(", ".join(found.roles[role])))
    table.add_row("id", Text(str(values.get("id", OPEN))))
    if "image" in values:
        table.add_row("image", Text(values["image"]))
    table.add_row("images", Text(_images(found)))
    table.add_row("caption", Text(_captions(found)))
    table.add_row("labels", Text(_labels(found)))
    if found.counts and "labels.names" in values:
        counts = "   ".join(f"{name}:{n}" for name, n in list(found.counts.items())[:100])
        table.add_row("name:rows", Text(counts))
    table.add_row("metric", Text(str(values.get("metric", OPEN))))
    table.add_row("experiments", Text(" ".join(as_list(values.get("experiments", OPEN)))))
    for note in found.notes:
        table.add_row("note", Text(note))
    for unused in found.unused[:SHOWN]:
        table.add_row("not used", Text(unused))
    if len(found.unused) > SHOWN:
        table.add_row("not used", Text(f"and {len(found.unused) - SHOWN:,} more"))
    return table


def _rows(found: Inference, split: str) -> str:
    table = found.tables[split]
    rows = f"{len(table.rows):,} row{'s' * (len(table.rows) != 1)}"
    if not table.repaired:
        return rows
    return f"{rows}, {len(table.repaired):,} of them repaired (first on line {min(table.repaired)})"


def _images(found: Inference) -> str:
    values = found.values
    if any(question.key in ("images", "image", "image_name") for question in found.questions):
        return OPEN
    images, column = values.get("images"), values.get("image") or values.get("id", OPEN)
    name = values.get("image_name") or f"<{column}>{values.get('suffix', '')}"
    settings = images.items() if isinstance(images, dict) else [("", images)] if images else []
    places = [f"{split} {folder}/{name}".strip() for split, setting in settings for folder in as_list(setting or [])]
    return ", ".join(places) or "none: text only"


def _captions(found: Inference) -> str:
    values = found.values
    if any(question.key == "caption" for question in found.questions):
        return OPEN
    columns, files = as_list(values.get("caption") or []), as_list(values.get("captions") or [])
    if not columns:
        return "none"
    train = None if files else found.tables.get("train")  # none: the file is not read before a question is answered
    cells = [cell for name in columns for cell in train.column(name)] if train else []
    script = "; MiniLM knows English, text_tfidf reads any script" if without_spaces(cells) else ""
    return ", ".join(columns) + (f" of {', '.join(files)}" if files else "") + script


def _labels(found: Inference) -> str:
    values = found.values
    if "labels.names" not in values:
        return OPEN
    labels = Labels.model_validate(nested(values)["labels"])
    return f"{len(labels.names)} labels {labels.place}, {values['least']} to {values['most']} a row"


def show_questions(questions: Sequence[Question], console: Console, numbered: bool = False) -> None:
    for question in questions:
        console.print(Text.assemble(("question: ", "bold yellow"), f"{question.key}: {one_line(question.about)}"))
        for i, (value, example) in enumerate(question.listed, start=1):
            mark = f"{i}." if numbered else "-"
            console.print(Text(one_line(f"  {mark} {written(value)}" + (f"   {example}" if example else ""))))


def ask(questions: Sequence[Question], console: Console) -> dict[str, Any]:
    """{key: value} typed in the terminal; an empty line leaves a question open."""
    answers = {}
    for question in questions:
        show_questions([question], console, numbered=True)
        try:
            typed = input(f"{question.key} = (number or value; Enter: later) ").strip()
        except EOFError:  # Ctrl-D
            break
        if typed:
            answers[question.key] = answer_of(question, typed)
    return answers


def answer_command(comp: str, question: Question) -> str:
    """The command that answers a question with its first candidate."""
    answer = f"{question.key}={next(iter(question.candidates), 'ANSWER')}"
    return f"make import COMP={comp} SET=" + (f"'{answer}'" if '"' in answer else f'"{answer}"')


def is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def main(args: Namespace) -> None:
    paths, answers = Paths(args.comp), read_answers(args)
    was_there = paths.competition.exists()
    fetch(paths, args)
    if not was_there and paths.competition.exists() and not answers:
        values = flat(parse_toml(paths.competition))
        if OPEN not in values.values() and all(key in values for key in required_keys()):
            load_competition(paths.competition)
            print(f"{paths.competition} came with the files and stays as it is; next: make check COMP={args.comp}")
            return
    try:
        found = complete(paths, answers)
        console = make_console()
        console.print(summary(found))
        while found.questions and is_terminal() and (typed := ask(found.questions, console)):
            found = complete(paths, typed)
    except ValueError as error:
        again = f"make import COMP={args.comp}"
        raise ValueError(f"{error}\ncorrect this in {paths.input}, then run: {again}") from error
    if found.questions:
        show_questions(found.questions, console)
        print(f"to answer, edit {paths.competition}, or run: {answer_command(args.comp, found.questions[0])}")
        return
    if line := assumed_metric(paths, found.competition):
        print(line)
    then = "submit" if found.competition.has_test else "stack"
    print(f"wrote {paths.competition}; next: make check COMP={args.comp}, then make {then} COMP={args.comp}")

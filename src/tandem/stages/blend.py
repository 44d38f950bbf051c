"""Blend: submission files, sample submission or test.csv -> OUT (submissions/C/blend.csv) and the JSON beside it.

Nothing needs to be trained. The file is written only after it passed the checks of a submission.
"""

import os
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from tandem.artifacts.atomic_io import file_digest, read_json, write_csv, write_json
from tandem.artifacts.paths import Paths, local_path
from tandem.config.competition import Competition, load_competition
from tandem.data.blend import (
    METHODS,
    Method,
    SubmissionFile,
    agreement,
    blend_values,
    blended_sets,
    kind_of,
    read_submission,
    within_limits,
)
from tandem.data.submission import ExpectedRows, expected_rows, local_scores, validate_submission
from tandem.runtime.console import make_console
from tandem.runtime.wrong_values import require_one_of

ALIKE = 0.98  # F1, or rank correlation, between the files from which on a blend changes little


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--files", required=True, help='two or more submission files: "a.csv b.csv"')
    parser.add_argument("--weights", default="", help='one for each file: "2 1"; default: equal ones')
    parser.add_argument("--method", default="", help="vote (label sets), logit or rank (probabilities)")
    parser.add_argument("--out", default="", help="default: submissions/COMP/blend.csv")


def main(args: Namespace) -> None:
    paths = Paths(args.comp)
    competition = load_competition(paths.competition)
    names = list(map(local_path, shlex.split(args.files)))
    out = local_path(args.out) if args.out else paths.submission("blend")
    weights = read_weights(args.weights, len(names))
    require_new(out, names)
    expected = expected_rows(competition, paths.input)
    files = [read_submission(name, competition, expected) for name in names]
    method = chosen_method(args.method, files, competition)
    blended = blend_values(np.array([file.values for file in files]), weights, method)
    pred = within_limits(blended_sets(files, weights, method, blended), blended, competition.least, competition.most)
    rows = expected.form.rows(expected.ids, pred, blended, expected.pairs)
    draft = write_csv(out.with_suffix(".unchecked.csv"), rows, expected.form.delimiter)
    try:
        validate_submission(draft, competition, expected)
    except ValueError:
        draft.unlink()
        raise
    pairs = agreement(files)
    record = {
        "blend": [
            {"file": str(f.path), "sha256": file_digest(f.path), "weight": w}
            for f, w in zip(files, weights.tolist(), strict=True)
        ],
        "method": method,
        "agreement": pairs,
        "sha256": file_digest(draft),
        "rows": len(expected.ids),
        "written": expected.form.about,
    }
    out.with_suffix(".json").unlink(missing_ok=True)
    os.replace(draft, out)
    write_json(out.with_suffix(".json"), record)
    make_console().print(agreement_table(pairs))
    changed = (pred != files[0].sets).any(1).mean()
    print(f"the label sets differ from those of {files[0].path} in {changed:.1%} of the rows")
    if min(float(pair.get("rank_correlation", pair["f1_samples"])) for pair in pairs) >= ALIKE:
        print("the files hardly differ: their blend can gain little")
    print(
        f"{out}: {len(expected.ids):,} rows, {method} of {len(files)} files, valid against {expected.source}: "
        f"{expected.form.about}"
    )
    show_local(competition, paths, expected, pred, blended)


def read_weights(text: str, n: int) -> np.ndarray:
    """(n,) positive numbers."""
    if n < 2:
        raise ValueError(f'FILES: {n} file{"s" * (n != 1)}; expected two or more: FILES="a.csv b.csv"')
    try:
        weights = np.array([float(word) for word in text.replace(",", " ").split()]) if text else np.ones(n)
    except ValueError as error:
        raise ValueError(f'WEIGHTS="{text}": {error}; expected numbers such as "2 1"') from error
    if len(weights) != n or not np.isfinite(weights).all() or (weights <= 0).any():
        raise ValueError(f'WEIGHTS="{text}": expected {n} positive numbers, one for each file')
    return weights


def require_new(out: Path, files: Sequence[Path]) -> None:
    """Raises ValueError where the blend would replace one of its files, or the submission of an experiment."""
    if out.suffix != ".csv":
        raise ValueError(f"OUT={out}: expected a name that ends in .csv")
    if repeated := [file for file in files if files.count(file) > 1]:
        raise ValueError(f"FILES: {repeated[0]} stands there twice; give it a weight instead: WEIGHTS=")
    if out.resolve() in [file.resolve() for file in files]:
        raise ValueError(f"OUT={out} is one of the files; choose another name")
    record = out.with_suffix(".json")
    if out.exists() and not (record.exists() and "blend" in read_json(record)):
        raise ValueError(f"OUT={out} exists and is no blend; choose another name, or delete it")


def chosen_method(given: str, files: Sequence[SubmissionFile], competition: Competition) -> Method:
    """The method, which must fit what the files hold and what the metric scores."""
    kind = kind_of(files)
    methods: Mapping[str, Method] = {method: method for method in METHODS[kind]}
    method = given or METHODS[kind][0]
    require_one_of("METHOD", method, list(methods), f"the files hold {kind}; ")
    if method == "rank" and competition.metric == "log_loss":
        raise ValueError("METHOD=rank: log_loss scores probabilities, and a mean rank is none; use METHOD=logit")
    return methods[method]


def agreement_table(pairs: Sequence[Mapping[str, float | str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, title="agreement of the files")
    table.caption = "F1 and Jaccard index of the rows' label sets; the less good files agree, the more a blend can gain"
    headings = {"f1_samples": "F1", "jaccard_samples": "Jaccard", "rank_correlation": "rank correlation"}
    shown = [key for key in headings if key in pairs[0]]
    table.add_column("files", overflow="fold")
    for key in shown:
        table.add_column(headings[key], justify="right", no_wrap=True)
    for pair in pairs:
        table.add_row(f"{pair['a']}, {pair['b']}", *(f"{pair[key]:.4f}" for key in shown))
    return table


def show_local(
    competition: Competition, paths: Paths, expected: ExpectedRows, pred: np.ndarray, proba: np.ndarray
) -> None:
    """Prints the score against the solution, where there is one."""
    try:
        local = local_scores(competition, paths.input, expected, pred, proba)
    except ValueError as error:
        print(f"warning: no local leaderboard: {error}")
        return
    if local:
        print(f"local leaderboard {competition.metric} {local[competition.metric]:.4f} ({competition.solution})")

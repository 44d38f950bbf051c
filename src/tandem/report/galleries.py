"""What the page holds of each row that it shows: picture, probabilities, terms, and the command that explains it."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from PIL import Image

from tandem.data.image_io import BadImage, load_rgb
from tandem.data.image_loader import prefetch
from tandem.html import data_uri
from tandem.report.data_model import FocusExperiment, ReportData
from tandem.runtime.resources import threads

SMALL, LARGE = 112, 360  # pixels of the longer side of a thumbnail, and of a picture that the dialog shows
QUALITY = 62  # JPEG
LARGE_BYTES = 6_500_000  # of all large pictures in one page, as text; the rows after these have a thumbnail
EXPLAINED = 12  # labels of a row with terms in its dialog, at most
TEST_ROWS = 160  # shown
UNSURE = 3  # labels of a test row that are named as the least sure
SCALE = 10_000  # probabilities are whole numbers in the page

Row = dict  # what the page holds of one row: split, row, id, caption, ...


def test_gallery(data: ReportData, focus: FocusExperiment) -> list[Row]:
    """The test rows whose label sets have most wrong labels expected, by their probabilities; most first."""
    if data.test is None or focus.test_pred is None or focus.test_proba is None:
        return []
    wrong = np.where(focus.test_pred, 1 - focus.test_proba, focus.test_proba)  # (m, c) probability of an error
    rows = []
    for i in np.argsort(-wrong.sum(1), kind="stable")[:TEST_ROWS].tolist():
        unsure = np.argsort(-wrong[i], kind="stable")[:UNSURE].tolist()
        kinds = {j: "taken" if focus.test_pred[i, j] else "left_out" for j in unsure}
        cells = [{"label": j, "kind": kind, "p": round(float(focus.test_proba[i, j]), 4)} for j, kind in kinds.items()]
        about = {"split": "test", "row": i, "id": data.test.ids[i]}
        about["caption"] = data.test.captions[i] if data.test.captions else None
        sure = {"score": round(float(wrong[i].sum()), 3), "pred": np.flatnonzero(focus.test_pred[i]).tolist()}
        rows.append(about | sure | {"wrong": cells})
    return rows


def add_details(data: ReportData, focus: FocusExperiment, rows: Iterable[Row]) -> None:
    """Adds to each row `proba` (c,) in 1/10,000, `terms` of its most interesting labels, the `command` that explains
    it, and of its explanation, if any, the `page` and the `heat` maps."""
    by_split = {"train": (focus.proba, focus.terms, focus.pred)}
    if focus.test_proba is not None and focus.test_pred is not None:
        by_split["test"] = (focus.test_proba, focus.test_terms, focus.test_pred)
    for row in rows:
        proba, terms, pred = (None if part is None else part[row["row"]] for part in by_split[row["split"]])
        assert proba is not None and pred is not None
        row["proba"] = np.rint(proba * SCALE).astype(int).tolist()
        row.setdefault("pred", np.flatnonzero(pred).tolist())
        if terms is not None:
            first = [*row.get("true", ()), *row["pred"], *np.argsort(-proba, kind="stable")[:EXPLAINED].tolist()]
            labels = list(dict.fromkeys(first))[:EXPLAINED]
            row["terms"] = {j: np.round(terms[j].astype(float), 2).tolist() for j in labels}
        row["command"] = explain_command(data.comp, row["id"], focus.name) if data.explainable else None
        row["page"] = data.explained.get(row["id"])
        heat = data.heat.get(row["id"], {})
        row["heat"] = {j: heat[name] for j, name in enumerate(data.names) if name in heat}


def explain_command(comp: str, image: str, experiment: str) -> str:
    """An id with characters that a shell or make would read as its own is quoted, for the command without make.

    >>> explain_command("sample", "s1.jpg", "stack"), explain_command("sample", "$(x) y", "stack")
    ('make explain COMP=sample ID=s1.jpg EXP=stack', ".venv/bin/tandem explain sample --id='$(x) y' --exp stack")
    """
    if re.fullmatch(r"[\w./-]+", image, re.ASCII):
        return f"make explain COMP={comp} ID={image} EXP={experiment}"
    return f".venv/bin/tandem explain {comp} --id={shlex.quote(image)} --exp {experiment}"


def pictures(files: Mapping[str, Sequence[Path]], galleries: Sequence[Sequence[Row]]) -> dict[str, dict[int, str]]:
    """The data URI of each row's image by split and row, "" for a file that cannot be read: large ones, the first of
    each gallery first, until LARGE_BYTES are used, then thumbnails."""
    turns = filter(None, chain.from_iterable(zip_longest(*galleries)))
    wanted = list(dict.fromkeys((row["split"], row["row"]) for row in turns))
    made = prefetch(_both_sizes, [files[split][i] for split, i in wanted], threads(), depth=4 * threads())
    found: dict[str, dict[int, str]] = {split: {} for split in files}
    left = LARGE_BYTES
    for (split, i), (large, small) in zip(wanted, made, strict=True):
        found[split][i] = large if len(large) <= left else small
        left -= len(large) if len(large) <= left else 0
    return found


def _both_sizes(file: Path) -> tuple[str, str]:
    try:
        image = load_rgb(file)
    except BadImage:
        return "", ""
    return _jpeg(image, LARGE), _jpeg(image, SMALL)


def _jpeg(image: Image.Image, side: int) -> str:
    smaller = image.copy()
    smaller.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return data_uri(smaller, "JPEG", quality=QUALITY, optimize=True)

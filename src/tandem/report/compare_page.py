"""The comparison of two predictions: on the training rows, on the test rows, and as a page with photos."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from markupsafe import Markup

from tandem.data.blend import SubmissionFile, read_submission
from tandem.data.labelled_rows import read_labelled_rows
from tandem.data.submission import expected_rows, read_solution
from tandem.decoding import Rule
from tandem.graph.experiment_dir import Experiments
from tandem.html import templates
from tandem.report.collect import read_split
from tandem.report.data_model import Decoded, Split
from tandem.report.galleries import pictures
from tandem.report.page import count, number, signed
from tandem.report.pair import Answers, Pair, compare_pair
from tandem.report.sides import Side, read_side

PHOTOS = 60  # rows of a part that the page shows


@dataclass(frozen=True)
class Part:
    """The comparison on the rows of one split."""

    title: str
    split: str  # train or test
    pair: Pair
    sets: tuple[np.ndarray, np.ndarray]  # (n, c) bool of A and B
    y: np.ndarray | None
    rows: Split | None  # with the photos; None where the rows were not checked


@dataclass(frozen=True)
class Comparison:
    """B against A."""

    comp: str
    a: Side
    b: Side
    rule: Rule
    names: tuple[str, ...]
    parts: list[Part]

    @property
    def lines(self) -> list[str]:
        """What the terminal shows."""
        return [line for part in self.parts for line in about(part, self.rule)]


def read_comparison(experiments: Experiments, a: Side, b: Side) -> Comparison:
    """Raises ValueError where the two have neither out-of-fold predictions nor submissions both."""
    parts, competition, paths = [], experiments.competition, experiments.paths
    rule, names = Rule.of(competition, paths.input), tuple(competition.labels.names)
    if a.oof and b.oof:
        parts.append(_out_of_fold(experiments, rule, a, b))
    if competition.has_test and a.submission and b.submission:
        parts.append(_on_test_rows(experiments, rule, a, b))
    if not parts:
        lacks = "; ".join(f"{one.title} has {_what(one)}" for one in (a, b))
        raise ValueError(
            f"nothing to compare: {lacks}; expected both with out-of-fold predictions, or both with a submission: "
            f"make submit COMP={paths.comp} writes both"
        )
    return Comparison(paths.comp, a, b, rule, names, parts)


def _what(side: Side) -> str:
    there = {"out-of-fold predictions": side.oof, "a submission": side.submission}
    return " and ".join(what for what, file in there.items() if file) or "no files any more"


def _out_of_fold(experiments: Experiments, rule: Rule, a: Side, b: Side) -> Part:
    rows = read_labelled_rows(experiments.paths)
    first, second = (read_side(side, experiments, rows, rule) for side in (a, b))
    pair = compare_pair(rule, rows.names, first, second, Answers(rows.y, rows.group, rows.known))
    split = read_split(experiments.paths, "train") if experiments.paths.images("train").exists() else None
    place = {id: i for i, id in enumerate(split.ids)} if split else {}
    if split and list(split.ids) != rows.ids:  # the order of the checked rows is that of the labels
        split = None if place.keys() != set(rows.ids) else _ordered(split, [place[id] for id in rows.ids])
    return Part("training rows, out of fold", "train", pair, (first.pred, second.pred), rows.y, split)


def _on_test_rows(experiments: Experiments, rule: Rule, a: Side, b: Side) -> Part:
    paths, competition = experiments.paths, experiments.competition
    expected = expected_rows(competition, paths.input)
    both = [read_submission(side.submission, competition, expected) for side in (a, b) if side.submission]
    solution = read_solution(competition, paths.input, expected)
    answers = None if solution is None else Answers(solution[0], None, solution[1])
    first, second = (_as_decoded(one, rule) for one in both)
    pair = compare_pair(rule, tuple(competition.labels.names), first, second, answers)
    split = read_split(paths, "test") if paths.images("test").exists() else None
    if split:
        place = {id: i for i, id in enumerate(split.ids)}
        known = place.keys() >= set(expected.ids)
        split = _ordered(split, [place[id] for id in expected.ids]) if known else None
    y = None if solution is None else solution[0]
    return Part("test rows", "test", pair, (first.pred, second.pred), y, split)


def _as_decoded(file: SubmissionFile, rule: Rule) -> Decoded:
    return Decoded(file.sets, None if rule.judge.needs == "labels" else file.values)


def _ordered(split: Split, order: Sequence[int]) -> Split:
    captions = None if split.captions is None else [split.captions[i] for i in order]
    pictured = [split.files[i] for i in order] if split.files else []
    return Split([split.ids[i] for i in order], pictured, captions, split.sizes[list(order)])


def about(part: Part, rule: Rule) -> list[str]:
    """The result in words."""
    pair, lines = part.pair, []
    if pair.scores and pair.gain:
        a, b = pair.scores
        lines.append(f"{part.title}: {rule.title}: A {a:.4f}, B {b:.4f}, {pair.n:,} rows")
        low, high = pair.gain.low, pair.gain.high
        lines.append(
            f"B against A: {pair.gain.gain:+.4f}, paired 95 % interval {low:+.4f} to {high:+.4f}: B {_verdict(pair)}"
        )
    if pair.rows:
        won, lost, equal = pair.rows
        lines.append(f"rows, by {pair.rows_by}: B won {won:,}, lost {lost:,}, equal {equal:,}")
    lines.append(f"{part.title}: the label sets differ in {pair.differing:,} of {pair.n:,} rows")
    return lines


def _verdict(pair: Pair) -> str:
    assert pair.gain is not None
    verdict = pair.gain.verdict
    if pair.gain.low == pair.gain.high == 0:
        return "scores as A at every row"
    return "is " + verdict if verdict != "may be chance" else "and A may be equal: the difference may be chance"


def render(found: Comparison) -> str:
    """The page, in one file that makes no network request."""
    environment = templates("tandem.report", "assets")
    environment.filters |= {"number": number, "signed": signed, "count": count}
    css = (files("tandem.report") / "assets" / "page.css").read_text(encoding="utf-8")
    shown = [_cards(part, found.names) for part in found.parts]
    pictured = {part.split: part.rows.files for part in found.parts if part.rows and part.rows.files}
    images = pictures(pictured, [cards for cards in shown if cards and cards[0]["split"] in pictured])
    parts = [
        {"part": part, "cards": cards, "images": images.get(part.split, {}), "lines": about(part, found.rule)}
        for part, cards in zip(found.parts, shown, strict=True)
    ]
    return environment.get_template("compare.html").render(found=found, parts=parts, css=Markup(css))


def _cards(part: Part, names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that differ most: id, caption, and the labels of the answers, of A and of B."""
    if part.rows is None:
        return []
    cards = []
    for i in part.pair.order[:PHOTOS].tolist():
        sets = [[names[j] for j in np.flatnonzero(one[i]).tolist()] for one in part.sets]
        true = None if part.y is None else [names[j] for j in np.flatnonzero(part.y[i]).tolist()]
        caption = part.rows.captions[i] if part.rows.captions else ""
        card = {"split": part.split, "row": i, "id": part.rows.ids[i], "caption": caption}
        cards.append(card | {"true": true, "a": sets[0], "b": sets[1]})
    return cards

"""An explanation as tables for the terminal."""

from collections.abc import Iterator
from textwrap import wrap

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tandem.artifacts.contributions import TERMS
from tandem.artifacts.vocabulary import LIGHT, SINGLE_INPUT_NAMES, TERM_NAMES, TERMINAL
from tandem.explain.explanation import ERRORS, ExperimentPrediction, Explanation, largest_gap, printable, used_terms
from tandem.explain.page import percent, signed
from tandem.explain.words import Words, full_strength
from tandem.logits import sigmoid

RAISES, LOWERS = LIGHT["for"], LIGHT["against"]
WIDEST, NARROWEST = 30, 8  # characters of a bar
NUMBER, BESIDE = (
    6,
    4,
)  # characters of a number (-12.34), and of a bar beside its blocks: the line, and what rounding adds
NAME = 13  # characters of a line of an experiment's name above its column
STRONG = 0.3  # effect of a word, as a share of the largest, from which its background is coloured


def lines(e: Explanation, width: int) -> Iterator[RenderableType]:
    """What to print, for a terminal of `width` columns; names and captions are Text, so that rich parses no markup."""
    yield Text.assemble((printable(e.image), "bold"), f" of {e.comp}, {e.split}: {e.models}")
    for p in e.predictions:
        yield _verdict(e, p)
    if e.caption is not None:
        yield Text(printable(e.caption) or "(no caption)", "italic")
    yield _labels(e)
    for p in e.predictions:
        if p.terms is not None:
            yield _terms(e, p.experiment, p.proba, p.terms, width)
    if e.words:
        yield from _words(e, e.words)
    for what in e.missing:
        yield Text(f"not shown: {what}", "dim")


def _verdict(e: Explanation, p: ExperimentPrediction) -> Text:
    parts = [(f"{p.experiment}: ", "bold")]
    for i, (kind, words) in enumerate(e.verdict(p)):
        parts += [("; " if i else "", ""), (words, "red" if kind else "")]
    why = "" if p.decision is None else "\n  " + printable(p.decision.sentence(e.names))
    return Text.assemble(*parts, (why, "dim"))


def _mark(e: Explanation, p: ExperimentPrediction, j: int) -> str:
    """Two columns wide, so that the numbers before it stand in line."""
    return f"{e.error(p, j) or ('✓' if p.pred[j] else ''):2}"


def _labels(e: Explanation) -> Table:
    table = Table(box=SIMPLE_HEAD, title="labels", title_justify="left")
    table.add_column("label", style="bold")
    for prediction in e.predictions:
        parts = wrap(prediction.experiment.replace("_", "_ "), NAME)
        table.add_column("\n".join(part.replace("_ ", "_") for part in parts), justify="right", no_wrap=True)
    for name in e.single_input:
        table.add_column(SINGLE_INPUT_NAMES[name].replace(" ", "\n", 1), justify="right", no_wrap=True)
    if e.truth is not None:
        table.add_column("true")
    for j in e.shown:
        marks = [(_mark(e, p, j), "green" if p.pred[j] and not e.error(p, j) else "") for p in e.predictions]
        cells = [Text(f"{percent(p.proba[j])} {m}", style) for p, (m, style) in zip(e.predictions, marks, strict=True)]
        cells += [Text(percent(float(sigmoid(logits[j]))), "dim") for logits in e.single_input.values()]
        if e.truth is not None:
            cells.append(Text(e.true_label(j)))
        table.add_row(Text(printable(e.names[j])), *cells)
    errors = "" if e.truth is None else f"; {', '.join(f'{key} {what}' for key, what in ERRORS.items())}"
    table.caption, table.caption_justify = f"✓ predicted label{errors}", "left"
    return table


def _terms(e: Explanation, experiment: str, proba: np.ndarray, all_terms: np.ndarray, width: int) -> Table:
    terms, used = all_terms[list(e.shown)], used_terms(all_terms)
    longest = max(len(printable(e.names[j])) for j in e.shown)
    titles = [TERM_NAMES[TERMS[i]].replace(" ", "\n", 1) for i in used]
    widths = [max(NUMBER, *map(len, title.split("\n"))) for title in [*titles, "= logit"]]
    room, gap = 0, 0  # blocks of a bar, spaces after a column beside the one that is always there
    for gap in (1, 0):
        room = min(WIDEST, width - 1 - longest - sum(widths) - (gap + 1) * (len(widths) + 2) - BESIDE)
        if room >= NARROWEST:
            break
    title = f"{experiment}: terms of each logit"
    table = Table(box=SIMPLE_HEAD, padding=(0, gap, 0, 0), title=title, title_justify="left")
    table.add_column("label", style="bold")
    for i, title in zip(used, titles, strict=True):
        table.add_column(Text(title, TERMINAL[TERMS[i]]), justify="right", no_wrap=True)
    table.add_column("= logit", justify="right", no_wrap=True)
    if room >= NARROWEST:
        table.add_column("", no_wrap=True)
    low, high = np.minimum(terms, 0).sum(1).min(), np.maximum(terms, 0).sum(1).max()
    for j, row in zip(e.shown, terms, strict=True):
        numbers = [signed(row[i]) for i in used]
        bars = [bar(row, float(low), float(high), room)] if room >= NARROWEST else []
        table.add_row(Text(printable(e.names[j])), *numbers, signed(row.sum()), *bars)
    what = f"largest difference between these sums and the probabilities of {experiment}"
    table.caption, table.caption_justify = f"{what}: {largest_gap(proba, all_terms):.0e}", "left"
    return table


def bar(terms: np.ndarray, low: float, high: float, width: int) -> Text:
    """Terms (6,) end to end from zero: positive ones to the right of the line, negative ones to the left."""
    scale = width / max(high - low, 1e-9)
    blocks = [(round(value * scale), TERMINAL[name]) for name, value in zip(TERMS, terms, strict=True)]
    text = Text(" " * max(0, round(-low * scale) + sum(min(n, 0) for n, _ in blocks)))
    for n, colour in reversed(blocks):
        text.append("▇" * -n, colour)  # n > 0 appends nothing
    text.append("│")
    for n, colour in blocks:
        text.append("▇" * n, colour)
    return text


def _words(e: Explanation, words: Words) -> Iterator[RenderableType]:
    largest = full_strength(words.effects[:, list(e.shown)])
    yield Text("effect of each word: logit with the word minus logit without it", "italic")
    table = Table.grid(padding=(0, 2))
    for j in e.shown:
        text = Text()
        effects = [*words.effects[:, j].tolist(), 0.0]  # the rest has no effect
        for piece, effect in zip(words.pieces, effects, strict=False):
            share, colour = abs(effect) / largest, RAISES if effect > 0 else LOWERS
            style = f"black on {colour}" if share > STRONG else colour if share > STRONG / 4 else ""
            text.append(printable(piece.strip()), style)
            text.append(f" {signed(effect)} " if share > STRONG / 4 else " ", "dim")
        table.add_row(Text(printable(e.names[j]), "bold"), text)
    yield Padding(table, (0, 0, 1, 1))

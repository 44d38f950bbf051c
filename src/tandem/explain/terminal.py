"""An explanation in the terminal."""

from collections.abc import Iterator

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tandem.artifacts.contributions import TERMS
from tandem.explain.explanation import ALONE, SPOKEN, Account, Explanation, gap, printable
from tandem.explain.page import percent, signed
from tandem.explain.words import scale
from tandem.logits import sigmoid

# of Okabe and Ito, which all eyes tell apart
COLOURS = {
    "image": "#56b4e9",
    "caption": "#e69f00",
    "fusion": "#009e73",
    "context": "#cc79a7",
    "base": "#999999",
}
FOR, AGAINST = "#56b4e9", "#d55e00"
WIDEST, NARROWEST = 30, 8  # characters of a bar
NUMBER, REST = 10, 18  # characters of a term's column, and of all that stands beside the terms
STRONG = 0.3  # of the largest effect: a word that is shown on its colour


def lines(e: Explanation, width: int) -> Iterator[RenderableType]:
    """What to print, in order, for so many columns; Text only, so that no name or caption is read as markup."""
    yield Text.assemble((printable(e.image), "bold"), f" of {e.comp}, {e.split}: {e.models}")
    if e.caption is not None:
        yield Text(printable(e.caption) or "(no caption)", "italic")
    yield _labels(e)
    for account in e.accounts:
        if account.terms is not None:
            yield _terms(e, account, width)
    if e.words:
        yield from _words(e)
    for what in e.missing:
        yield Text(f"without {what}", "dim")


def _labels(e: Explanation) -> Table:
    table = Table(box=SIMPLE_HEAD, title="labels", title_justify="left")
    table.add_column("label", style="bold")
    for account in e.accounts:
        table.add_column(account.experiment, justify="right", no_wrap=True)
    for name in e.alone:
        table.add_column(ALONE[name], justify="right", no_wrap=True)
    if e.truth is not None:
        table.add_column("true")
    for j in e.told:
        cells = [
            Text(f"{percent(a.proba[j])} {'✓' if a.decided[j] else ' '}", "green" if a.decided[j] else "")
            for a in e.accounts
        ]
        cells += [Text(percent(sigmoid(logits[j])), "dim") for logits in e.alone.values()]
        if e.truth is not None:
            cells.append(Text("yes" if e.truth[j] else ""))
        table.add_row(Text(printable(e.names[j])), *cells)
    table.caption, table.caption_justify = "✓ above the decision", "left"
    return table


def _terms(e: Explanation, account: Account, width: int) -> Table:
    used = [i for i in range(len(TERMS)) if np.abs(account.terms[:, i]).max() > 0]
    longest = max(len(printable(e.names[j])) for j in e.told)
    room = max(NARROWEST, min(WIDEST, width - NUMBER * len(used) - REST - longest))
    title = f"{account.experiment}: what adds up to each logit"
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("label", style="bold")
    for i in used:
        title = SPOKEN[TERMS[i]].replace(" ", "\n", 1)
        table.add_column(Text(title, COLOURS[TERMS[i]]), justify="right", no_wrap=True)
    table.add_column("= logit", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    terms = account.terms[list(e.told)]
    low, high = np.minimum(terms, 0).sum(1).min(), np.maximum(terms, 0).sum(1).max()
    for j, row in zip(e.told, terms, strict=True):
        numbers = [signed(row[i]) for i in used]
        table.add_row(
            Text(printable(e.names[j])), *numbers, signed(row.sum()), bar(row, float(low), float(high), room)
        )
    table.caption = (
        f"largest gap between these sums and {account.experiment}'s probabilities: {gap(account):.0e}"
    )
    table.caption_justify = "left"
    return table


def bar(terms: np.ndarray, low: float, high: float, width: int) -> Text:
    """Terms (5,) laid end to end from zero: positive ones to the right of the line, negative ones to its left."""
    scale = width / max(high - low, 1e-9)
    left = [(value, name) for name, value in zip(TERMS, terms, strict=True) if value < 0]
    right = [(value, name) for name, value in zip(TERMS, terms, strict=True) if value > 0]
    space = round(-low * scale) - sum(round(-value * scale) for value, _ in left)
    text = Text(" " * max(0, space))
    for value, name in reversed(left):
        text.append("▇" * round(-value * scale), COLOURS[name])
    text.append("│")
    for value, name in right:
        text.append("▇" * round(value * scale), COLOURS[name])
    return text


def _words(e: Explanation) -> Iterator[RenderableType]:
    effects = e.words.effects
    largest = scale(effects[:, list(e.told)])
    yield Text("what each word adds to the logit: the change when it is left out", "italic")
    table = Table.grid(padding=(0, 2))
    for j in e.told:
        text = Text()
        for i, piece in enumerate(e.words.pieces):
            effect = float(effects[i, j]) if i < len(effects) else 0.0
            share, colour = abs(effect) / largest, FOR if effect > 0 else AGAINST
            style = f"black on {colour}" if share > STRONG else colour if share > STRONG / 4 else ""
            text.append(printable(piece.strip()), style)
            text.append(f" {signed(effect)} " if share > STRONG / 4 else " ", "dim")
        table.add_row(Text(printable(e.names[j]), "bold"), text)
    yield Padding(table, (0, 0, 1, 1))

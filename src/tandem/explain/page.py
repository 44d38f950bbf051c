"""An explanation as one HTML file that needs nothing beside it."""

from dataclasses import dataclass

import numpy as np

from tandem.artifacts.contributions import TERMS
from tandem.explain.explanation import ALONE, SPOKEN, Account, Explanation, gap, printable
from tandem.explain.pictures import heat_uri, photo_uri
from tandem.explain.words import Words, scale
from tandem.html import templates
from tandem.logits import sigmoid

FAINT = 0.08  # a word's effect, as a share of the largest, that is not worth a number


@dataclass(frozen=True)
class Segment:
    """A term's part of a bar, in percent of its width."""

    term: str
    x: float
    width: float


@dataclass(frozen=True)
class Word:
    """A word with what it adds; strength 0 to 1 of its colour."""

    text: str
    effect: float | None
    strength: float


def render(e: Explanation) -> str:
    """HTML; captions, label names and ids are escaped, for they are a stranger's."""
    page = templates("tandem.explain", "templates")
    page.filters |= {"percent": percent, "signed": signed, "printable": printable}
    heat = None if e.heat is None else [_heat(e, i) for i in range(len(e.told))]
    return page.get_template("explain.html").render(
        e=e,
        photo=photo_uri(e.photo),
        heat=heat,
        words=None if e.words is None else [_words(e.words, j, e.told) for j in e.told],
        tables=[_table(account, e.told) for account in e.accounts if account.terms is not None],
        alone=[(ALONE[name], sigmoid(logits)) for name, logits in e.alone.items()],
        spoken=SPOKEN,
        order=np.argsort(-e.accounts[0].proba, kind="stable").tolist(),
    )


def percent(p: float) -> str:
    """
    >>> percent(0.984), percent(0.0004)
    ('98.4 %', '<0.1 %')
    """
    return "<0.1 %" if p < 0.0005 else ">99.9 %" if p > 0.9995 else f"{100 * p:.1f} %"


def signed(x: float) -> str:
    """Two digits, with a sign that is as wide as a plus.

    >>> signed(-1.204), signed(0.004)
    ('−1.20', '0.00')
    """
    return "0.00" if abs(x) < 0.005 else f"{x:+.2f}".replace("-", "\N{MINUS SIGN}")


def segments(terms: np.ndarray, low: float, high: float) -> list[Segment]:
    """Terms (5,) laid end to end from zero, positive ones to the right, negative ones to the left, on low to high."""
    wide, ends, out = 100 / (high - low), {True: -low, False: -low}, []
    for name, value in zip(TERMS, terms.tolist(), strict=True):
        if value:
            start = ends[value > 0]
            ends[value > 0] = end = start + value
            out.append(Segment(name, round(min(start, end) * wide, 2), round(abs(value) * wide, 2)))
    return out


def _table(account: Account, told: tuple[int, ...]) -> dict:
    terms = account.terms[list(told)]
    low, high = min(np.minimum(terms, 0).sum(1).min(), -1e-3), max(np.maximum(terms, 0).sum(1).max(), 1e-3)
    rows = [
        {
            "label": j,
            "terms": dict(zip(TERMS, row.tolist(), strict=True)),
            "logit": float(row.sum()),
            "proba": float(account.proba[j]),
            "bar": segments(row, float(low), float(high)),
            "at": round(100 * (float(row.sum()) - float(low)) / float(high - low), 2),
        }
        for j, row in zip(told, terms, strict=True)
    ]
    used = [name for i, name in enumerate(TERMS) if np.abs(account.terms[:, i]).max() > 0]
    zero = round(-100 * float(low) / float(high - low), 2)
    return {"experiment": account.experiment, "rows": rows, "used": used, "zero": zero, "gap": gap(account)}


def _heat(e: Explanation, i: int) -> str:
    """ "" where nothing on the photo speaks for the label."""
    return heat_uri(e.heat[i], *e.photo.size) if e.heat[i].max() > 0 else ""


def _words(words: Words, label: int, told: tuple[int, ...]) -> list[Word]:
    largest = scale(words.effects[:, list(told)])
    out = []
    for i, piece in enumerate(words.pieces):
        effect = float(words.effects[i, label]) if i < len(words.effects) else None
        strength = 0.0 if effect is None else abs(effect) / largest
        out.append(Word(printable(piece.strip()), effect, strength if strength >= FAINT else 0.0))
    return out

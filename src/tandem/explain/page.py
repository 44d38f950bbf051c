"""An explanation as one self-contained HTML file."""

from itertools import zip_longest

import numpy as np
from markupsafe import Markup

from tandem.artifacts.contributions import TERMS
from tandem.artifacts.vocabulary import SINGLE_INPUT_NAMES, TERM_NAMES, palette_css
from tandem.explain.explanation import ERRORS, Explanation, largest_gap, printable, used_terms
from tandem.explain.pictures import heat_uri, photo_uri
from tandem.explain.words import Words, full_strength
from tandem.html import templates
from tandem.logits import sigmoid

FAINT = 0.08  # effect of a word, as a share of the largest, below which no number is shown


def heat_uris(e: Explanation) -> dict[str, str]:
    """The heat map of each label that is shown, as a data URI, "" without evidence; empty without heat maps."""
    if e.heat is None or e.photo is None:
        return {}
    return {e.names[j]: heat_uri(heat, *e.photo.size) for j, heat in zip(e.shown, e.heat, strict=True)}


def render(e: Explanation, report: str = "") -> str:
    """HTML, with a link to `report` if given; untrusted text (captions, label names, ids) is escaped."""
    page = templates("tandem.explain", "templates")
    page.filters |= {"percent": percent, "signed": signed, "printable": printable}
    return page.get_template("explain.html").render(
        e=e,
        report=report,
        errors=ERRORS,
        photo=None if e.photo is None else photo_uri(e.photo),
        heat=list(heat_uris(e).values()),
        words=None if e.words is None else [_words(e.words, j, e.shown) for j in e.shown],
        tables=[_table(p.experiment, p.proba, p.terms, e.shown) for p in e.predictions if p.terms is not None],
        single_input=[(SINGLE_INPUT_NAMES[name], sigmoid(logits)) for name, logits in e.single_input.items()],
        term_names=TERM_NAMES,
        palette=Markup(palette_css()),
        order=np.argsort(-e.predictions[0].proba, kind="stable").tolist(),
    )


def percent(p: float) -> str:
    """
    >>> percent(0.984), percent(0.0004)
    ('98.4 %', '<0.1 %')
    """
    return "<0.1 %" if p < 0.0005 else ">99.9 %" if p > 0.9995 else f"{100 * p:.1f} %"


def signed(x: float) -> str:
    """Two digits, with a minus sign as wide as a plus.

    >>> signed(-1.204), signed(0.004)
    ('−1.20', '0.00')
    """
    return "0.00" if abs(x) < 0.005 else f"{x:+.2f}".replace("-", "\N{MINUS SIGN}")


def segments(terms: np.ndarray, low: float, high: float) -> list[tuple[str, float, float]]:
    """(term, x, width) in percent of an axis low to high: (6,) terms end to end from zero, negative to the left."""
    per_unit, ends, parts = 100 / (high - low), {True: -low, False: -low}, []
    for name, value in zip(TERMS, terms.tolist(), strict=True):
        if value:
            start = ends[value > 0]
            ends[value > 0] = end = start + value
            parts.append((name, round(min(start, end) * per_unit, 2), round(abs(value) * per_unit, 2)))
    return parts


def _table(experiment: str, proba: np.ndarray, all_terms: np.ndarray, shown: tuple[int, ...]) -> dict:
    terms = all_terms[list(shown)]
    low = float(min(np.minimum(terms, 0).sum(1).min(), -1e-3))
    high = float(max(np.maximum(terms, 0).sum(1).max(), 1e-3))
    rows = []
    for j, row in zip(shown, terms, strict=True):
        logit, values = float(row.sum()), dict(zip(TERMS, row.tolist(), strict=True))
        position = round(100 * (logit - low) / (high - low), 2)
        figures = {"label": j, "terms": values, "logit": logit, "proba": float(proba[j]), "at": position}
        rows.append(figures | {"bar": segments(row, low, high)})
    used, zero = [TERMS[i] for i in used_terms(all_terms)], round(-100 * low / (high - low), 2)
    return {"experiment": experiment, "rows": rows, "used": used, "zero": zero, "gap": largest_gap(proba, all_terms)}


def _words(words: Words, label: int, shown: tuple[int, ...]) -> list[dict]:
    """Each word with its effect and the `strength` of its colour, 0 to 1; later words have no effect."""
    largest, out = full_strength(words.effects[:, list(shown)]), []
    for piece, effect in zip_longest(words.pieces, words.effects[:, label].tolist()):
        strength = abs(effect or 0.0) / largest
        out.append({"text": piece.strip(), "effect": effect, "strength": strength if strength >= FAINT else 0.0})
    return out

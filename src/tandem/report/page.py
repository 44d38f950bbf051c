"""The report page: figures of all sections, and thumbnails, in one HTML file that makes no network request."""

import base64
import hashlib
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np
from markupsafe import Markup

from tandem.artifacts.contributions import TERMS
from tandem.artifacts.vocabulary import TERM_NAMES, palette_css
from tandem.config.metric_names import METRIC_INFO
from tandem.html import templates
from tandem.report import data, decoding
from tandem.report.advice import advise
from tandem.report.classes import GRID, class_payload, per_class, upper_bounds
from tandem.report.compare import against, best_experiment, compare_labels
from tandem.report.data_model import FocusExperiment, ReportData
from tandem.report.drift import drift
from tandem.report.experiments import cost_chart, metric_names, score_error, table
from tandem.report.galleries import SCALE, add_details, pictures, test_gallery
from tandem.report.label_errors import differing_duplicates, label_errors
from tandem.report.leaderboard_fit import leaderboard_fit
from tandem.report.mistakes import cause_counts, causes_by_label, mistakes
from tandem.report.training_curves import training

ASSETS = files("tandem.report") / "assets"
STYLES = ("page.css", "galleries.css", "figures.css")
SCRIPTS = ("charts.js", "address.js", "page.js", "figures.js", "tables.js", "galleries.js")


def build(report: ReportData) -> str:
    """The HTML; without an experiment in focus, of the data and of near-duplicates with different labels only."""
    focus, shifts, duplicates = report.focus, drift(report), differing_duplicates(report)
    context: dict[str, Any] = {"report": report, "focus": focus, "duplicates": duplicates}
    context["data"] = {
        "labels": data.label_counts(report),
        "folds": dict(zip(*(part.tolist() for part in np.unique(report.fold, return_counts=True)), strict=True)),
        "together": data.co_occurrence(report.y, report.names, report.known),
        "per_row": data.labels_per_row(report, report.focus),
        "captions": data.caption_chart(report),
        "sizes": data.size_chart(report),
        "drift": shifts,
    }
    terms = [{"key": term, "name": TERM_NAMES[term]} for term in TERMS]
    payload = {"names": report.names, "grid": GRID.tolist(), "duplicates": duplicates, "terms": terms, "scale": SCALE}
    payload |= {"comp": report.comp, "tuned_for": report.rule.tuned.title}
    galleries = {"duplicates": [row for group in duplicates for row in group["rows"]]}
    if focus is not None:
        figures = _focus_figures(report, focus, shifts)
        context |= figures
        galleries["mistakes"], galleries["label_errors"] = figures["mistakes"]["rows"], figures["label_errors"]["shown"]
        galleries["test_rows"] = figures["test_rows"]
        payload |= class_payload(report, figures["classes"], figures["by_label"])
        payload |= {**galleries, "duplicates": duplicates}
        payload["totals"] = {"mistake": figures["mistakes"]["wrong"], "label-error": figures["label_errors"]["rows"]}
        payload["totals"]["test"] = len(report.test.ids) if report.test else 0
        add_details(report, focus, (row for rows in galleries.values() for row in rows))
    files = {"train": report.train.files} | ({"test": report.test.files} if report.test else {})
    payload["images"] = pictures(files, list(galleries.values())) if report.train.files else None
    return render(context, payload)


def _focus_figures(report: ReportData, focus: FocusExperiment, shifts: dict | None) -> dict[str, Any]:
    """The figures of all sections that need a scored experiment."""
    rates, y, pred = decoding.rates(report, focus), report.y.astype(bool), report.counted(focus.pred)
    wrong, best = (y != pred).any(1), best_experiment(report) if len(report.decoded) > 1 else ""
    gains = against(report, best)
    figures = {
        "score_error": score_error(report, focus),
        "bounds": upper_bounds(report, focus),
        "drift": shifts,
        "experiments": table(report.experiments, focus.name),
        "best": best,
        "gains": gains,
        "by_label": compare_labels(report),
        "leaderboard": leaderboard_fit(report),
        "cost": cost_chart(report.experiments, focus.name, gains),
        "classes": per_class(report, focus),
        "mistakes": {
            "rows": mistakes(report, focus),
            "wrong": int(wrong.sum()),
            "none_right": int((wrong & ~(y & pred).any(1)).sum()),
            "causes": cause_counts(report, focus),
        },
        "test_rows": test_gallery(report, focus),
        "causes_by_label": causes_by_label(report, focus),
        "label_errors": label_errors(report, focus.proba),
        "decoders": decoding.decoders(focus.scores, report.rule),
        "rates": rates,
        "rate_chart": decoding.rate_chart(rates),
        "training": training(report.experiments, report.y, report.known),
    }
    return figures | {"advice": [asdict(advice) for advice in advise(report, focus, figures)]}


def render(context: dict[str, Any], payload: dict[str, Any]) -> str:
    """Fills the template; the page's content security policy allows its own script, by digest, and no request."""
    environment, rule = templates("tandem.report", "assets"), context["report"].rule
    environment.filters |= {"number": number, "percent": percent, "signed": signed, "count": count}
    css, script = ("\n".join((ASSETS / n).read_text(encoding="utf-8") for n in names) for names in (STYLES, SCRIPTS))
    return environment.get_template("page.html").render(
        **context,
        metric_names=metric_names(rule.beta, rule.metric),
        f_names=metric_names(rule.beta),
        heading={name: METRIC_INFO[name].column for name in METRIC_INFO if name not in metric_names(rule.beta)},
        sets_title=rule.sets.title,
        term_names=TERM_NAMES,
        css=Markup(palette_css() + css),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        payload=payload,
    )


def number(value: float | None, digits: int = 4) -> str:
    """An en dash for an unknown value.

    >>> number(0.5), number(None)
    ('0.5000', '–')
    """
    return "–" if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """
    >>> signed(-0.5, 1), signed(-0.00001)
    ('−0.5', '+0.0000')
    """
    return "–" if value is None else f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def count(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"

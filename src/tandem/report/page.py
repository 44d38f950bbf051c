"""The page: every section's figures into one HTML file that asks the network for nothing."""

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib.resources import files

from markupsafe import Markup

from tandem.artifacts.contributions import TERMS
from tandem.html import templates
from tandem.report import data, decoding
from tandem.report.advice import advise
from tandem.report.classes import GRID, ceilings, per_class
from tandem.report.data_model import Evidence
from tandem.report.drift import drift
from tandem.report.experiments import cost_chart, table
from tandem.report.mistakes import BLAMED, blame_counts, mistakes
from tandem.report.noise import noise_of
from tandem.report.suspects import differing_twins, suspects
from tandem.report.training_curves import training

ASSETS = files("tandem.report") / "assets"
SCRIPTS = ("charts.js", "page.js")
SECTIONS = {
    "summary": "Summary",
    "experiments": "Experiments",
    "classes": "Per class",
    "mistakes": "Mistakes",
    "suspects": "Suspects",
    "data": "Data",
    "decoding": "Decoding",
    "training": "Training",
}


def build(evidence: Evidence, thumbnails: Callable[[Iterable[int]], dict[int, str]]) -> str:
    """The HTML; `thumbnails` gives the data URI of each row that is asked for."""
    context = {"evidence": evidence, "subject": evidence.subject, "missing": evidence.missing}
    shifts = drift(evidence)
    context["data"] = {
        "labels": data.label_counts(evidence),
        "folds": data.fold_sizes(evidence.fold),
        "together": data.co_occurrence(evidence.y, evidence.names),
        "per_row": data.labels_per_row(evidence),
        "captions": data.caption_chart(evidence),
        "sizes": data.size_chart(evidence),
        "findings": data.findings(evidence),
        "drift": shifts,
    }
    twins = differing_twins(evidence)
    payload = {"names": evidence.names, "terms": TERMS, "grid": GRID.tolist(), "twins": twins}
    shown = [row["row"] for group in twins for row in group["rows"]]
    if evidence.subject is not None:
        shown += _about_subject(evidence, context, payload, shifts)
    context["twins"] = twins
    payload["pictures"] = thumbnails(shown)
    return render(context, payload)


def _about_subject(evidence: Evidence, context: dict, payload: dict, shifts: dict | None) -> list[int]:
    """Adds what is known of the subject; returns the rows whose pictures are shown."""
    subject = evidence.subject
    classes, limits = per_class(evidence), ceilings(evidence)
    doubtful, wrong, rates = suspects(evidence), mistakes(evidence), decoding.rates(evidence)
    noise = noise_of(evidence)
    context |= {
        "advice": [asdict(a) for a in advise(evidence, classes, limits, doubtful, shifts)],
        "noise": noise,
        "ceilings": limits,
        "experiments": table(evidence.experiments, subject.name),
        "cost": cost_chart(evidence.experiments, subject.name),
        "classes": classes,
        "mistakes": {
            "shown": len(wrong),
            "wrong": int((evidence.row_scores < 1).sum()),
            "none_right": int((evidence.row_scores == 0).sum()),
            "blame": blame_counts(evidence),
        },
        "suspects": doubtful,
        "decoders": decoding.decoders(subject.scored.scores),
        "rates": rates,
        "rate_chart": decoding.rate_chart(rates),
        "training": training(evidence.experiments),
    }
    payload |= {"classes": classes, "mistakes": wrong, "suspects": doubtful["shown"], "subject": subject.name}
    return [row["row"] for row in [*wrong, *doubtful["shown"]]]


def render(context: dict, payload: dict) -> str:
    """Fills the template in; the page's policy allows its own scripts, by their digest, and no request at all."""
    read = {name: (ASSETS / name).read_text(encoding="utf-8") for name in (*SCRIPTS, "page.css")}
    environment = templates("tandem.report", "assets")
    environment.filters |= {"number": number, "percent": percent, "signed": signed, "count": count}
    script = "\n".join(read[name] for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template("page.html").render(
        **context,
        sections=SECTIONS,
        blamed=BLAMED,
        css=Markup(read["page.css"]),
        script=Markup(script),
        digest=digest,
        payload=payload,
    )


def number(value: float | None, digits: int = 4) -> str:
    """An en dash stands for what is not known.

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

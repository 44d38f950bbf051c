"""Cross-fitted scores against public ones of the journal: the chart, the correlation, and whether the gap is noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from scipy.stats import rankdata

from tandem.artifacts.journal import Row
from tandem.report.charts import ACCENT, MUTED, chart
from tandem.report.data_model import ReportData

LEAST = 2  # rows with both scores
CORRELATED = 3  # rows; two always correlate by 1 or -1


@dataclass(frozen=True)
class Point:
    """A submission with both scores; `half` of the interval of the cross-fitted one, None: not known."""

    name: str
    score: float
    public: float
    half: float | None


@dataclass(frozen=True)
class LeaderboardFit:
    """What the page shows."""

    chart: Markup
    about: str
    gap: str


def leaderboard_fit(report: ReportData) -> LeaderboardFit | None:
    """None for fewer rows of the competition's metric with a public score."""
    found = points(report.journal, report.rule.metric)
    if len(found) < LEAST:
        return None
    about = correlation(found)
    drawn = chart(
        "leaderboard", f"Cross-fitted score and public score: {about}", lambda axes: draw(axes, found), 4.2, 3.2
    )
    return LeaderboardFit(drawn, about, gap(found, len(report.y), len(report.test.ids) if report.test else 0))


def points(rows: Sequence[Row], metric: str) -> list[Point]:
    """The rows that have both scores."""
    found = []
    for row in rows:
        numbers = [_number(row[name]) for name in ("score", "public", "low", "high")]
        score, public, low, high = numbers
        if score is not None and public is not None and row["metric"] == metric:
            half = None if low is None or high is None else (high - low) / 2
            found.append(Point(row["name"], score, public, half))
    return found


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def correlation(found: Sequence[Point]) -> str:
    """In words.

    >>> correlation([Point("a", 0.8, 0.7, None), Point("b", 0.9, 0.75, None), Point("c", 1.0, 0.71, None)])
    '3 submissions; correlation 0.19, of ranks 0.50'
    """
    both = np.array([[one.score, one.public] for one in found]).T
    n = f"{len(found)} submissions"
    if len(found) < CORRELATED:
        return f"{n}; a correlation needs {CORRELATED}"
    if (np.ptp(both, axis=1) == 0).any():
        return f"{n}; no correlation, as all have the same score"
    linear, ranks = np.corrcoef(both)[0, 1], np.corrcoef(rankdata(both, axis=1))[0, 1]
    return f"{n}; correlation {linear:.2f}, of ranks {ranks:.2f}"


def gap(found: Sequence[Point], rows: int, test_rows: int) -> str:
    """Whether the mean difference of both scores can be noise, in words: that of the training rows and of the public
    rows, which are at most all test rows.

    >>> near = [Point("a", 0.80, 0.79, 0.01), Point("b", 0.82, 0.81, 0.01)]
    >>> gap(near, 100, 100)[:72]
    'Public scores are 0.0100 lower on average: within noise (± 0.0141, if al'
    >>> gap([Point("a", 0.80, 0.70, 0.01)], 100, 0).split(": ")[1]
    'more than the noise of the training rows alone (± 0.0100) explains.'
    """
    mean = float(np.mean([one.public - one.score for one in found]))
    side = f"Public scores are {abs(mean):.4f} {'higher' if mean > 0 else 'lower'} on average"
    halves = [one.half for one in found if one.half is not None]
    if not halves:
        return f"{side}; whether that is noise can't be said, as no row has the interval of its score."
    half = float(np.mean(halves))
    noise = half * sqrt(1 + rows / test_rows) if test_rows else half
    if test_rows:
        known = f"± {noise:.4f}, if all {test_rows:,} test rows are public; more if fewer"
        if abs(mean) <= noise:
            return f"{side}: within noise ({known})."
        return f"{side}: more than the noise of both samples explains ({known})."
    if abs(mean) <= noise:
        return f"{side}: within the noise of the training rows alone (± {noise:.4f})."
    return f"{side}: more than the noise of the training rows alone (± {noise:.4f}) explains."


def draw(axes: Axes, found: Sequence[Point]) -> None:
    x, y = [one.score for one in found], [one.public for one in found]
    axes.errorbar(x, y, xerr=[one.half or 0 for one in found], fmt="none", ecolor=MUTED, elinewidth=1)
    axes.plot(x, y, "o", color=ACCENT, markersize=5)
    low, high = min(x + y), max(x + y)
    axes.plot([low, high], [low, high], "--", color=MUTED, linewidth=1)
    axes.set_xlabel("cross-fitted")
    axes.set_ylabel("public")

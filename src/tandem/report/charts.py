"""Small SVG charts by matplotlib that take the page's own colours and type, in light and in dark."""

import io
import re
import warnings
from collections.abc import Callable

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

# stand-ins that matplotlib can draw with: each becomes a variable of the page's style sheet
INK, MUTED, LINE = "#010101", "#010102", "#010103"
ACCENT, SECOND, WARM = "#010104", "#010105", "#010106"
THEME = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    ACCENT: "var(--accent)",
    SECOND: "var(--second)",
    WARM: "var(--warm)",
}
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tandem",
    "text.parse_math": False,  # a label named $x is no formula
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
}
PIXELS = 4 / 3  # of a point


def chart(name: str, about: str, draw: Callable, width: float = 3.9, height: float = 2.5, panels: int = 1):
    """One figure as inline SVG; `draw` gets its axes (all of them where there are several `panels` in a row).

    name   of letters, digits and _, unique on the page: figures share no ids
    about  what a screen reader says
    """
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of glyphs that matplotlib's own font lacks: the page's has them
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, panels)
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Markup(_inline(text.getvalue(), name, about, width * 72 * PIXELS))


def logarithmic(axis, low: float, high: float) -> None:
    """A logarithmic axis with plain numbers at 1, 2, 5, 10..., or at 1, 10... where it spans much."""
    subs = (1.0,) if high > 300 * low else (1.0, 2.0, 5.0)
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log", subs=[])
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter("{x:,g}")


def quiet(axes: Axes, x: str = "", y: str = "", title: str = "") -> None:
    """Names of axes and title, in the page's voice."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title)


def _inline(svg: str, name: str, about: str, pixels: float) -> str:
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r"font-family: [^;\"]*;?", "", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', body))
    body = re.sub(r' id="([\w.-]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", body)
    for colour, variable in THEME.items():
        body = body.replace(colour, variable)
    view = re.search(r'viewBox="[^"]*"', body)[0]
    head = f'<svg class="chart" {view} style="max-width:{pixels:.0f}px" role="img" aria-label="{_attribute(about)}" '
    head += 'xmlns:xlink="http://www.w3.org/1999/xlink">'
    body = head + body[body.index(">") + 1 :]
    return re.sub(r"\n\s*", "\n", re.sub(r"(\d\.\d{2})\d+", r"\1", body)).strip()


def _attribute(text: str) -> str:
    return str(Markup.escape(text))

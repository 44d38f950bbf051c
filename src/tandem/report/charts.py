"""Small SVG charts by matplotlib in the colours and font of the page, for its light and dark scheme."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

# placeholder colours: each is replaced by a variable of the page's style sheet
VARIABLES = ("ink", "muted", "line", "accent", "second", "warm", "card")
THEME = {f"#01010{i}": f"var(--{name})" for i, name in enumerate(VARIABLES, 1)}
INK, MUTED, LINE, ACCENT, SECOND, WARM, SURFACE = THEME
TEXT = 9  # points, 12 pixels: no text of a chart is smaller
SMALLEST = 11  # pixels of text where the page makes a chart narrower; then the box around it scrolls
STYLE: Any = {  # matplotlib types the keys as literals
    "svg.fonttype": "none",
    "svg.hashsalt": "tandem",
    "text.parse_math": False,  # a label may be named $x
    "font.size": TEXT,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": TEXT,
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
    "legend.fontsize": TEXT,
    "lines.linewidth": 1.6,
}
PIXELS = 4 / 3  # per point


def chart(name: str, about: str, draw: Callable, width: float = 3.6, height: float = 2.5, panels: int = 1) -> Markup:
    """One figure of width x height inches as inline SVG; `draw` gets the axes of each of its `panels`. `name` is unique
    on the page: the prefix of the element ids; `about` says the result to those who can't see it."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of glyphs missing in matplotlib's font: the page has its own font
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(*figure.subplots(1, panels, squeeze=False)[0])
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Markup(_inline(text.getvalue(), name, about, width * 72 * PIXELS))


def rows_of_points(axes: Axes, names: Sequence[str]) -> None:
    """Gives each name a row of its own, the first at the top, so that no point covers another."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params("y", labelcolor=INK)


def logarithmic(axis: XAxis | YAxis, low: float, high: float) -> None:
    """Makes the axis logarithmic, with ticks at 1, 2, 5, 10..., or at 1, 10... over a wide range."""
    subs = (1.0,) if high > 300 * low else (1.0, 2.0, 5.0)
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log", subs=[])
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter("{x:,g}")


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
    view = re.search(r'viewBox="[^"]*"', body)
    assert view is not None, "matplotlib always writes a viewBox"
    narrowest = pixels * SMALLEST / (TEXT * PIXELS)
    head = f'<svg class="chart" {view[0]} style="max-width:{pixels:.0f}px;min-width:{narrowest:.0f}px" role="img" '
    head += f'aria-label="{Markup.escape(about)}" xmlns:xlink="http://www.w3.org/1999/xlink">'
    # coordinates get two decimals, texts stay as they are
    drawn = re.sub(r">[^<]+<|(\d\.\d{2})\d+", lambda m: m[1] or m[0], body[body.index(">") + 1 :])
    return re.sub(r"\n\s*", "\n", head + drawn).strip()

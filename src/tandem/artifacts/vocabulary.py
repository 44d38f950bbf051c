"""The one place for what people read and see of a logit's terms: their names, and the colours of pages and terminal.

Colours are those of Okabe and Ito (2008), which colour-blind people can tell apart, made darker (or lighter) so that
each has a contrast of 3:1 at least against the backgrounds of the light (or dark) theme; those of text have 4.5:1.
"""

from tandem.artifacts.contributions import NO_CAPTION, NO_IMAGE

TERM_NAMES = {
    "image": "image",
    "caption": "caption",
    "fusion": "interaction",  # of image and caption: what only both together tell
    "joint": "joint models",  # that read both and can't be split
    "context": "other labels",
    "base": "base rate",
}
SINGLE_INPUT_NAMES = {NO_CAPTION: "image only", NO_IMAGE: "caption only"}

# by CSS variable: the terms; effects that speak for and against a label; the two kinds of error, also as text
LIGHT = {
    "image": "#0072b2",
    "caption": "#b07800",
    "fusion": "#008a64",
    "joint": "#c95800",
    "context": "#b9608f",
    "base": "#7d8288",
    "for": "#7cc0ee",
    "against": "#f0965a",
    "false-negative": "#a8401f",
    "false-positive": "#8f3a78",
}
DARK = {
    "image": "#56b4e9",
    "caption": "#e69f00",
    "fusion": "#00a87b",
    "joint": "#e0691a",
    "context": "#cc79a7",
    "base": "#868c93",
    "for": "#1c6699",
    "against": "#9c4616",
    "false-negative": "#f0916f",
    "false-positive": "#e59cc6",
}
TERMINAL = {term: LIGHT[term] for term in TERM_NAMES}  # 3:1 at least on black and on white


def palette_css() -> str:
    """The style sheet that every page includes: a variable for each colour, a class `t-TERM` for each term."""
    light, dark = (" ".join(f"--{name}: {colour};" for name, colour in theme.items()) for theme in (LIGHT, DARK))
    terms = "\n".join(f".t-{term} {{ background: var(--{term}); fill: var(--{term}); }}" for term in TERM_NAMES)
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{terms}\n"

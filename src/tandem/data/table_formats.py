"""How a table file separates its cells and rows: delimiter, line ends, spaces after delimiters."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
OF_SUFFIX = {".tsv": "\t", ".tab": "\t", ".psv": "|"}
QUOTED = re.compile(r'"[^"]*"')
SEP_LINE = re.compile(r'"?sep=([^\w"\s]|\t)"?[ \t]*(\r\n|\n|\r)', re.IGNORECASE)  # as Excel reads and writes it
MAX_HEADER_LINES = 100
PRIVATE = (range(0xE000, 0xF8FF), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))  # characters without a meaning


@dataclass(frozen=True)
class Translation:
    """One character for another, so that a table has commas between cells and LF line ends; and back.

    >>> to_comma = Translation.make("id;x\\r1;2,5\\r", ";")
    >>> to_comma.there("id;x\\r1;2,5\\r").count(","), to_comma.back("\\ue000")
    (2, ',')
    """

    pairs: dict[int, int]
    spare: str = ""  # takes the place of commas inside cells

    @classmethod
    def make(cls, text: str, delimiter: str) -> "Translation":
        pairs: dict[str, str] = {}
        spare = ""
        if delimiter != ",":
            used = set(text)
            spare = next(mark for mark in map(chr, chain(*PRIVATE)) if mark not in used)
            pairs |= {delimiter: ",", ",": spare}
        if has_cr_ends(text):
            pairs |= {"\r": "\n", "\n": "\r"}
        return cls({ord(a): ord(b) for a, b in pairs.items()}, spare)

    def there(self, text: str) -> str:
        return text.translate(self.pairs) if self.pairs else text

    def back(self, text: str) -> str:
        return text.translate({b: a for a, b in self.pairs.items()}) if self.pairs else text

    def restore(self, message: str) -> str:
        return message.replace(self.spare, ",") if self.spare else message


def has_cr_ends(text: str) -> bool:
    """Whether the rows end with CR alone, as old spreadsheets write them."""
    if "\r" not in text or not re.search(r"\r(?!\n)", text):
        return False
    outside = QUOTED.sub("", text)
    return "\n" not in text or ("\n" not in outside and "\r" in outside)


def delimiters_of(text: str, suffix: str) -> list[str]:
    """The delimiters outside quotes in the first line of the table; where there is none, that of the file's suffix."""
    lines = list(islice((line for line in io.StringIO(text, newline="") if line.strip(" \r\n")), MAX_HEADER_LINES))
    quotes = accumulate(line.count('"') for line in lines)
    n = next((i for i, count in enumerate(quotes, 1) if count % 2 == 0), 1)
    head = "".join(lines[:n])
    outside = QUOTED.sub("", head)
    return [mark for mark in DELIMITERS if mark in outside] or [OF_SUFFIX.get(suffix, ",")]


@dataclass(frozen=True)
class Spacing:
    """Spaces around the commas outside quotes that are no part of the cells."""

    everywhere: bool = False  # after each comma, in the header too
    before_quotes: bool = False  # before a quoted cell
    on_both_sides: bool = False  # of each comma


def find_spacing(lines: Sequence[str], header: Sequence[str]) -> Spacing:
    """`lines` with the header line, if there is one, whose cells are `header`."""
    text = "".join(lines)
    if ", " not in text:
        return Spacing()
    outside = QUOTED.sub('""', text)
    in_header = len(header) > 1 and all(name.startswith(" ") or not name for name in header[1:])
    everywhere = in_header and not re.search(r",(?![ ,\r\n]|\Z)", outside)
    both = everywhere and not re.search(r"[^ ,\n],", outside)
    return Spacing(everywhere, re.search(r', +""', outside) is not None, both)

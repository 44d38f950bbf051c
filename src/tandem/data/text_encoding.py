"""Encodings that fit the bytes of a text, judged by the words that they give."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import islice

LATIN = ("cp1252", "latin-1", "cp1250", "cp1254", "cp1257", "cp850", "mac_roman")
OTHER = ("cp1251", "koi8-r", "cp866", "mac_cyrillic", "cp1253", "cp1255", "cp1256", "cp874")  # Cyrillic to Thai
COMMON = {  # the first and second bytes of the characters that are common in texts
    "gb18030": ((0xA1, 0xD7), (0xA1, 0xFE)),
    "shift_jis": ((0x81, 0x97), (0x40, 0xFC)),
    "big5": ((0xA1, 0xC6), (0x40, 0xFE)),
    "euc_kr": ((0xA1, 0xC8), (0xA1, 0xFE)),
    "euc_jp": ((0xA1, 0xCF), (0xA1, 0xFE)),
}
ENCODINGS = (*LATIN, *OTHER, *COMMON)
WORD = re.compile(r'[^\s,;|"\x00-\x1f()\[\]{}:.!?/]++')
SYMBOLS = "©®™°±×÷²³½¼¾←→−\xad\u200c\u200d"  # also the soft hyphen, and what joins Arabic letters or not
MAX_LINES = 5_000  # so many lines that are not ASCII are judged
MAX_WORDS, MAX_LENGTH = 20_000, 64  # so many words are judged, each by so many characters
SHOWN = 3  # words
CLEAR = 0.8  # an encoding is named if its share of plausible words is at least this part of the largest


def fitting_encodings(data: bytes, encodings: Sequence[str] = ENCODINGS) -> dict[str, str]:
    """{encoding: the first words that are not ASCII, as it gives them}, the most plausible first.

    Of encodings that give the same words, only the first of `encodings` is named.

    >>> fitting_encodings("id,text\\n1,a café\\n".encode("cp1252"))
    {'cp1252': '"café"'}
    """
    utf16 = encodings[0].startswith("utf-16")
    lines = data if utf16 else b"\n".join([line for line in data.split(b"\n") if not line.isascii()][:MAX_LINES])
    shares: dict[str, float] = {}
    examples: dict[str, str] = {}
    for encoding in encodings:
        try:
            text = lines.decode(encoding).replace("\xa0", " ")
        except UnicodeDecodeError:
            continue
        if any(unicodedata.category(c) in ("Cc", "Cn", "Co") for c in set(text) - set("\t\r\n")):
            continue
        found = (match[0][:MAX_LENGTH] for match in WORD.finditer(text) if not match[0].isascii())
        words = list(islice(found, MAX_WORDS)) or text.split()[:SHOWN]
        shown = ", ".join(f'"{word[:16]}"' for word in list(dict.fromkeys(words))[:SHOWN])
        if words and shown not in examples.values():
            shares[encoding] = 1.0 if utf16 else sum(_plausible(word, encoding) for word in words) / len(words)
            examples[encoding] = shown
    least = max(0.5, CLEAR * max(shares.values(), default=0.0))
    return {name: examples[name] for name in sorted(shares, key=lambda e: -shares[e]) if shares[name] >= least}


def is_mostly_utf8(data: bytes) -> bool:
    """Whether more characters of several bytes are valid UTF-8 than bytes are not."""
    text = data.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    return sum(not c.isascii() for c in text) - wrong > wrong


def _plausible(word: str, encoding: str) -> float:
    """From 0 to 1: how likely a text has this word, which is not ASCII."""
    special = [c for c in word if not c.isascii()]
    if encoding in COMMON:
        return sum(_is_common(c, encoding) for c in special) / max(len(special), 1)
    kinds = [unicodedata.category(c) for c in word]
    joined = "".join(c if kind[0] in "LM" else " " for c, kind in zip(word, kinds, strict=True)).split()
    letters = "".join(joined)
    if len({unicodedata.name(c, "").split(" ")[0] for c in letters}) > 1:
        return 0.0
    if any(kind in ("So", "Sm", "Sk", "No", "Cf") and c not in SYMBOLS for c, kind in zip(word, kinds, strict=True)):
        return 0.0
    cased = [part for part in joined if part.upper() != part.lower()]
    if any(not (part.islower() or part.isupper() or part[1:].islower()) for part in cased):
        return 0.0
    if len(letters) > 2 and unicodedata.name(letters[0], "").startswith("LATIN") and not re.search("[a-zA-Z]", letters):
        return 0.0
    return 0.8 if len(letters) > 2 and letters.isupper() else 1.0


def _is_common(character: str, encoding: str) -> bool:
    code = character.encode(encoding)
    return len(code) == 2 and all(lo <= byte <= hi for byte, (lo, hi) in zip(code, COMMON[encoding], strict=True))

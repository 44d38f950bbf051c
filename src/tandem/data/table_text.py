"""The text of a table: its encoding, and files that only have the name of a table."""

import codecs
import re
from pathlib import Path

from tandem.artifacts.user_files import read_bytes
from tandem.config.questions import Question
from tandem.data.text_encoding import fitting_encodings, is_mostly_utf8

MAX_BYTES = 2**30
MARKS = {  # the longer ones first
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
BINARY = {  # first bytes: what the file is, and what to do
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", "save the sheet as CSV"),
    b"PAR1": ("a Parquet file", "write it as CSV, such as with pandas: read_parquet(...).to_csv(..., index=False)"),
    b"\x1f\x8b": ("a gzip file", "unpack it"),
    b"BZh": ("a bzip2 file", "unpack it"),
    b"\xfd7zXZ\0": ("an xz file", "unpack it"),
    b"7z\xbc\xaf'\x1c": ("a 7z archive", "unpack it"),
    b"Rar!\x1a": ("a RAR archive", "unpack it"),
    b"%PDF": ("a PDF file", "save the table as CSV"),
    b"SQLite format 3\0": ("an SQLite database", "write its table as CSV"),
    b"\x89PNG": ("an image", "give the table another name than an image"),
    b"\xff\xd8\xff": ("an image", "give the table another name than an image"),
}
WEB_PAGE = re.compile(r"\s*<(!doctype|html|head|body|script|\?xml|!--)", re.IGNORECASE)
LFS = "version https://git-lfs.github.com/spec/"
MERGE_MARK = re.compile(r"^(<{7}|>{7})(?= )", re.MULTILINE)


class TableQuestion(ValueError):
    """A table that can be read only after the user has answered `question`."""

    def __init__(self, message: str, question: Question) -> None:
        super().__init__(message)
        self.question = question


def read_text(path: Path, encoding: str | None = None) -> str:
    """The text without its byte order mark; `encoding` is that of a file which has no mark and is not UTF-8.

    Raises ValueError with file and line where it is no text, and TableQuestion where the encoding is unknown.
    """
    data = read_bytes(path, MAX_BYTES)
    for start, (kind, advice) in BINARY.items():
        if data.startswith(start):
            raise ValueError(f"{path}: the file is {kind}, not a table; {advice}")
    text = _decode(path, data, encoding).lstrip("\ufeff")
    if problem := find_problem(text):
        raise ValueError(f"{path}: {problem}")
    return text


def _decode(path: Path, data: bytes, encoding: str | None) -> str:
    if marked := next((name for mark, name in MARKS.items() if data.startswith(mark)), None):
        return _strict(path, data, marked)
    if b"\0" in data:
        if encoding is not None:
            return _strict(path, data, encoding)
        what = f"{_line(data, data.index(0))}: contains a NUL byte; expected a text file in UTF-8"
        raise _unknown_encoding(path, what, fitting_encodings(data, ["utf-16-le", "utf-16-be"]))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if encoding is not None:
            return _strict(path, data, encoding)
        what = f"{_line(data, error.start)}: byte 0x{data[error.start]:02x} is not UTF-8"
        if is_mostly_utf8(data):
            raise ValueError(f"{path}: {what}, the rest of the file is; correct or remove that line") from None
        raise _unknown_encoding(path, what, fitting_encodings(data)) from None


def _unknown_encoding(path: Path, what: str, words: dict[str, str]) -> ValueError:
    """`words` is {encoding that fits: words of the file as it gives them}."""
    if not words:
        return ValueError(f"{path}: {what}; save the file as UTF-8")
    question = Question("encoding", f"{path.name}: {what}", words)
    shown = ", ".join(f"{name} ({example})" for name, example in words.items())
    return TableQuestion(f"{path}: {what}; save the file as UTF-8, or set encoding to one of: {shown}", question)


def _strict(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except LookupError:
        raise ValueError(f"encoding {encoding!r} is unknown; expected a name such as cp1252 or shift_jis") from None
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        raise ValueError(f"{path}: {_line(data, at)}: the bytes there are not {encoding}: {error}") from None


def _line(data: bytes, at: int) -> str:
    end = b"\n" if b"\n" in data else b"\r"
    return f"line {data.count(end, 0, at) + 1}"


def is_binary(data: bytes) -> bool:
    """Whether the first bytes are those of a file that is no table."""
    return data.startswith(tuple(BINARY))


def find_problem(text: str, is_start: bool = True) -> str:
    """What this text is, where it is not a table, and what to do; else ''. `is_start`: of the file, not of a part."""
    if "\0" in text:
        return f"line {text.count(chr(10), 0, text.index(chr(0))) + 1}: contains a NUL character; expected text"
    if not text.strip():
        return "the file is empty; expected a header line with the names of the columns"
    if is_start and WEB_PAGE.match(text):
        return "the file is a web page (such as a sign-in page), not a table; sign in and download it again"
    if is_start and text.startswith(LFS):
        return "the file is a Git LFS pointer, not the table itself; run: git lfs pull"
    if mark := MERGE_MARK.search(text):
        line = text.count("\n", 0, mark.start()) + 1
        return f"line {line}: {mark[0]} is a mark of an unfinished merge; choose one side and remove the marks"
    return ""

"""Errors of the parsers of file formats as ValueErrors that name the file and say what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def is_of_system(error: BaseException) -> bool:
    """Whether the operating system refused the file, such as no file or no room. EINVAL does not count: a damaged file
    names a place before its own start."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


@contextmanager
def naming(file: Path | str, what: str, cure: str, of_parser: bool = True) -> Iterator[None]:
    """Whatever goes wrong inside, for this file, becomes a ValueError: `file: what (error); cure`.

    Errors of the system (no such file, no room) and ValueErrors that name the file, or are ours, stay as they are. Ours
    are those of our own classes, and all where no foreign code (`of_parser`) raises them inside.
    """
    try:
        yield
    except Exception as error:  # each library has its own: pyarrow, safetensors, torch, tokenizers, LightGBM
        is_ours = isinstance(error, ValueError) and (
            type(error).__module__.startswith("tandem") or (type(error) is ValueError and not of_parser)
        )
        if is_ours or is_of_system(error) or (isinstance(error, ValueError) and str(file) in str(error)):
            raise
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        raise ValueError(f"{file}: {what} ({kind}{' '.join(str(error).split())[:500]}); {cure}") from error

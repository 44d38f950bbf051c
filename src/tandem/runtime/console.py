"""The console of all tables printed to the terminal."""

import os

from rich.console import Console


class QuietConsole(Console):
    """Leaves a closed pipe to the command line, where rich would end the process with status 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def make_console() -> Console:
    """As wide as the terminal, in a file or pipe as COLUMNS, else 120; colours no numbers and paths in plain text."""
    console, columns = QuietConsole(highlight=False), os.environ.get("COLUMNS", "")
    if console.is_terminal:
        return console
    return QuietConsole(width=int(columns) if columns.isdecimal() and int(columns) else 120, highlight=False)

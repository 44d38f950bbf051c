"""The console of all tables printed to the terminal."""

import os

from rich.console import Console


def make_console() -> Console:
    """As wide as the terminal, in a file or pipe as COLUMNS, else 120; colours no numbers and paths in plain text."""
    console, columns = Console(highlight=False), os.environ.get("COLUMNS", "")
    if console.is_terminal:
        return console
    return Console(width=int(columns) if columns.isdecimal() and int(columns) else 120, highlight=False)

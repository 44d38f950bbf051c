"""The console of all tables printed to the terminal."""

from rich.console import Console

WIDTH = 120  # columns, where the output is not a terminal


def make_console() -> Console:
    """As wide as the terminal, or WIDTH in a file or pipe; does not colour numbers and paths in plain text."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=WIDTH, highlight=False)

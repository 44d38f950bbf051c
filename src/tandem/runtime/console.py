"""The console of all tables printed to the terminal."""

from rich.console import Console


def make_console() -> Console:
    """As wide as the terminal, or 120 columns in a file or pipe; does not colour numbers and paths in plain text."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=120, highlight=False)

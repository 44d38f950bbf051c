"""Links to pages that a stage made."""

import sys

from tandem.runtime.progress import print_line


def loading(what: str) -> None:
    """Says at once what takes seconds to load, apart from the output of the command."""
    print(f"loading {what} ...", file=sys.stderr, flush=True)


def show_link(url: str, opens: bool, note: str = "") -> None:
    """Prints an address, and opens it in the browser where OPEN=1."""
    print_line(url + note)
    if opens:
        import webbrowser

        webbrowser.open(url)

"""One piece of advice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """One thing to try.

    title    what to do
    why      the numbers that support it
    section  the section of the page that shows them
    gain     the largest possible gain in score, if known
    command  the command to run, or ""
    label    the label it is about, or ""
    """

    title: str
    why: str
    section: str
    gain: float | None = None
    command: str = ""
    label: str = ""

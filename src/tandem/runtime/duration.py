"""Durations as people write and read them."""

import re
import time
from typing import NamedTuple

from tandem.runtime.wrong_values import WrongOption, WrongValue

SECONDS = {"s": 1, "m": 60, "h": 3600}


class Budget(NamedTuple):
    """The time that a run may take, as it was given."""

    text: str
    seconds: float

    @classmethod
    def of(cls, text: str) -> "Budget":
        """Raises WrongValue."""
        given = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
        if given is None or not float(given[1]):
            raise WrongValue(f"BUDGET={text}: expected a time such as 90s, 20m or 1h", {"BUDGET": "20m"})
        return cls(text.strip(), float(given[1]) * SECONDS[given[2]])


def budget(text: str) -> Budget:
    """The type of the option BUDGET; raises WrongOption.

    >>> budget("20m"), budget("1.5h")
    (Budget(text='20m', seconds=1200.0), Budget(text='1.5h', seconds=5400.0))
    """
    try:
        return Budget.of(text)
    except WrongValue as error:
        raise WrongOption(error) from error


def in_words(seconds: float) -> str:
    """
    >>> in_words(20), in_words(230), in_words(9000)
    ('less than a minute', 'about 4 min', 'about 2.5 h')
    """
    if seconds < 60:
        return "less than a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def as_budget(seconds: float) -> str:
    """A budget that is enough for so many seconds.

    >>> as_budget(50), as_budget(61), as_budget(7000)
    ('50s', '2m', '2h')
    """
    for unit, most in (("s", 60), ("m", 90), ("h", 10**6)):
        if (n := -(-seconds // SECONDS[unit])) <= most:
            return f"{n:.0f}{unit}"
    raise ValueError(f"{seconds} seconds")


def clock(seconds: float) -> str:
    """The time of day in so many seconds, with the day where it is another one."""
    now, then = time.time(), time.time() + seconds
    same = time.localtime(now)[:3] == time.localtime(then)[:3]
    return time.strftime("%H:%M" if same else "%a %H:%M", time.localtime(then))

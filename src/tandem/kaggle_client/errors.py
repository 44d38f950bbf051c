"""What Kaggle's refusals mean, and what to do about each."""

from datetime import UTC, datetime, timedelta

import requests

from tandem.kaggle_client.credentials import WHERE
from tandem.kaggle_client.retries import LASTING, asked_wait, reason, status_of

SITE = "https://www.kaggle.com/competitions/"


def next_day(now: datetime | None = None) -> str:
    """When the quota of the day starts again.

    >>> next_day(datetime(2026, 11, 27, 18, 48, tzinfo=UTC))
    '00:00 UTC (in 5 h 12 min)'
    """
    now = now or datetime.now(UTC)
    left = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0) - now
    minutes = -(-int(left.total_seconds()) // 60)
    return f"00:00 UTC (in {minutes // 60} h {minutes % 60} min)"


def accept(slug: str) -> str:
    return f"accept them at {SITE}{slug}/rules, then run the same command again"


def explanation(error: requests.RequestException, slug: str, source: str) -> str:
    """What Kaggle answered, and what to do."""
    said = _message(error)
    match status_of(error):
        case 401:
            return f"Kaggle refuses the credentials of {source} (401{said}): {WHERE}"
        case 403:
            return (
                f"{slug}: Kaggle answers 403{said}: its rules are not accepted, or it is not open to this account; "
                + accept(slug)
            )
        case 404:
            return f"SLUG={slug}: Kaggle has no such competition (404{said}); the slug is the last part of {SITE}SLUG"
        case 429:
            wait = asked_wait(error)
            when = f"in {wait:.0f} s" if wait else f"later; the quota of a day ends at {next_day()}"
            return f"{slug}: too many requests for Kaggle (429{said}); run the same command again {when}"
        case 0 if isinstance(error, LASTING):
            return f"no secure connection to Kaggle ({error}); look at the proxy and the certificates of this machine"
        case 0:
            return f"{reason(error)} ({type(error).__name__}); look at the connection, then run the same command again"
        case status if status >= 500:
            return f"Kaggle answers {status}{said}, also after several tries; run the same command again later"
        case status:
            return f"{slug}: Kaggle answers {status}{said}"


def _message(error: requests.RequestException) -> str:
    """Kaggle's own words, on one line, after a colon."""
    try:
        text = str(error.response.json()["message"]) if error.response is not None else ""
    except (ValueError, KeyError, TypeError):
        text = ""
    return f": {' '.join(text.split())[:300]}" if text else ""

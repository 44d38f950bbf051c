"""Where Kaggle's credentials are found, in the order of Kaggle's own package."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

WHERE = (
    "make a token at https://www.kaggle.com/settings (API), then set KAGGLE_API_TOKEN to it, or save it as "
    "~/.kaggle/access_token; a kaggle.json goes to ~/.kaggle/kaggle.json"
)


@dataclass(frozen=True)
class Credentials:
    """A token, or a user name with its key, and the place where they were found."""

    source: str
    token: str | None = None
    username: str | None = None
    key: str | None = None


def find_credentials() -> Credentials:
    """A token, a user name and key, or the session of `kaggle auth login`; raises ValueError where there is none."""
    from kagglesdk import get_access_token_from_env

    token, source = get_access_token_from_env()
    if token:
        return Credentials("KAGGLE_API_TOKEN" if source == "KAGGLE_API_TOKEN" else "~/.kaggle/access_token", token)
    if found := _username_and_key() or _session():
        return found
    raise ValueError(f"no credentials for Kaggle: {WHERE}")


def _config_dir() -> Path:
    if given := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(given)
    usual = Path.home() / ".kaggle"
    other = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"
    return usual if usual.exists() or not other.exists() else other


def _username_and_key() -> Credentials | None:
    """Of KAGGLE_USERNAME and KAGGLE_KEY, each of which replaces the one in kaggle.json."""
    file = _config_dir() / "kaggle.json"
    values: dict[str, Any] = {}
    if file.exists():
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            values = {"username": values["username"], "key": values["key"]}
        except (ValueError, KeyError, TypeError) as error:
            form = '{"username": "…", "key": "…"}'
            raise ValueError(f"{file}: expected {form}, as Kaggle gives it; {WHERE}") from error
    given = {"username": os.environ.get("KAGGLE_USERNAME"), "key": os.environ.get("KAGGLE_KEY")}
    values |= {name: value for name, value in given.items() if value}
    if not values.get("username") or not values.get("key"):
        return None
    return Credentials("KAGGLE_USERNAME and KAGGLE_KEY" if any(given.values()) else str(file), None, **values)


def _session() -> Credentials | None:
    from kagglesdk import KaggleClient, KaggleCredentials

    file = Path(KaggleCredentials.DEFAULT_CREDENTIALS_FILE).expanduser()
    with KaggleClient() as client:
        try:
            found = KaggleCredentials.load(client=client)
            token = found.get_access_token() if found else None  # renewed at Kaggle where it is too old
        except requests.RequestException:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            again = "run .venv/bin/kaggle auth login again, or delete it"
            raise ValueError(f"{file}: expected a session of kaggle auth login, found {error!r}; {again}") from error
    return Credentials("kaggle auth login", token) if token else None

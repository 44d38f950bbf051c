"""What the stages that talk to Kaggle share: which competition it is there."""

from tandem.artifacts.paths import Paths
from tandem.config.toml_files import parse_toml
from tandem.kaggle_client.client import checked_slug
from tandem.runtime.wrong_values import WrongValue


def slug_of(paths: Paths, given: str) -> str:
    """SLUG=, else that in competition.toml; raises WrongValue where there is neither."""
    known = parse_toml(paths.competition).get("slug", "") if paths.competition.exists() else ""
    if given or known:
        return checked_slug(given or known)
    form = "expected the last part of the competition's address, https://www.kaggle.com/competitions/SLUG"
    message = f"SLUG= is not given, and {paths.competition} has no slug, as it was not downloaded by make; {form}"
    raise WrongValue(message, {"SLUG": "kaggle-slug"})
